/**
 * The way of every request: pick the token, let pi's own `openai-completions` adapter ask, and ask again before pi
 * hears of it where that cures what went wrong: a rejected token, a busy service, an answer without an answer.
 */
import type {
  Api,
  AssistantMessage,
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
import { type AdapterParts, askAdapter, type Catalogue, type RequestOptions } from "./adapter.ts";
import { cutShort, failureEvent, faultOf } from "./answer.ts";
import type { Seen, SpentWindow } from "./errors/classify.ts";
import type { Verdict } from "./errors/explain.ts";
import { Connection } from "./fetch.ts";
import { cacheSession } from "./payload/shape.ts";

export interface StreamParts extends AdapterParts {
  readonly caller: Pick<Caller, "current" | "afterRejection" | "prepare" | "addressFor">;
  readonly queue: Queue;
  readonly screen: Pick<Screen, "sessionId" | "sayAtEnd" | "isWatched" | "noteFailure">;
  readonly judge: Judge;
  readonly catalogue: Catalogue;
}

export interface Judge {
  /** Loads what `judge` needs. Called after an answer, so that an update of our files finds it loaded. */
  readonly prepare: () => void;
  /** What the adapter's error text means; `account`: the id of that on which was asked. Never rejects. */
  readonly judge: (text: string, seen: Seen, account?: string) => Promise<Verdict>;
}

/** `now` in ms since the epoch; `windows`: what was last known of the windows of an account's plan. */
export function createJudge(
  now: () => number,
  windows: (account: string) => Promise<readonly SpentWindow[]>,
  load = () => inTurn(() => import("./errors/explain.ts")),
): Judge {
  const judging = lazy(load);
  return {
    prepare: () => void judging.load().catch(() => {}),
    async judge(text, seen, account) {
      // Thrown on the way to the service, and worded by pi's adapter: its successor adds the cause.
      if (text.startsWith(NOT_LOADED)) return FILES_GONE;
      try {
        // Without the figures the sentence is right, and says less.
        const figures = account === undefined ? undefined : windows(account).catch(() => undefined);
        const [{ judgeError }, spent] = await Promise.all([judging.load(), figures]);
        return judgeError(text, new Date(now()), { ...seen, windows: spent });
      } catch {
        return FILES_GONE;
      }
    },
  };
}

const FILES_GONE: Verdict = { kind: "unknown", sentence: NOT_LOADED, refusal: undefined };

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
    const request = new ChatRequest(parts, out, model, context, options);
    request
      .run()
      .catch((error: unknown) => request.fail(error))
      .catch((error: unknown) => request.end(String(error)));
  };
}

/** How often a request waits as long as `retry-after` asks; after that pi's own retry takes over, which ignores it. */
const MOST_WAITS = 2;
/** How often it waits because there are too many at once, which ends by itself: minutes in all. */
const MOST_TURNS = 8;

/** Whether waiting is better than to let pi hear of it. */
function mayWait({ concurrency, retryAfter = 0 }: Refusal, waits: number): boolean {
  return retryAfter <= LONGEST_SHARED_WAIT && waits < (concurrency ? MOST_TURNS : MOST_WAITS);
}

/** What came of asking once: pi was told the end; or it was not, because asking again may help. */
type Outcome =
  | "told"
  | "rejected"
  /** The service is busy, or the account is; its place knows how long to wait. */
  | "busy"
  /** An answer without an answer. */
  | "empty";

/** What pi asked, until pi was told how it ended. */
class ChatRequest {
  private readonly parts: StreamParts;
  private readonly out: AssistantMessageEventStream;
  private readonly model: Model<Api>;
  private readonly context: Context;
  private readonly options: RequestOptions | undefined;
  private readonly connection = new Connection();
  /** Whether pi was told that an answer begins. */
  private begun = false;
  /** Whether a rejected token was renewed. */
  private renewed = false;
  /** How often it has waited. */
  private waits = 0;
  /** Whether an answer without an answer was asked for again. */
  private askedAgain = false;

  constructor(
    parts: StreamParts,
    out: AssistantMessageEventStream,
    model: Model<Api>,
    context: Context,
    options: RequestOptions | undefined,
  ) {
    this.parts = parts;
    this.out = out;
    this.model = model;
    this.context = context;
    this.options = options;
  }

