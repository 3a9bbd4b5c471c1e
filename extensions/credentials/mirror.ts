/** Keeps pi's entry in line with the login in use: written by pi's rules, under pi's lock, for as short as can be. */
import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { systemClock } from "../lib/clock.ts";
import { indented, membersIn, systemCode } from "../lib/json.ts";
import { makeFolder } from "../lib/owner.ts";
import { type FileWrite, keepJson, replaceFile } from "../lib/replace-file.ts";
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { lockDirectorySync } from "./directory-lock.ts";
import { hadEntry, isMirrorOf, isOf, lookAtEntry, type PiEntry, PROVIDER } from "./pi-entry.ts";
import type { CredentialStore } from "./store.ts";
import { withToken } from "./stores.ts";
import { lookAt } from "./token-file.ts";

/** Where pi keeps its entry, and where it is remembered that there was one. */
export interface PiFiles {
  /** `<agent dir>/auth.json`. */
  readonly authPath: string;
  readonly memoryPath: string;
}

/** `path` is what could not be used: auth.json, or its lock. */
type Failed = Extract<FileWrite, { state: "failed" }> & { readonly path?: string };

export type MirrorOutcome =
  | { readonly state: "written" }
  /** The entry was right already, or is not ours to change. */
  | { readonly state: "left" }
  /** The file is as it was. ELOCKED: pi held its lock all the time; EBADMSG: the file is damaged. */
  | Failed;

/** How long to wait for pi's lock, ms. */
const LOCK_WAIT = 5_000;
/** Between two tries for it, ms. */
const PAUSE = 25;
/** pi's own asynchronous holders give a sign of life only every 15 s, so nothing shorter may count as dead. */
const STALE = 30_000;

/**
 * Writes the store's login into pi's entry: what its file holds by then, or `given` where it cannot be read. `seen` is the
 * entry upon which the login was chosen: another login that has taken its place is not ours to replace, and neither is
 * an entry that a logout has removed. Never throws.
 */
export async function mirror(
  { authPath, memoryPath }: PiFiles,
  store: CredentialStore,
  given: Token,
  seen: PiEntry,
): Promise<MirrorOutcome> {
  return underPiLock(authPath, () => {
    const outcome = changeEntry(authPath, memoryPath, store, given, seen);
    if (!hadEntry(memoryPath) && lookAtEntry(authPath).found.state === "oauth") {
      keepJson(memoryPath, { seeded: true });
    }
    return outcome;
  });
}

/**
 * Removes the entry as pi's /logout does, and remembers that there was one: the logout stands, also where there was none
 * yet. Never throws.
 */
export async function removeEntry({ authPath, memoryPath }: PiFiles): Promise<MirrorOutcome> {
  const kept = keepJson(memoryPath, { seeded: true });
  if (kept.state === "failed") return { ...kept, path: memoryPath };
  return underPiLock(authPath, (): MirrorOutcome => {
    const { found: entry, members, ...look } = lookAtEntry(authPath);
    if (entry.state === "absent") return { state: "left" };
    if (look.text === undefined) return unusable(entry);
    const others = [...members].filter(([name]) => name !== PROVIDER);
    return replaceFile(authPath, indented(new Map(others)), { mode: 0o600 });
  });
}

function changeEntry(
  authPath: string,
  memoryPath: string,
  store: CredentialStore,
  given: Token,
  seen: PiEntry,
): MirrorOutcome {
  const { found: entry, members, text } = lookAtEntry(authPath);
  const isMissing = entry.state === "absent";
  if (text === undefined && !isMissing) return unusable(entry);
  // A peer may have renewed since the token was read: its successor must not be replaced by what is used up.
  const { found } = lookAt(store.path, store.format.parse);
  const token = found.state === "present" ? found.token : given;
  const isOurs = isMissing
    ? seen.state === "absent" && !hadEntry(memoryPath)
    : isOf(entry, store) || isOfSame(entry, seen);
  if (!isOurs || isMirrorOf(entry, token, store)) return { state: "left" };
  const next = new Map(withToken(membersIn(members, PROVIDER), token));
  if (store.owner !== "pi") {
    next.set("owner", JSON.stringify(store.owner)).set("source", JSON.stringify(store.path));
  }
  next.delete("replaces"); // of version 1
  if (store.region === USUAL_REGION) next.delete("region");
  else next.set("region", JSON.stringify(store.region));
  const file = new Map([...members, [PROVIDER, indented(next, 1)]]);
  return replaceFile(authPath, indented(file), { mode: 0o600 });
}

/** For a file that cannot be read: it is left as it is. */
function unusable(entry: PiEntry): Failed {
  return { state: "failed", code: entry.state === "unreadable" ? entry.code : "EBADMSG" };
}

function isOfSame(entry: PiEntry, seen: PiEntry): boolean {
  if (entry.state !== "oauth" || seen.state !== "oauth") return false;
  return entry.mirrored?.owner === seen.mirrored?.owner && entry.mirrored?.source === seen.mirrored?.source;
}

/**
 * Does `work` under pi's lock on auth.json. All of one try is synchronous: pi takes the same lock synchronously, and
 * would stop this process for 200 ms and then go on without credentials if it found the lock held by ourselves.
 */
export async function underPiLock<T>(authPath: string, work: () => T): Promise<T | Failed> {
  for (let waited = 0; ; ) {
    const releases: (() => void)[] = [];
    let lock: string | undefined;
    try {
      makeFolder(dirname(authPath), 0o700); // as pi does
      for (const name of lockNames(authPath)) {
        lock = `${name}.lock`;
        releases.unshift(lockDirectorySync(name, STALE));
        lock = undefined;
      }
      return work();
    } catch (error) {
      const code = systemCode(error);
      if (code !== "ELOCKED" || waited >= LOCK_WAIT) {
        return { state: "failed", code, ...(lock === undefined ? {} : { path: lock }) };
      }
    } finally {
      for (const release of releases) release();
    }
    const pause = PAUSE * (0.5 + Math.random());
    waited += pause;
    await systemClock.sleep(pause);
  }
}

/**
 * The names under which auth.json is locked: pi's synchronous lock takes the path as it is, the asynchronous one of
 * 0.73 what it leads to. Always in this order, so that no two of us wait for one another.
 */
function lockNames(path: string): readonly string[] {
  const named = join(realpathSync(dirname(path)), basename(path));
  try {
    const real = realpathSync(path);
    return real === named ? [named] : [named, real];
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [named];
    throw error;
  }
}
