/**
 * The way of every request: pick the token, let pi's own `openai-completions` adapter ask, and ask again before pi
 * hears of it where that cures what went wrong: a rejected token, a busy service, an answer without an answer.
 */
import type {
  Api,
  AssistantMessage,
  AssistantMessageEvent,
  AssistantMessageEventStream,
  Context,
  Model,
  SimpleStreamOptions,
} from "@mariozechner/pi-ai";
import type { Caller, Usable } from "../caller.ts";
import { inTurn, lazy, NOT_LOADED } from "../lib/lazy.ts";
import type { Place, Queue } from "../queue/queue.ts";
import { LONGEST_SHARED_WAIT, type Refusal } from "../queue/tickets.ts";
import type { Screen } from "../screen.ts";
import { type AdapterParts, askAdapter, type Exchange, type RequestOptions } from "./adapter.ts";
import { cutShort, failureEvent, faultOf } from "./answer.ts";
import type { Seen, SpentWindow } from "./errors/classify.ts";
import type { Verdict } from "./errors/explain.ts";
import { Connection } from "./fetch.ts";
import { cacheSession } from "./payload/shape.ts";

export interface StreamParts extends AdapterParts {
  readonly caller: Pick<Caller, "current" | "afterRejection">;
  readonly queue: Queue;
  readonly screen: Pick<Screen, "sessionId" | "sayAtEnd" | "isWatched">;
  readonly judge: Judge;
  /** Told what the user is about to read. */
  readonly failed: (verdict: Verdict) => void;
  /** Told that an answer came; `goesOn`: another request may follow. */
  readonly answered: (bearer: Usable, goesOn: boolean) => void;
  /** What was last known of the windows of the account's plan. */
  readonly windows: (account: string) => Promise<readonly SpentWindow[]>;
}

export interface Judge {
  /** Loads what it needs, unless that is there: after the first answer, so that an update of our files finds it loaded. */
  readonly prepare: () => void;
  /** What the adapter's error text means; `windows` gives what was last known of the account's plan. Never rejects. */
  readonly judge: (
    text: string,
    seen: Seen,
    windows?: () => Promise<readonly SpentWindow[]>,
  ) => Promise<Verdict>;
}

/** `now` in ms since the epoch. */
export function createJudge(
  now: () => number,
  load = () => inTurn(() => import("./errors/explain.ts")),
): Judge {
  const judging = lazy(load);
  return {
    prepare: () => void judging.load().catch(() => {}),
    async judge(text, seen, windows) {
      try {
        const [{ judgeError }, spent] = await Promise.all([judging.load(), windows?.()]);
        return judgeError(text, new Date(now()), { ...seen, windows: spent });
      } catch {
        return { kind: "unknown", sentence: NOT_LOADED, refusal: undefined };
      }
    },
  };
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
    const sessionId = cacheSession(given, () => parts.screen.sessionId);
    const options = sessionId === undefined ? given : { ...given, sessionId };
    const question = { model, context, options };
    const connection = new Connection();
    run({ ...parts, connection }, out, question)
      .catch(async (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error);
        if (options?.signal?.aborted) return fail(out, question, text);
        const verdict = await parts.judge.judge(text, connection.seen());
        report(parts, verdict);
        fail(out, question, verdict.sentence);
      })
      .catch((error: unknown) => fail(out, question, String(error)));
  };
}

/** What was not passed on, because asking again may help. */
type Withheld =
  | "rejected"
  /** The service is busy, or the account is; its place knows how long to wait. */
  | "busy"
  /** An answer without an answer. */
  | "empty";

/** How often a request waits as long as `retry-after` asks; after that pi's own retry takes over, which ignores it. */
const MOST_WAITS = 2;
/** How often it waits because there are too many at once, which ends by itself: minutes in all. */
const MOST_TURNS = 8;

interface WatchedParts extends StreamParts {
  /** What is known of it so far. */
  readonly connection: Connection;
}

/** What pi wants to be asked. */
interface Question {
  readonly model: Model<Api>;
  readonly context: Context;
  readonly options: RequestOptions | undefined;
}

async function run(parts: WatchedParts, out: AssistantMessageEventStream, question: Question): Promise<void> {
  const { model, context, options } = question;
  const signal = options?.signal;
  const first = await unlessAborted(parts.caller.current(options?.apiKey), signal);
  if (first.state === "none") return fail(out, question, first.message);

  const place = parts.queue.place(first.account.id);
  const tried: Tried = { begun: false, renewed: first.state !== "token", waits: 0, empty: false };
  try {
    for (let bearer = first; ; ) {
      const waited = await unlessAborted(place.enter(signal), signal);
      if (waited && bearer.state === "token") {
        // The token may have ended meanwhile.
        const newest = await unlessAborted(parts.caller.current(options?.apiKey), signal);
        if (newest.state === "none") return fail(out, question, newest.message);
        bearer = newest;
      }
      const exchange = await askAdapter(parts, bearer, model, context, options);
      const withheld = await relay(exchange, out, { parts, question, bearer, place, tried });
      if (withheld === undefined) return;
      if (withheld === "busy") tried.waits += 1;
      if (withheld === "empty") tried.empty = true;
      if (withheld === "rejected" && bearer.state === "token") {
        tried.renewed = true;
        const renewed = await unlessAborted(parts.caller.afterRejection(bearer), signal);
        if (renewed.state === "none") return fail(out, question, renewed.message);
        bearer = renewed;
      }
    }
  } finally {
    place.release();
  }
}