  async run(): Promise<void> {
    const { caller, queue } = this.parts;
    const signal = this.options?.signal;
    const current = () => unlessAborted(caller.current(this.options?.apiKey), signal);
    let bearer = await current();
    if (bearer.state === "none") return this.end(bearer.message);
    const place = queue.place(bearer.account.id);
    try {
      for (;;) {
        const waited = await unlessAborted(place.enter(signal), signal);
        // The token may have ended meanwhile.
        if (waited && bearer.state === "token") bearer = await current();
        if (bearer.state === "none") return this.end(bearer.message);
        const outcome = await this.ask(bearer, place);
        if (outcome === "told") return;
        if (outcome === "busy") this.waits += 1;
        if (outcome === "empty") this.askedAgain = true;
        if (outcome === "rejected" && bearer.state === "token") {
          this.renewed = true;
          bearer = await unlessAborted(caller.afterRejection(bearer), signal);
          if (bearer.state === "none") return this.end(bearer.message);
        }
      }
    } finally {
      place.release();
    }
  }

  /**
   * Asks once, and passes the events on to pi. Two are kept back where asking again may help: an error with which the
   * events begin, since nothing was shown yet, and the end of an answer that holds thinking alone. pi is not told that the
   * next answer begins, so on the screen it takes that one's place. pi 0.73 words the API's 401 `401 …`, its successor
   * `401: …`.
   */
  private async ask(bearer: Usable, place: Place): Promise<Outcome> {
    const { parts, connection, model, options } = this;
    const exchange = await askAdapter({ ...parts, connection }, bearer, model, this.context, options);
    const judge = (text: string, more: Seen = {}) => {
      const { account } = bearer;
      const { address } = exchange;
      const told = { key: bearer.state === "key", region: account.region, address, sent: exchange.body() };
      const seen = { ...connection.seen(), ...told, patience: options?.timeoutMs, ...more };
      return parts.judge.judge(text, seen, account.id);
    };
    let isFirst = true;
    for await (const event of exchange.events) {
      if (event.type === "error" && event.reason === "error") {
        const text = event.error.errorMessage ?? "";
        const mayRenew = bearer.state === "token" && !this.renewed;
        if (isFirst && mayRenew && /^401\b/.test(text)) return "rejected";
        const verdict = await judge(text);
        const { refusal } = verdict;
        if (isFirst && refusal) {
          place.refused(refusal);
          const cured = refusal.concurrency || refusal.retryAfter !== undefined;
          if (cured && mayWait(refusal, this.waits)) return "busy";
        }
        this.endWith(event.error, verdict);
      } else if (event.type === "done") {
        const { message } = event;
        place.served();
        // The last answer of `pi -p` is followed by the end of the process, which is not to wait for modules.
        const goesOn = message.stopReason === "toolUse" || parts.screen.isWatched;
        if (goesOn) parts.judge.prepare();
        const fault = faultOf(message);
        if ((fault === "noAnswer" || fault === "allThinking") && !this.askedAgain) return "empty";
        if (fault) this.endWith(message, await judge("", { fault, output: message.usage.output }));
        else {
          parts.screen.sayAtEnd(undefined);
          const secret = bearer.state === "key" ? bearer.key : bearer.accessToken;
          parts.catalogue.keepUp(secret, bearer.account);
          // An update under a running pi must find loaded what the next renewal needs.
          if (goesOn) parts.caller.prepare();
          const ends = options?.maxTokens === undefined ? cutShort(message, model) : [];
          for (const one of ends.length > 0 ? ends : [event]) this.out.push(one);
        }
      } else if (event.type !== "start" || !this.begun) {
        this.begun ||= event.type === "start";
        this.out.push(event);
      }
      isFirst = false;
    }
    return "told";
  }

  /** Ends the answer, as far as it came, with an error. */
  private endWith(message: AssistantMessage, verdict: Verdict): void {
    this.report(verdict);
    const error = { ...message, stopReason: "error" as const, errorMessage: verdict.sentence };
    this.out.push({ type: "error", reason: "error", error });
  }

  /** Tells of a failure; of what pi swallows where there is no screen, at the end of the session. */
  private report(verdict: Verdict): void {
    const { screen } = this.parts;
    const { kind, sentence } = verdict;
    screen.noteFailure(sentence, kind);
    screen.sayAtEnd(kind === "overflow" ? sentence : undefined);
  }

  /** Ends what was thrown out of. */
  async fail(error: unknown): Promise<void> {
    const text = error instanceof Error ? error.message : String(error);
    if (this.options?.signal?.aborted) return this.end(text);
    const verdict = await this.parts.judge.judge(text, this.connection.seen());
    this.report(verdict);
    this.end(verdict.sentence);
  }

  /** Ends what pi's adapter never saw. */
  end(text: string): void {
    this.out.push(failureEvent(this.model, this.options?.signal?.aborted === true, text));
    this.out.end();
  }
}

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
