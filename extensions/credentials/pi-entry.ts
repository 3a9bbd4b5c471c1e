/**
 * Reading our entry in pi's auth.json: a mirror of the owner's login or, where it names no owner, a login of its own.
 * One fact is remembered beside it: that an entry existed, so that its absence means a logout here.
 */
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  indented,
  isJsonObject,
  type Members,
  memberValue,
  parseMembers,
  readJsonSync,
  readSmallFileSync,
} from "../lib/json.ts";
import type { Token } from "../oauth/token.ts";
import { parseRegion, type Region, USUAL_REGION } from "../region.ts";
import type { CredentialStore, Owner, StoredLogin } from "./store.ts";
import { parsePiWords, storeOf } from "./stores.ts";
import { malformed } from "./token-file.ts";

/** What stands in auth.json for us. */
export type PiEntry =
  | {
      readonly state: "oauth";
      readonly token: Token;
      /** Whose login this mirrors, and the file it came from; undefined where pi alone has the login. */
      readonly mirrored: { readonly owner: Owner; readonly source: string } | undefined;
      /** Where the token may go; entries from before there was another region name none, and mean kimi.com. */
      readonly region: Region;
    }
  | { readonly state: "api-key" }
  | { readonly state: "absent" }
  /** auth.json itself cannot be read; `code` is the system's. */
  | { readonly state: "unreadable"; readonly code: string }
  /** `reason` completes the sentence "auth.json …". */
  | { readonly state: "malformed"; readonly reason: string };

const PROVIDER = "kimi-coder";
const OWNERS: readonly Owner[] = ["kimi-cli", "kimi-code", "opencode-kimi-auth", "opencode-kimi-full"];
/** Somebody who writes in place is done after this many ms. */
const TORN_PAUSE = 30;

/** Reads without pi's lock. pi writes in place, so a file that looks damaged is looked at again. Never throws. */
export async function readPiEntry(path: string): Promise<PiEntry> {
  for (let looks = 1; ; looks++) {
    const { entry } = lookAtEntry(path);
    if (entry.state !== "malformed" || looks === 4) return entry;
    await sleep(TORN_PAUSE);
  }
}

export interface EntryLook {
  readonly entry: PiEntry;
  /** All members of the file; undefined when there is no telling. */
  readonly file: Members | undefined;
  /** The members of our entry. */
  readonly own: Members;
}

const NOTHING: Members = new Map();

/** One look, during which nothing else in this process runs. Never throws. */
export function lookAtEntry(path: string): EntryLook {
  const text = readSmallFileSync(path);
  switch (text.state) {
    case "absent":
      return { entry: { state: "absent" }, file: NOTHING, own: NOTHING };
    case "unreadable":
      return { entry: text, file: undefined, own: NOTHING };
    case "too-large":
      return { entry: malformed("is far too large"), file: undefined, own: NOTHING };
    case "not-text":
      return { entry: malformed("is not text"), file: undefined, own: NOTHING };
  }
  const file = text.text === "" ? NOTHING : parseMembers(text.text); // pi takes an empty file for no credentials
  if (!file) return { entry: malformed("is not a JSON object"), file, own: NOTHING };
  const ours = file.get(PROVIDER);
  if (ours === undefined) return { entry: { state: "absent" }, file, own: NOTHING };
  const own = parseMembers(ours);
  if (!own) return { entry: malformed("holds a damaged entry"), file, own: NOTHING };
  return { entry: parseEntry(own), file, own };
}

function parseEntry(own: Members): PiEntry {
  const type = memberValue(own, "type");
  if (type === "api_key") return { state: "api-key" };
  if (type !== "oauth") return malformed("holds a damaged entry");
  const login = parsePiWords(own);
  if (login.state !== "present") return malformed("holds a damaged entry");
  const owner = OWNERS.find((name) => name === memberValue(own, "owner"));
  const source = memberValue(own, "source");
  return {
    state: "oauth",
    token: login.token,
    mirrored: owner && typeof source === "string" ? { owner, source } : undefined,
    region: parseRegion(memberValue(own, "region")) ?? USUAL_REGION,
  };
}

/** auth.json as the store of a login that pi alone has. */
export function piStore(path: string, region: Region): CredentialStore {
  return storeOf({
    owner: "pi",
    region,
    path,
    format: { parse: parseOwn, update: updateOwn, render: indented, writtenInPlace: true },
    ours: join(dirname(path), `${PROVIDER}.pi.flock`),
  });
}

function parseOwn(members: Members): StoredLogin {
  const entry = members.get(PROVIDER);
  if (entry === undefined) return { state: "absent" };
  const own = parseMembers(entry);
  return own && memberValue(own, "type") === "oauth" ? parsePiWords(own) : malformed("holds a damaged entry");
}

function updateOwn(members: Members, token: Token): Members {
  return new Map([...members, [PROVIDER, indented(withToken(entryIn(members), token), 1)]]);
}

function entryIn(members: Members): Members {
  return parseMembers(members.get(PROVIDER) ?? "{}") ?? NOTHING;
}

/** The members of an entry with the token in them; everything else stays as it was. */
export function withToken(own: Members, token: Token): Members {
  return new Map([
    ...own,
    ["type", '"oauth"'],
    ["access", JSON.stringify(token.accessToken)],
    ["refresh", JSON.stringify(token.refreshToken)],
    ["expires", String(Math.floor(token.expiresAt))],
  ]);
}

/** Whether the entry says already that this is the login of `store`. */
export function isMirrorOf(entry: PiEntry, token: Token, store: CredentialStore): boolean {
  return (
    isOf(entry, store) &&
    entry.region === store.region &&
    entry.token.accessToken === token.accessToken &&
    entry.token.refreshToken === token.refreshToken &&
    entry.token.expiresAt === Math.floor(token.expiresAt)
  );
}

/** Whether the entry mirrors this store, or is it. */
export function isOf(
  entry: PiEntry,
  { owner, path }: CredentialStore,
): entry is Extract<PiEntry, { state: "oauth" }> {
  if (entry.state !== "oauth") return false;
  const { mirrored } = entry;
  return mirrored === undefined ? owner === "pi" : mirrored.owner === owner && mirrored.source === path;
}

/** Whether pi ever had an entry of ours, so that one that is gone was removed by /logout. Never throws. */
export function hadEntry(memoryPath: string): boolean {
  const memory = readJsonSync(memoryPath);
  return isJsonObject(memory) && memory.seeded === true;
}
