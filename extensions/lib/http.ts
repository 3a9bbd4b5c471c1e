/** HTTP as everything here asks: bounded in time and size, no redirect, no exceptions. Loaded at the first question. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterAwake, readRetryAfter } from "./clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "./json.ts";

/**
 * Runs `work` with a signal that fires after `timeout` ms awake, or when `outer` does. The timer is our own: the garbage
 * collector of Node 20 takes an `AbortSignal.timeout` away that only `AbortSignal.any` holds, and with it the limit.
 */
export async function withinTime<T>(
  timeout: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const giveUp = () => end.abort(new DOMException("no answer in time", "TimeoutError"));
  const stop = afterAwake(timeout, giveUp, { unref: true });
  const follow = () => end.abort(outer?.reason);
  if (outer?.aborted) follow();
  outer?.addEventListener("abort", follow);
  try {
    return await work(end.signal);
  } finally {
    stop();
    outer?.removeEventListener("abort", follow);
  }
}

/** The text of an answer of at most `largest` bytes; undefined where there is more. */
export async function readText({ body }: Response, largest: number): Promise<string | undefined> {
  if (!body) return "";
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > largest) return undefined; // leaving the loop cancels the body
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

export type FormAnswer =
  | {
      readonly state: "answered";
      readonly status: number;
      readonly body: JsonObject;
      /** ms. */
      readonly retryAfter?: number;
    }
  /** An answer that is no JSON object: a proxy's page, a gateway's error. */
  | { readonly state: "not-json"; readonly status: number; readonly retryAfter?: number }
  /** `sent` is false when the connection was never made, so the server cannot have acted on the request. */
  | { readonly state: "lost"; readonly sent: boolean; readonly code: string };

export interface FormPost {
  readonly url: string;
  readonly fetch: typeof fetch;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent in this order. */
  readonly form: Readonly<Record<string, string>>;
  /** For the whole exchange, ms awake. */
  readonly timeout: number;
  /** May end it earlier; only to be given where a lost answer does no harm. */
  readonly signal?: AbortSignal | undefined;
}

/** Bytes. */
const LARGEST_ANSWER = 64 * 1024;

/** Codes of Node's network stack that mean: no byte of the request has reached the server. */
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "ConnectionRefused",
  "FailedToOpenSocket",
]);

/** Posts a form (RFC 6749 appendix B). A redirect is an answer like any other: nothing is sent to another host. */
export async function postForm({
  url,
  fetch,
  headers,
  form,
  timeout,
  signal,
}: FormPost): Promise<FormAnswer> {
  const lift = liftIdleLimits(url);
  subscribe(REQUEST_MADE, lift);
  try {
    return await withinTime(timeout, signal, async (limit) => {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          ...headers,
          "Content-Type": "application/x-www-form-urlencoded",
          Accept: "application/json",
        },
        body: new URLSearchParams(form).toString(),
        redirect: "manual",
        signal: limit,
      });
      const text = await readText(response, LARGEST_ANSWER);
      const retryAfter = readRetryAfter(response.headers.get("retry-after"));
      const when = retryAfter === undefined ? {} : { retryAfter };
      const body = text === undefined ? undefined : parseJson(text);
      return isJsonObject(body)
        ? { state: "answered", status: response.status, body, ...when }
        : { state: "not-json", status: response.status, ...when };
    });
  } catch (error) {
    const code = networkCode(error);
    return { state: "lost", sent: !NEVER_SENT.has(code), code };
  } finally {
    unsubscribe(REQUEST_MADE, lift);
  }
}

/** undici's channel; Bun has none, and no such limits either. */
const REQUEST_MADE = "undici:request:create";

/**
 * Takes the limits on silence from a request to `url`, which has its own `timeout`: pi's successor makes the user's
 * `httpIdleTimeoutMs` undici's limit for every request, and a refresh that it cuts off is a lost login.
 */
function liftIdleLimits(url: string) {
  return (message: unknown): void => {
    if (!isJsonObject(message)) return;
    const { request } = message;
    if (!isJsonObject(request) || `${request.origin}${request.path}` !== url) return;
    Object.assign(request, { headersTimeout: 0, bodyTimeout: 0 });
  };
}

/** The system's name for what went wrong; fetch hides it in `cause`, and for several addresses one level deeper. */
export function networkCode(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; depth++) {
    if ("code" in at && typeof at.code === "string") return at.code;
    if (at.name === "TimeoutError") return "ETIMEDOUT";
    if (at.name === "AbortError") return "ABORT_ERR";
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return "EUNKNOWN";
}

/** An API that is asked with Authorization alone, as the official clients ask for models and usage. */
export interface Api {
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  /** For each exchange, ms. */
  readonly timeout: number;
}

export type GetFailure =
  /** Any status but 200; redirects too. */
  | { readonly state: "refused"; readonly status: number }
  /** Not what was asked for: a proxy's page, more bytes than anybody needs. */
  | { readonly state: "unusable" }
  | { readonly state: "lost"; readonly code: string };

export type GetAnswer = { readonly state: "answered"; readonly value: unknown } | GetFailure;

/**
 * One `GET`: asks `path` and reads JSON of at most `largest` bytes. Never throws. `signal` may end it at any time:
 * nothing is lost but the answer.
 */
export async function getJson(
  { baseUrl, fetch, timeout }: Api,
  path: string,
  bearer: string,
  largest: number,
  signal: AbortSignal,
): Promise<GetAnswer> {
  try {
    return await withinTime(timeout, signal, async (limit) => {
      const response = await fetch(`${baseUrl}${path}`, {
        headers: { Authorization: `Bearer ${bearer}` },
        redirect: "manual",
        signal: limit,
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        return { state: "refused", status: response.status };
      }
      const text = await readText(response, largest);
      const value = text === undefined ? undefined : parseJson(text);
      return value === undefined ? { state: "unusable" } : { state: "answered", value };
    });
  } catch (error) {
    return { state: "lost", code: networkCode(error) };
  }
}
