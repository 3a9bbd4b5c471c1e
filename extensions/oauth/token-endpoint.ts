/**
 * The token endpoint: the refresh grant (RFC 6749 §6) and the parsing of a token response (§5.1, §5.2).
 * Asking and parsing are separate, so that parsing is tested without a server.
 */

import { type FormAnswer, postForm } from "../lib/http.ts";
import type { JsonObject } from "../lib/json.ts";
import { isTokenText } from "../lib/safe-text.ts";
import { type Token, USUAL_LIFETIME } from "./token.ts";

const TOKEN_PATH = "/api/oauth/token";

/** What talking to an authorization server needs; everything real is passed in by the composition root. */
export interface AuthorizationServer {
  /** `https://auth.kimi.com`, without a trailing slash. */
  readonly host: string;
  readonly clientId: string;
  readonly fetch: typeof fetch;
  /** Headers that say who is asking; printable ASCII. */
  readonly identity: () => Promise<Record<string, string>>;
}

/** Posts one form to the server; `timeout` in ms. Never throws. */
export async function askServer(
  { host, clientId, fetch, identity }: AuthorizationServer,
  path: string,
  form: Readonly<Record<string, string>>,
  timeout: number,
  signal?: AbortSignal,
): Promise<FormAnswer> {
  const headers = await identity();
  return postForm({
    url: `${host}${path}`,
    fetch,
    headers,
    form: { client_id: clientId, ...form },
    timeout,
    signal,
  });
}

/** Posts one form to the token endpoint, as `askServer`. */
export function askTokenEndpoint(
  server: AuthorizationServer,
  form: Readonly<Record<string, string>>,
  timeout: number,
  signal?: AbortSignal,
): Promise<FormAnswer> {
  return askServer(server, TOKEN_PATH, form, timeout, signal);
}

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
 * Presents `refreshToken` once. `timeout` (ms awake) bounds the wait for the answer; `signal` is for the end of the
 * process alone, because an unread answer is a lost login.
 */
export async function refresh(
  server: AuthorizationServer,
  refreshToken: string,
  now: () => number,
  timeout: number,
  signal?: AbortSignal,
): Promise<RefreshOutcome> {
  const form = { grant_type: "refresh_token", refresh_token: refreshToken };
  return readRefreshAnswer(await askTokenEndpoint(server, form, timeout, signal), refreshToken, now());
}

/**
 * What an answer to the refresh grant means, for which `presented` was the refresh token; `now` in ms. Only an OAuth
 * error body can mean "refused": a page, a 5xx or a bare 403 come from something in between. 401 and 403 are accepted
 * beside RFC 6749's 400, as the official clients do.
 */
export function readRefreshAnswer(answer: FormAnswer, presented: string, now: number): RefreshOutcome {
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
    const token = answer.state === "answered" ? parseToken(answer.body, now, presented) : undefined;
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

/** A 2xx that is not the answer we know, and a gateway that waited in vain: the server may have rotated all the same. */
function mayHaveCommitted(status: number): boolean {
  return (status >= 200 && status < 300) || status === 408 || status === 504;
}

/**
 * A token response (RFC 6749 §5.1) as a token, or undefined where a required part is missing or absurd.
 * `now` in ms; `expires_in` (a number or a decimal string of seconds) is only recommended: where it is absent or
 * absurd it stands for 15 minutes, because the refresh token beside it is the login and must not be thrown away.
 * An answer to a refresh may leave `refresh_token` out: then the one that was `presented` stays (RFC 6749 §6).
 */
export function parseToken(body: JsonObject, now: number, presented?: string): Token | undefined {
  const { access_token, refresh_token = presented, scope, token_type } = body;
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

const SHORTEST = 0.001;
const LONGEST = 366 * 86_400;

/** A number of seconds between a millisecond and a year, given as number or decimal string, in ms. */
export function readSeconds(value: unknown): number | undefined {
  const seconds = typeof value === "string" && /^\d{1,9}(\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof seconds === "number" && seconds >= SHORTEST && seconds <= LONGEST
    ? seconds * 1000
    : undefined;
}
