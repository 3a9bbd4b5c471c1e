/**
 * Judges the parts of a login that another program has written: what is a token, what a time, what a tombstone.
 */
import { type Token, USUAL_LIFETIME } from "../oauth/token.ts";
import { type Members, memberValue } from "./json.ts";
import type { StoredLogin } from "./store.ts";

/** The parts as they stood in the file, unparsed; `expiresAt` and `lifetime` in units of `unit` ms. */
export interface StoredParts {
  readonly access: unknown;
  readonly refresh: unknown;
  readonly expiresAt: unknown;
  readonly lifetime?: unknown;
  readonly scope?: unknown;
  readonly tokenType?: unknown;
  readonly unit: 1 | 1000;
}

/** The year 2100: a later end is no time, but milliseconds taken for seconds, or damage. */
const LATEST = Date.UTC(2100, 0);
const LONGEST = 366 * 86_400_000;

/**
 * What the parts amount to. An end that is missing or 0 counts as past, so that the refresh token decides; kimi-code
 * and kimi-cli read it so as well. An empty access token is how kimi-code and kimi-cli write "logged out".
 */
export function parseStored(parts: StoredParts): StoredLogin {
  const { access, refresh, unit } = parts;
  if (access === "") return { state: "signed-out" };
  if (!isTokenText(access)) return malformed("holds no access token");
  if (!isTokenText(refresh)) return malformed("holds no refresh token");
  const end = parts.expiresAt ?? 0;
  if (typeof end !== "number" || !(end >= 0 && end * unit <= LATEST)) {
    return malformed("does not say when its token expires");
  }
  const { lifetime } = parts;
  const known = typeof lifetime === "number" && lifetime > 0 && lifetime * unit <= LONGEST;
  const token: Token = {
    accessToken: access,
    refreshToken: refresh,
    expiresAt: Math.floor(end * unit),
    lifetime: known ? lifetime * unit : USUAL_LIFETIME,
    scope: typeof parts.scope === "string" ? parts.scope : undefined,
    tokenType: typeof parts.tokenType === "string" ? parts.tokenType : undefined,
  };
  return { state: "present", token };
}

/** The login in a file that keeps it under the names of a token response, with times in s. */
export function parseWire(members: Members): StoredLogin {
  return parseStored({
    access: memberValue(members, "access_token"),
    refresh: memberValue(members, "refresh_token"),
    expiresAt: memberValue(members, "expires_at"),
    lifetime: memberValue(members, "expires_in"),
    scope: memberValue(members, "scope"),
    tokenType: memberValue(members, "token_type"),
    unit: 1000,
  });
}

export function malformed(reason: string): Extract<StoredLogin, { state: "malformed" }> {
  return { state: "malformed", reason };
}

/** Printable ASCII without spaces (RFC 6749 appendix A.12): anything else would break, or forge, a header. */
function isTokenText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 16_384 && /^[\x21-\x7e]+$/.test(value);
}
