/**
 * A login in a JSON file of another program: read and judged. What is a token, what a time, what a tombstone.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Members, memberValue, parseMembers, readSmallFileSync } from "../lib/json.ts";
import { type Token, USUAL_LIFETIME } from "../oauth/token.ts";
import type { StoredLogin, TokenFormat } from "./store.ts";

/** How often, and after how many ms, a file that may just be being written is looked at again. */
const MORE_LOOKS = 3;
const LOOK_AGAIN = 30;

export interface Look {
  readonly found: StoredLogin;
  readonly members: Members;
  /** All that stands there, of a file that can be replaced. */
  readonly text?: string;
  /** Whether this may be the half of a file. */
  readonly torn?: boolean;
}

const NOTHING: Members = new Map();

/** Looks at the file, again where it may be half of one. Never throws. */
export async function lookAt(path: string, format: TokenFormat): Promise<Look> {
  let seen = lookAtSync(path, format);
  for (let i = 0; i < MORE_LOOKS && format.writtenInPlace && seen.torn; i++) {
    await sleep(LOOK_AGAIN);
    seen = lookAtSync(path, format);
  }
  return seen;
}

/** One look, during which nothing else in this process runs. Never throws. */
export function lookAtSync(path: string, format: TokenFormat): Look {
  const file = readSmallFileSync(path);
  switch (file.state) {
    case "absent":
    case "unreadable":
      return { found: file, members: NOTHING };
    case "too-large":
      return { found: malformed("is far too large"), members: NOTHING };
    case "not-text":
      return { found: malformed("is not text"), members: NOTHING };
  }
  if (file.text.trim() === "") return { found: malformed("is empty"), members: NOTHING, torn: true };
  const members = parseMembers(file.text);
  return members
    ? { found: format.parse(members), members, text: file.text }
    : { found: malformed("is not a JSON object"), members: NOTHING, torn: true };
}

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
export function isTokenText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 16_384 && /^[\x21-\x7e]+$/.test(value);
}
