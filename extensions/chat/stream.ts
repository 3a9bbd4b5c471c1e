/**
 * The way of every request: pick the token, let pi's own `openai-completions` adapter ask, and where the API rejects
 * the token, renew it once and ask again before anything was shown.
 */
import type {
  Api,
  AssistantMessageEvent,
  AssistantMessageEventStream,
  Context,
  Model,
  SimpleStreamOptions,
} from "@mariozechner/pi-ai";
import { LONGEST_SHARED_WAIT, type Refusal } from "../concurrency/notes.ts";
import type { Place } from "../concurrency/place.ts";
import type { Seen } from "../errors/classify.ts";
import { cacheSession } from "../request/cache-session.ts";
import { unlessAborted } from "./abort.ts";
import { type AdapterParts, askAdapter, type RequestOptions } from "./adapter.ts";
import type { Bearer, Usable } from "./bearer.ts";
import { watchConnection } from "./connection-watch.ts";
import { failureEvent } from "./failure-event.ts";
import type { Judge } from "./judge.ts";
import type { Verdict } from "./judge-error.ts";

export interface StreamParts extends AdapterParts, Judge {
  /** `key` is what pi would send; undefined or a placeholder where pi has nothing. */
  readonly bearer: (key: string | undefined) => Promise<Bearer>;
  /** The token to use instead of `accessToken`, which the API rejected. */
  readonly renewed: (accessToken: string) => Promise<Bearer>;
  /** Told what the user is about to read. */
  readonly failed: (verdict: Verdict) => void;
  /** The request's place among those of its account. */
  readonly place: (bearer: Usable) => Place;
  /** The id of the session that is open. */
  readonly openSession: () => string | undefined;
}

/** Sends a request and pushes what comes back, an error at the latest, into `out`. Never throws. */
export type Stream = (
  out: AssistantMessageEventStream,
  model: Model<Api>,
  context: Context,
  options: SimpleStreamOptions | undefined,
) => void;

export function createStream(parts: StreamParts): Stream {
  return (out, model, context, given) => {
    const sessionId = cacheSession(given, parts.openSession);
    const options = sessionId === undefined ? given : { ...given, sessionId };
    const connection = watchConnection();
    const watched = { ...parts, seen: connection.seen, aim: connection.aim };
    run(watched, out, model, context, options)
      .catch(async (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        if (options?.signal?.aborted) return fail(out, model, options, text);
        fail(out, model, options, await sentenceFor(watched, text, watched.seen()));
      })
      .catch((error: unknown) => fail(out, model, options, String(error)))
      .finally(connection.stop);
  };
}

async function sentenceFor({ judge, failed }: StreamParts, text: string, seen: Seen): Promise<string> {
  const verdict = await judge(text, seen);
  failed(verdict);
  return verdict.sentence;
}

/** An error that was not passed on, because asking again may help. */
type Withheld =
  | { readonly because: "rejected" }
  /** The service is busy, or the account is; its place knows how long to wait. */
  | { readonly because: "busy" };

/** How often a request waits as long as `retry-after` asks; after that pi's own retry takes over, which ignores it. */
const MOST_WAITS = 2;
/** How often it waits because there are too many at once, which ends by itself: minutes in all. */
const MOST_TURNS = 8;

interface WatchedParts extends StreamParts {
  /** What is known of the connection so far. */
  readonly seen: () => Seen;
  /** Says to which API the next request goes. */
  readonly aim: (baseUrl: string) => void;
}

/** What pi wants to be asked. */
interface Question {
  readonly model: Model<Api>;
  readonly context: Context;
  readonly options: RequestOptions | undefined;
}

async function run(
  parts: WatchedParts,
  out: AssistantMessageEventStream,
  model: Model<Api>,
  context: Context,
  options: RequestOptions | undefined,
): Promise<void> {
  const bearer = await unlessAborted(parts.bearer(options?.apiKey), options?.signal);
  if (bearer.state === "none") return fail(out, model, options, bearer.message);

  const place = parts.place(bearer);
  try {
    await converse(parts, place, bearer, out, { model, context, options });
  } finally {
    place.release();
  }
}