/** What a request has been through. */
interface Tried {
  /** Whether pi was told that an answer begins. */
  begun: boolean;
  /** Whether no other token may be tried. */
  renewed: boolean;
  /** How often it has waited. */
  waits: number;
  /** Whether an answer without an answer was asked for again. */
  empty: boolean;
}

/** Whether waiting is better than to let pi hear of it. */
function mayWait({ concurrency, retryAfter = 0 }: Refusal, waits: number): boolean {
  return retryAfter <= LONGEST_SHARED_WAIT && waits < (concurrency ? MOST_TURNS : MOST_WAITS);
}

interface Circumstances {
  readonly parts: WatchedParts;
  readonly question: Question;
  readonly bearer: Usable;
  readonly place: Place;
  readonly tried: Tried;
}

/**
 * Passes the events on, and returns why it did not where asking again may help: a stream that begins with an error, of
 * which nothing was shown; or an answer that holds thinking alone, whose place on the screen the next one takes, for pi
 * is not told that another begins. pi 0.73 words the API's 401 `401 …`, its successor `401: …`.
 */
async function relay(
  exchange: Exchange,
  out: AssistantMessageEventStream,
  { parts, question, bearer, place, tried }: Circumstances,
): Promise<Withheld | undefined> {
  const { model, options } = question;
  const windows = () => parts.windows(bearer.account.id);
  const seen = (): Seen => ({
    ...parts.connection.seen(),
    key: bearer.state === "key",
    region: bearer.account.region,
    address: exchange.address,
    sent: exchange.body(),
    patience: options?.timeoutMs,
  });
  const endWith = (message: AssistantMessage, verdict: Verdict) => {
    report(parts, verdict);
    const error = { ...message, stopReason: "error" as const, errorMessage: verdict.sentence };
    out.push({ type: "error", reason: "error", error });
  };
  let first = true;
  for await (const event of exchange.events) {
    if (event.type === "error" && event.reason === "error") {
      const text = event.error.errorMessage ?? "";
      if (first && !tried.renewed && /^401\b/.test(text)) return "rejected";
      const verdict = await parts.judge.judge(text, seen(), windows);
      const { refusal } = verdict;
      if (first && refusal) {
        place.refused(refusal);
        const cured = refusal.concurrency || refusal.retryAfter !== undefined;
        if (cured && mayWait(refusal, tried.waits)) return "busy";
      }
      endWith(event.error, verdict);
    } else if (event.type === "done") {
      const { message } = event;
      // pi 0.73 takes a page, or an error that came with 200, for an answer that says nothing.
      const isPage = parts.connection.seen().page === true;
      if (message.content.length === 0 && (isPage || message.usage.totalTokens === 0)) {
        endWith(message, await parts.judge.judge(isPage ? "" : NO_STREAM, seen(), windows));
        continue;
      }
      place.served();
      // The last answer of `pi -p` is followed by the end of the process, which is not to wait for modules.
      const goesOn = message.stopReason === "toolUse" || parts.screen.isWatched;
      if (goesOn) parts.judge.prepare();
      const fault = faultOf(message);
      if ((fault === "noAnswer" || fault === "allThinking") && !tried.empty) return "empty";
      if (fault) {
        endWith(
          message,
          await parts.judge.judge("", { ...seen(), fault, output: message.usage.output }, windows),
        );
        continue;
      }
      parts.screen.sayAtEnd(undefined);
      parts.answered(bearer, goesOn);
      const ends: AssistantMessageEvent[] = options?.maxTokens === undefined ? cutShort(message, model) : [];
      for (const one of ends.length > 0 ? ends : [event]) out.push(one);
    } else if (event.type !== "start" || !tried.begun) {
      tried.begun ||= event.type === "start";
      out.push(event);
    }
    first = false;
  }
  return undefined;
}

/** Tells of a failure; of what pi swallows where there is no screen, at the end of the session. */
function report({ screen, failed }: StreamParts, verdict: Verdict): void {
  failed(verdict);
  screen.sayAtEnd(verdict.kind === "overflow" ? verdict.sentence : undefined);
}

/** As pi 1.6.0's adapter says it. */
const NO_STREAM = "Stream ended without finish_reason";

/** Waiting can be given up, what is waited for goes on: a refresh that was sent is never cancelled. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new Error("Request was aborted"));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function fail(out: AssistantMessageEventStream, { model, options }: Question, text: string): void {
  out.push(failureEvent(model, options?.signal?.aborted === true, text));
  out.end();
}
