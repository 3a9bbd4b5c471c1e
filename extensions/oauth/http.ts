/**
 * One form POST to the authorization server, as RFC 6749 asks: bounded in time and size, never following a
 * redirect (the identity headers and the token belong to the configured host alone), never throwing.
 */
import { readText, withinTime } from "./bounds.ts";
import { isJsonObject, type JsonObject } from "./json-object.ts";

/** What talking to an authorization server needs; everything real is passed in by the composition root. */
export interface AuthorizationServer {
  /** `https://auth.kimi.com`, without a trailing slash. */
  readonly host: string;
  readonly clientId: string;
  readonly fetch: typeof fetch;
  /** Headers that say who is asking; printable ASCII. */
  readonly identity: () => Promise<Record<string, string>>;
}

export type FormAnswer =
  | {
      readonly state: "answered";
      readonly status: number;
      readonly body: JsonObject;
      readonly retryAfter?: number;
    }
  /** An answer that is no JSON object: a proxy's page, a gateway's error. */
  | { readonly state: "not-json"; readonly status: number; readonly retryAfter?: number }
  /** `sent` is false when the connection was never made, so the server cannot have acted on the request. */
  | { readonly state: "lost"; readonly sent: boolean; readonly code: string };

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
]);

/**
 * Posts `form` (in the order given) to `path` of the server. `timeout` is in ms and covers the whole exchange;
 * `signal` may end it earlier and must only be given where a lost answer does no harm.
 */
export async function postForm(
  server: AuthorizationServer,
  path: string,
  form: Readonly<Record<string, string>>,
  timeout: number,
  signal?: AbortSignal,
): Promise<FormAnswer> {
  try {
    return await withinTime(timeout, signal, async (limit) => {
      const response = await server.fetch(`${server.host}${path}`, {
        method: "POST",
        headers: {
          ...(await server.identity()),
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
      const body = parseObject(text);
      return body
        ? { state: "answered", status: response.status, body, ...when }
        : { state: "not-json", status: response.status, ...when };
    });
  } catch (error) {
    const code = networkCode(error);
    return { state: "lost", sent: !NEVER_SENT.has(code), code };
  }
}

function parseObject(text: string | undefined): JsonObject | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 9110 §10.2.3, the form in seconds; returns ms. */
function readRetryAfter(value: string | null): number | undefined {
  return value !== null && /^\d{1,6}$/.test(value.trim()) ? Number(value) * 1000 : undefined;
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