async function converse(
  parts: WatchedParts,
  place: Place,
  bearer: Usable,
  out: AssistantMessageEventStream,
  { model, context, options }: Question,
): Promise<void> {
  const signal = options?.signal;
  let current = bearer;
  let renewable = current.state === "token";
  for (let waits = 0; ; ) {
    const waited = await unlessAborted(place.enter(signal), signal);
    if (waited && current.state === "token") {
      // The token may have ended meanwhile.
      const newest = await unlessAborted(parts.bearer(options?.apiKey), signal);
      if (newest.state === "none") return fail(out, model, options, newest.message);
      current = newest;
    }
    const events = await askAdapter(parts, current, model, context, options);
    const withheld = await relay(events, out, { parts, bearer: current, place, renewable, waits });
    if (withheld === undefined) return;
    if (withheld.because === "busy") {
      waits += 1;
    } else if (current.state === "token") {
      renewable = false;
      const renewed = await unlessAborted(parts.renewed(current.accessToken), signal);
      if (renewed.state === "none") return fail(out, model, options, renewed.message);
      current = renewed;
    }
  }
}

/** Whether waiting is better than to let pi hear of it. */
function mayWait({ concurrency, retryAfter = 0 }: Refusal, waits: number): boolean {
  return retryAfter <= LONGEST_SHARED_WAIT && waits < (concurrency ? MOST_TURNS : MOST_WAITS);
}

interface Circumstances {
  readonly parts: WatchedParts;
  readonly bearer: Usable;
  readonly place: Place;
  /** Whether another token may be tried. */
  readonly renewable: boolean;
  /** How often the request has waited. */
  readonly waits: number;
}

/**
 * Passes the events on. A stream that begins with an error that asking again may cure is withheld, and its cure
 * returned: until then nothing was shown. pi 0.73 words the API's 401 `401 …`, its successor `401: …`.
 */
async function relay(
  events: AsyncIterable<AssistantMessageEvent>,
  out: AssistantMessageEventStream,
  { parts, bearer, place, renewable, waits }: Circumstances,
): Promise<Withheld | undefined> {
  const seen = () => ({ ...parts.seen(), key: bearer.state === "key", region: bearer.region });
  let first = true;
  for await (const event of events) {
    if (event.type === "error" && event.reason === "error") {
      const text = event.error.errorMessage ?? "";
      if (first && renewable && /^401\b/.test(text)) return { because: "rejected" };
      const verdict = await parts.judge(text, seen());
      const { refusal } = verdict;
      if (first && refusal) {
        place.refused(refusal);
        const cured = refusal.concurrency || refusal.retryAfter !== undefined;
        if (cured && mayWait(refusal, waits)) return { because: "busy" };
      }
      parts.failed(verdict);
      event.error.errorMessage = verdict.sentence;
    }
    first = false;
    // pi 0.73 takes a page, or anything else that came with 200 and is no stream, for an answer that says nothing.
    const silent = event.type === "done" && event.message.content.length === 0;
    const isPage = parts.seen().page === true;
    if (silent && (isPage || event.message.usage.totalTokens === 0)) {
      const text = isPage ? "" : "Stream ended without finish_reason";
      const errorMessage = await sentenceFor(parts, text, seen());
      const error = { ...event.message, stopReason: "error" as const, errorMessage };
      out.push({ type: "error", reason: "error", error });
      continue;
    }
    if (event.type === "done") {
      place.served();
      parts.prepare();
    }
    out.push(event);
  }
  return undefined;
}

function fail(
  out: AssistantMessageEventStream,
  model: Model<Api>,
  options: SimpleStreamOptions | undefined,
  text: string,
): void {
  out.push(failureEvent(model, options?.signal?.aborted === true, text));
  out.end();
}
