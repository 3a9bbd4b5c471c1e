/**
 * The `fetch` with which pi's adapter asks Kimi: it follows no redirect, so that token, identity and conversation go to
 * the configured host alone; what comes back is a stream as the adapter can read it (event-stream.ts), and no more of
 * anything else than an error needs.
 *
 * pi 0.87 takes a `fetch` with the options of a request. pi 0.73 has no such option: there the OpenAI SDK takes the
 * global one in the moment in which the adapter makes its client. Between the adapter's first look at the model's
 * address and its call of `onPayload` the client is made and nothing is awaited. For that stretch the global is replaced:
 * no other code runs in it, so no other request uses the replacement.
 */
import { readRetryAfter } from "../lib/clock.ts";
import type { Seen } from "./errors/classify.ts";
import { eventFilter } from "./event-stream.ts";

export type Fetch = typeof fetch;

/** The names of the tools, as they were sent. */
type SentTools = () => ReadonlySet<string>;

/** A fetch that was lent → the global one in whose place it is. */
const replaced = new WeakMap<Fetch, Fetch>();

/**
 * `real` with the rules above for everything that goes to the host of `baseUrl`; the rest passes through untouched. A
 * redirect is given back as the answer it is.
 */
export function chatFetch(baseUrl: string, real: Fetch, tools: SentTools, connection: Connection): Fetch {
  const origin = originOf(baseUrl);
  const original = replaced.get(real) ?? real;
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (originOf(url) !== origin) return original(input, init);
    try {
      const response = await original(input, { ...init, redirect: "manual" });
      connection.answered(response);
      return readable(response, tools, connection);
    } catch (error) {
      connection.failed(error);
      throw error;
    }
  };
}

function originOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).origin : undefined;
}

export interface Loan {
  /** To be called where the adapter is about to take the global fetch; without effect after `end`. */
  readonly begin: () => void;
  /** Puts the global back. */
  readonly end: () => void;
}

/** Lends `guarded` as the global fetch, at the longest until the code that is running has run. */
export function lend(guarded: Fetch): Loan {
  let over = false;
  const restore = () => {
    if (globalThis.fetch === guarded) globalThis.fetch = replaced.get(guarded) ?? guarded;
  };
  return {
    begin() {
      if (over || globalThis.fetch === guarded) return;
      replaced.set(guarded, replaced.get(globalThis.fetch) ?? globalThis.fetch);
      globalThis.fetch = guarded;
      // In case the adapter fails before it calls `onPayload`.
      queueMicrotask(restore);
    },
    end() {
      over = true;
      restore();
    },
  };
}

/** What the adapter reads of an answer: whatever comes with 200 counts as the stream, some proxies name its type otherwise. */
async function readable(response: Response, tools: SentTools, connection: Connection): Promise<Response> {
  const { body, ok, status, statusText, headers } = response;
  if (!body) return response;
  const read = ok ? filtered(body, tools, connection) : await beginningOf(body);
  return new Response(read, { status, statusText, headers });
}

/** As much is read as is asked for; errors and the reader's cancelling pass through. */
function filtered(
  body: ReadableStream<Uint8Array>,
  tools: SentTools,
  connection: Connection,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const filter = eventFilter(tools);
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          controller.enqueue(encoder.encode(done ? filter.end() : filter.push(value)));
          if (done) controller.close();
        } catch (error) {
          connection.failed(error);
          reader.cancel().catch(() => {});
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** How much of an error is read, in bytes; one of the service has a few hundred. */
const LARGEST_ERROR = 65_536;
/** How long an error is read, ms. */
const LONGEST_ERROR = 10_000;

/** What comes of a body until it ends or breaks off, within the limits for an error. */
async function beginningOf(body: ReadableStream<Uint8Array>): Promise<Buffer<ArrayBuffer>> {
  const reader = body.getReader();
  const giveUp = () => void reader.cancel().catch(() => {});
  const timer = setTimeout(giveUp, LONGEST_ERROR).unref();
  const pieces: Uint8Array[] = [];
  let left = LARGEST_ERROR;
  try {
    while (left > 0) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value.subarray(0, left));
      left -= value.length;
    }
  } catch {
    // The status says what went wrong.
  }
  clearTimeout(timer);
  giveUp();
  return Buffer.concat(pieces);
}

/**
 * What is known of a request's connection that pi's adapter does not pass on: why there was none (the SDK says
 * "Connection error." to everything), and how long the service asks to wait. The latest counts.
 */
export class Connection {
  private code: string | undefined;
  private retryAfter: number | undefined;
  private page = false;

  answered({ headers }: Response): void {
    this.code = undefined;
    this.retryAfter = readRetryAfter(headers.get("retry-after"));
    this.page = /^text\/html\b/i.test(headers.get("content-type") ?? "");
  }

  failed(error: unknown): void {
    this.retryAfter = undefined;
    this.code = codeOf(error) ?? this.code;
  }

  seen(): Pick<Seen, "code" | "retryAfter" | "page"> {
    return { code: this.code, retryAfter: this.retryAfter, page: this.page };
  }
}

/** The system's code, or what a proxy answered to CONNECT; for several addresses of one name it is one level deeper. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  // What undici makes of a 407: a network error without a word, as a page without a window gets it
  // (https://fetch.spec.whatwg.org/#http-network-or-cache-fetch); every other one has a reason.
  const isWordless = error.message === "" && error.cause === undefined && !("code" in error);
  if (isWordless && !(error instanceof AggregateError)) return "PROXY_407";
  const tunnel = /^Proxy response \((\d{3})\)/.exec(error.message);
  if (tunnel) return `PROXY_${tunnel[1]}`;
  if ("code" in error && typeof error.code === "string") return error.code;
  return error instanceof AggregateError ? codeOf(error.errors[0]) : codeOf(error.cause);
}
