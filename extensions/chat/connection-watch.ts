/**
 * What Node's HTTP client notices during a request and pi's adapter does not pass on: why there was no connection
 * (the SDK says "Connection error." to everything), and how long the service asks to wait.
 * https://github.com/nodejs/undici/blob/main/docs/docs/api/DiagnosticsChannel.md
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Seen } from "../errors/classify.ts";
import { isJsonObject } from "../oauth/json-object.ts";

export interface ConnectionWatch {
  /** The latest that was noticed; empty on a runtime that tells nothing. */
  readonly seen: () => Seen;
  /** Watches what goes to the host of `baseUrl` from now on. */
  readonly aim: (baseUrl: string) => void;
  /** Must be called when the request is over. */
  readonly stop: () => void;
}

/**
 * Watches what goes to the host it is aimed at, and to proxies, until it is stopped. Other parallel requests to it are
 * not told apart. `now` in ms since the epoch.
 */
export function watchConnection(now: () => number = Date.now): ConnectionWatch {
  let origin = "";
  let code: string | undefined;
  let retryAfter: number | undefined;
  let page = false;

  // A connection that could not be made may be one to a proxy; pi makes hardly any others while it waits for the model.
  const failed = (message: unknown) => {
    retryAfter = undefined;
    code = codeOf(isJsonObject(message) ? message.error : undefined) ?? code;
  };
  const broken = (message: unknown) => {
    if (requestOrigin(message) === origin) failed(message);
  };
  const answered = (message: unknown) => {
    if (requestOrigin(message) !== origin || !isJsonObject(message)) return;
    // fetch makes a network error of this one and hides it.
    code = isJsonObject(message.response) && message.response.statusCode === 407 ? "PROXY_407" : undefined;
    retryAfter = readRetryAfter(headerOf(message.response, "retry-after"), now());
    page = /^text\/html\b/i.test(headerOf(message.response, "content-type"));
  };

  const channels = [
    ["undici:client:connectError", failed],
    ["undici:request:error", broken],
    ["undici:request:headers", answered],
  ] as const;
  for (const [name, listener] of channels) subscribe(name, listener);
  return {
    seen: () => ({ code, retryAfter, page }),
    aim: (baseUrl) => {
      origin = URL.canParse(baseUrl) ? new URL(baseUrl).origin : "";
    },
    stop: () => {
      for (const [name, listener] of channels) unsubscribe(name, listener);
    },
  };
}

function requestOrigin(message: unknown): unknown {
  return isJsonObject(message) && isJsonObject(message.request) ? String(message.request.origin) : undefined;
}

/** The system's code, or what a proxy answered to CONNECT; for several addresses of one name it is one level deeper. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const tunnel = /^Proxy response \((\d{3})\)/.exec(error.message);
  if (tunnel) return `PROXY_${tunnel[1]}`;
  if ("code" in error && typeof error.code === "string") return error.code;
  return error instanceof AggregateError ? codeOf(error.errors[0]) : codeOf(error.cause);
}

/** From undici's flat list of names and values; "" when it is not there. */
function headerOf(response: unknown, wanted: string): string {
  const flat: readonly unknown[] =
    isJsonObject(response) && Array.isArray(response.headers) ? response.headers : [];
  const at = flat.findIndex((name, index) => index % 2 === 0 && String(name).toLowerCase() === wanted);
  return at < 0 ? "" : String(flat[at + 1]).trim();
}

/** No wait that is asked for counts as longer, ms. */
const LONGEST_WAIT = 9_999_999_000;
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .*\d\d:\d\d:\d\d(?: GMT| \d{4})$/;

/** RFC 9110 §10.2.3, in seconds or as a date in any of the three forms of §5.6.7; ms from `now`. */
function readRetryAfter(value: string, now: number): number | undefined {
  if (/^\d+$/.test(value)) return Math.min(LONGEST_WAIT, Number(value) * 1000);
  // The form of C's asctime() names no zone; all three are in GMT.
  const at = HTTP_DATE.test(value) ? Date.parse(value.endsWith("GMT") ? value : `${value} GMT`) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.min(LONGEST_WAIT, Math.max(0, at - now));
}
