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
import { isTransient, type Seen } from "../errors/explain.ts";
import type { Clock } from "../oauth/clock.ts";
import { cacheSession } from "../request/cache-session.ts";
import { unlessAborted } from "./abort.ts";
import { type AdapterParts, askAdapter, type RequestOptions } from "./adapter.ts";
import type { Bearer, Usable } from "./bearer.ts";
import { watchConnection } from "./connection-watch.ts";
import { failureEvent } from "./failure-event.ts";

export interface StreamParts extends AdapterParts {
  /** `key` is what pi would send; undefined or a placeholder where pi has nothing. */
  readonly bearer: (key: string | undefined) => Promise<Bearer>;
  /** The token to use instead of `accessToken`, which the API rejected. */
  readonly renewed: (accessToken: string) => Promise<Bearer>;
  /** Makes of the adapter's error text a sentence for the user. */
  readonly explain: (text: string, seen: Seen) => string;
  readonly sleep: Clock["sleep"];
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
      .catch((error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        fail(out, model, options, options?.signal?.aborted ? text : parts.explain(text, connection.seen()));
      })
      .finally(connection.stop);
  };
}

/** An error that was not passed on, because asking again may help. */
type Withheld =
  | { readonly because: "rejected" }
  /** The service asked to wait so many ms. */
  | { readonly because: "busy"; readonly wait: number };

/** How often a request waits as long as `retry-after` asks; after that pi's own retry takes over, which ignores it. */
const MOST_WAITS = 2;
/** Longer than this nobody wants to wait without a word, ms: the user is told until when instead. */
const LONGEST_WAIT = 60_000;

interface WatchedParts extends StreamParts {
  /** What is known of the connection so far. */
  readonly seen: () => Seen;
  /** Says to which API the next request goes. */
  readonly aim: (baseUrl: string) => void;
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

  let current: Usable = bearer;
  let renewable = current.state === "token";
  for (let waits = 0; ; ) {
    const events = await askAdapter(parts, current, model, context, options);
    const mayWait = waits < MOST_WAITS;
    const withheld = await relay(events, out, explainer(parts, current), { renewable, mayWait });
    if (withheld === undefined) return;
    if (withheld.because === "busy") {
      waits += 1;
      await unlessAborted(parts.sleep(withheld.wait, options?.signal), options?.signal);
    } else if (current.state === "token") {
      renewable = false;
      const renewed = await unlessAborted(parts.renewed(current.accessToken), options?.signal);
      if (renewed.state === "none") return fail(out, model, options, renewed.message);
      current = renewed;
    }
  }
}

interface Explainer {
  readonly explain: (text: string) => string;
  /** Whether the answer was somebody else's page. */
  readonly isPage: () => boolean;
  /** How long to wait before the same request is worth repeating, ms; undefined where it is not, or nobody says. */
  readonly wait: (text: string) => number | undefined;
}

function explainer({ explain, seen }: WatchedParts, { state, region }: Usable): Explainer {
  return {
    explain: (text) => explain(text, { ...seen(), key: state === "key", region }),
    isPage: () => seen().page === true,
    wait: (text) => (isTransient(text, seen()) ? seen().retryAfter : undefined),
  };
}

/**
 * Passes the events on. A stream that begins with an error that asking again may cure is withheld, and its cure
 * returned: until then nothing was shown. pi 0.73 words the API's 401 `401 …`, its successor `401: …`.
 */
async function relay(
  events: AsyncIterable<AssistantMessageEvent>,
  out: AssistantMessageEventStream,
  { explain, isPage, wait }: Explainer,
  { renewable, mayWait }: { readonly renewable: boolean; readonly mayWait: boolean },
): Promise<Withheld | undefined> {
  let first = true;
  for await (const event of events) {
    if (first && event.type === "error" && event.reason === "error") {
      const text = event.error.errorMessage ?? "";
      if (renewable && /^401\b/.test(text)) return { because: "rejected" };
      const ms = mayWait ? wait(text) : undefined;
      if (ms !== undefined && ms <= LONGEST_WAIT) return { because: "busy", wait: ms };
    }
    first = false;
    if (event.type === "error" && event.reason === "error")
      event.error.errorMessage = explain(event.error.errorMessage ?? "");
    // pi 0.73 takes a page that came with 200 for an answer in which nothing is said.
    if (event.type === "done" && event.message.content.length === 0 && isPage()) {
      const error = { ...event.message, stopReason: "error" as const, errorMessage: explain("") };
      out.push({ type: "error", reason: "error", error });
      continue;
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
