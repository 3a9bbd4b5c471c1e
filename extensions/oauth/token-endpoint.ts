/**
 * The token endpoint: the refresh grant (RFC 6749 §6) and the parsing of a token response (§5.1, §5.2).
 * Asking and parsing are separate, so that parsing is tested without a server.
 */
import { type AuthorizationServer, type FormAnswer, postForm } from "./http.ts";
import type { JsonObject } from "./json-object.ts";
import { type Token, USUAL_LIFETIME } from "./token.ts";

export const TOKEN_PATH = "/api/oauth/token";

export type RefreshOutcome =
  | { readonly state: "refreshed"; readonly token: Token }
  /** The server says that this refresh token is dead. Whether the login is, depends on what stands on disk by now. */
  | { readonly state: "refused" }
  | Failure;

/** No token, and no word about the login either. `committed`: whether the server may have rotated all the same. */
export interface Failure {
  readonly state: "failed";
  readonly cause: FailureCause;
  readonly committed: "no" | "unknown";
  /** How long the server asks us to wait, in ms. */
  readonly retryAfter?: number;
}

export type FailureCause =
  | { readonly kind: "network"; readonly code: string }
  | { readonly kind: "status"; readonly status: number }
  | { readonly kind: "unreadable"; readonly status: number };

/**
 * Presents `refreshToken` once. `timeout` (ms) bounds the wait for the answer; there is no way to cancel, because
 * an answer that nobody reads is a lost login.
 */
export async function refresh(
  server: AuthorizationServer,
  refreshToken: string,
  now: () => number,
  timeout: number,
): Promise<RefreshOutcome> {
  const answer = await postForm(
    server,
    TOKEN_PATH,
    { client_id: server.clientId, grant_type: "refresh_token", refresh_token: refreshToken },
    timeout,
  );
  return readRefreshAnswer(answer, now());
}

/**
 * What an answer to the refresh grant means. Only an OAuth error body can mean "refused": a page, a 5xx or a bare
 * 403 come from something in between. 401 and 403 are accepted beside RFC 6749's 400, as the official clients do.
 */
export function readRefreshAnswer(answer: FormAnswer, now: number): RefreshOutcome {
  if (answer.state === "lost") {
    return {
      state: "failed",
      cause: { kind: "network", code: answer.code },
      committed: answer.sent ? "unknown" : "no",
    };
  }
  const { status } = answer;
  const wait = answer.retryAfter === undefined ? {} : { retryAfter: answer.retryAfter };
  if (status === 200) {
    const token = answer.state === "answered" ? parseToken(answer.body, now) : undefined;
    return token
      ? { state: "refreshed", token }
      : { state: "failed", cause: { kind: "unreadable", status }, committed: "unknown" };
  }
  if (
    answer.state === "answered" &&
    [400, 401, 403].includes(status) &&
    answer.body.error === "invalid_grant"
  ) {
    return { state: "refused" };
  }
  return {
    state: "failed",
    cause: { kind: "status", status },
    committed: mayHaveCommitted(status) ? "unknown" : "no",
    ...wait,
  };
}

/** A 2xx that is not the answer we know, a 5xx, and a gateway's 408 may all come after the server has rotated. */
function mayHaveCommitted(status: number): boolean {
  return (status >= 200 && status < 300) || status === 408 || status >= 500;
}

/**
 * A token response (RFC 6749 §5.1) as a token, or undefined where a required part is missing or absurd.
 * `now` in ms; `expires_in` (a number or a decimal string of seconds) is only recommended: where it is absent or
 * absurd it stands for 15 minutes, because the refresh token beside it is the login and must not be thrown away.
 */
export function parseToken(body: JsonObject, now: number): Token | undefined {
  const { access_token, refresh_token, scope, token_type } = body;
  if (!isTokenText(access_token) || !isTokenText(refresh_token)) return undefined;
  const lifetime = readSeconds(body.expires_in) ?? USUAL_LIFETIME;
  return {
    accessToken: access_token,
    refreshToken: refresh_token,
    expiresAt: now + lifetime,
    lifetime,
    scope: typeof scope === "string" ? scope : undefined,
    tokenType: typeof token_type === "string" ? token_type : undefined,
  };
}

/** Printable ASCII without spaces (RFC 6749 appendix A.12): anything else would break, or forge, a header. */
function isTokenText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 16_384 && /^[\x21-\x7e]+$/.test(value);
}

const SHORTEST = 0.001;
const LONGEST = 366 * 86_400;

/** A number of seconds between a millisecond and a year, given as number or decimal string, in ms. */
export function readSeconds(value: unknown): number | undefined {
  const seconds = typeof value === "string" && /^\d{1,9}(\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof seconds === "number" && seconds >= SHORTEST && seconds <= LONGEST
    ? seconds * 1000
    : undefined;
}
