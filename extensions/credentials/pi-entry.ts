/**
 * Reading our entry in pi's auth.json: a mirror of the owner's login or, where it names no owner, a login of its own.
 * One fact is remembered beside it: that an entry existed, so that its absence means a logout here.
 */
import { dirname, join } from "node:path";
import { isJsonObject, type Members, membersIn, memberValue, readJsonSync } from "../lib/json.ts";
import type { Token } from "../oauth/token.ts";
import { parseRegion, type Region, USUAL_REGION } from "../region.ts";
import type { CredentialStore, Owner } from "./store.ts";
import { entryFormat, storeOf } from "./stores.ts";
import { type Look, lookAt, lookUntilWhole, malformed } from "./token-file.ts";

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

export const PROVIDER = "kimi-coder";
const OWNERS: readonly Owner[] = ["kimi-cli", "kimi-code", "opencode-kimi-auth", "opencode-kimi-full"];
const FORMAT = entryFormat(() => PROVIDER);

/** Reads without pi's lock. pi writes in place, so a file that looks damaged is looked at again. Never throws. */
export async function readPiEntry(path: string): Promise<PiEntry> {
  return (await lookUntilWhole(() => lookAtEntry(path))).found;
}

/** One look, during which nothing else in this process runs. Never throws. */
export function lookAtEntry(path: string): Look<PiEntry> {
  const look = lookAt(path, parseOwn);
  return look.text === "" ? { ...look, found: { state: "absent" } } : look; // pi takes an empty file for no credentials
}

function parseOwn(members: Members): PiEntry {
  const own = membersIn(members, PROVIDER);
  if (memberValue(own, "type") === "api_key") return { state: "api-key" };
  const login = FORMAT.parse(members);
  if (login.state === "absent") return login;
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
  const ours = join(dirname(path), `${PROVIDER}.pi.flock`);
  return storeOf({ owner: "pi", region, path, format: FORMAT, ours });
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
