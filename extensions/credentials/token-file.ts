/** A JSON file in which a login is kept, looked at and judged: what is a token, what a time, what a tombstone. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Members, memberValue, parseMembers, readSmallFileSync } from "../lib/json.ts";
import { isTokenText } from "../lib/safe-text.ts";
import { type Token, USUAL_LIFETIME } from "../oauth/token.ts";
import type { StoredLogin } from "./store.ts";

/** How often, and after how many ms, a file that may just be being written is looked at again. */
const MORE_LOOKS = 3;
const LOOK_AGAIN = 30;

/** There is no JSON object in the file. */
export type NoObject = Extract<StoredLogin, { state: "absent" | "unreadable" | "malformed" }>;

export interface Look<Found> {
  readonly found: Found | NoObject;
  readonly members: Members;
  /** All that stands there, where it is empty or an object: the file can be replaced without a loss. */
  readonly text?: string;
  /** Whether this may be the half of a file. */
  readonly torn?: boolean;
}

const NOTHING: Members = new Map();

/** One look, during which nothing else in this process runs. Never throws. */
export function lookAt<Found>(path: string, parse: (members: Members) => Found): Look<Found> {
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
  const { text } = file;
  if (text.trim() === "") return { found: malformed("is empty"), members: NOTHING, text, torn: true };
  const members = parseMembers(text);
  return members
    ? { found: parse(members), members, text }
    : { found: malformed("is not a JSON object"), members: NOTHING, torn: true };
}

/** Looks at a file that its program overwrites in place, again while this may be the half of it. */
export async function lookUntilWhole<Found>(look: () => Look<Found>): Promise<Look<Found>> {
  let seen = look();
  for (let i = 0; i < MORE_LOOKS && seen.torn; i++) {
    await sleep(LOOK_AGAIN);
    seen = look();
  }
  return seen;
}

/** The parts as they stood in the file, unparsed; `expiresAt` in units of `unit` ms, `lifetime` in s. */
interface StoredParts {
  readonly access: unknown;
  readonly refresh: unknown;
  readonly expiresAt: unknown;
  readonly unit: number;
  readonly lifetime?: unknown;
  readonly scope?: unknown;
  readonly tokenType?: unknown;
}

/** The year 2100: a later end is no time, but milliseconds taken for seconds, or damage. */
const LATEST = Date.UTC(2100, 0);
/** In s. */
const LONGEST_LIFETIME = 366 * 86_400;

/**
 * What the parts amount to. An end that is missing or 0 counts as past, so that the refresh token decides; kimi-code
 * and kimi-cli read it so as well. An empty access token is how kimi-code and kimi-cli write "logged out".
 */
function parseStored({ access, refresh, unit, lifetime, ...parts }: StoredParts): StoredLogin {
  if (access === "") return { state: "signed-out" };
  if (!isTokenText(access)) return malformed("holds no access token");
  if (!isTokenText(refresh)) return malformed("holds no refresh token");
  const end = parts.expiresAt ?? 0;
  if (typeof end !== "number" || !(end >= 0 && end * unit <= LATEST)) {
    return malformed("does not say when its token expires");
  }
  const isKnown = typeof lifetime === "number" && lifetime > 0 && lifetime <= LONGEST_LIFETIME;
  const token: Token = {
    accessToken: access,
    refreshToken: refresh,
    expiresAt: Math.floor(end * unit),
    lifetime: isKnown ? lifetime * 1000 : USUAL_LIFETIME,
    scope: typeof parts.scope === "string" ? parts.scope : undefined,
    tokenType: typeof parts.tokenType === "string" ? parts.tokenType : undefined,
  };
  return { state: "present", token };
}

/** The login in a file that keeps it under the names of a token response, its end in units of `unit` ms. */
export function parseWire(members: Members, unit: number): StoredLogin {
  return parseStored({
    access: memberValue(members, "access_token"),
    refresh: memberValue(members, "refresh_token"),
    expiresAt: memberValue(members, "expires_at"),
    unit,
    lifetime: memberValue(members, "expires_in"),
    scope: memberValue(members, "scope"),
    tokenType: memberValue(members, "token_type"),
  });
}

/** The login in an OAuth entry as pi and opencode keep it. */
export function parseEntry(entry: Members): StoredLogin {
  return parseStored({
    access: memberValue(entry, "access"),
    refresh: memberValue(entry, "refresh"),
    expiresAt: memberValue(entry, "expires"),
    unit: 1,
  });
}

export function malformed(reason: string): Extract<StoredLogin, { state: "malformed" }> {
  return { state: "malformed", reason };
}
