/**
 * The `fetch` with which pi's adapter asks Kimi: it follows no redirect, so that token, identity and conversation go to
 * the configured host alone, and it puts cached tokens where the adapter looks for them.
 *
 * pi 0.87 takes a `fetch` with the options of a request. pi 0.73 has no such option: there the OpenAI SDK takes the
 * global one in the moment in which the adapter makes its client. Between the adapter's first look at the model's
 * address and its call of `onPayload`, with the client made and nothing awaited, the global is lent; nobody else's code
 * runs in between, so nobody else gets it, and nothing stays replaced.
 */
import { cachedTokensFilter } from "./cached-tokens.ts";
import { bounded } from "./error-body.ts";

export type Fetch = typeof fetch;

/** A fetch that was lent → the global one in whose place it is. */
const replaced = new WeakMap<Fetch, Fetch>();

/**
 * `real` with the rules above for everything that goes to the host of `baseUrl`; the rest passes through untouched. A
 * redirect is given back as the answer it is.
 */
export function chatFetch(baseUrl: string, real: Fetch): Fetch {
  const origin = originOf(baseUrl);
  const original = replaced.get(real) ?? real;
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (originOf(url) !== origin) return original(input, init);
    return readable(await original(input, { ...init, redirect: "manual" }));
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

/** An event stream with its cached tokens in place; an error, or a page in place of a stream, cut to what is read of it. */
function readable(response: Response): Response {
  const { body, ok, status, statusText, headers } = response;
  if (!body) return response;
  const type = headers.get("content-type") ?? "";
  if (ok && /^text\/event-stream\b/i.test(type)) {
    return new Response(filtered(body), { status, statusText, headers });
  }
  const isError = !ok || /^(?:text\/html|application\/json)\b/i.test(type);
  return isError ? new Response(bounded(body), { status, statusText, headers }) : response;
}

/** In bytes. The SDK takes a time that grows with the square of it, 20 s for 20 MB, and pi stands still meanwhile. */
const LARGEST_EVENT = 8 * 1024 * 1024;

/** How many bytes came since a piece with the end of an event in it: a blank line, or what may be the half of one. */
function eventSizes() {
  let size = 0;
  return {
    add(piece: Uint8Array): number {
      const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      const ends =
        /^[\r\n]/.test(bytes.toString("latin1", 0, 1)) || bytes.includes("\n\n") || bytes.includes("\n\r\n");
      size = ends ? 0 : size + bytes.length;
      return size;
    },
  };
}

/** As much is read as is asked for; errors and the reader's cancelling pass through. */
function filtered(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const filter = cachedTokensFilter();
  const sizes = eventSizes();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read();
          if (value && sizes.add(value) > LARGEST_EVENT) {
            reader.cancel().catch(() => {});
            throw new Error("an event of more than 8 MB");
          }
          const ready = done ? filter.end() : filter.push(value);
          if (ready) controller.enqueue(ready);
          if (done) controller.close();
          if (done || ready) return;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
