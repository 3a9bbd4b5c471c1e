/** The locks on logins: who holds them now, and which ones a dead process has left behind. None is taken. */
import type { StoreLock } from "../credentials/store.ts";
import { sayDuration } from "../usage/words.ts";
import { bad, type Check, knownCode, none, ok } from "./check.ts";
import type { NamePath } from "./places.ts";

/** A process that holds a lock; `name` only where it is a well-known program's. */
export interface Holder {
  readonly pid: number;
  readonly name: string | undefined;
}

export type FlockLook =
  | { readonly state: "absent" }
  | { readonly state: "free" }
  /** `holder` undefined: another user's, or gone while we looked. */
  | { readonly state: "held"; readonly holder: Holder | undefined }
  /** This system does not tell. */
  | { readonly state: "unknown" };

export type FolderLockLook =
  | { readonly state: "free" }
  /** `age`: ms since its last sign of life. */
  | { readonly state: "held"; readonly age: number; readonly pid?: number }
  | { readonly state: "failed"; readonly code: string };

export interface LockProbes {
  readonly flock: (path: string) => Promise<FlockLook>;
  readonly folder: (path: string) => Promise<FolderLockLook>;
  /** ms */
  readonly sleep: (ms: number) => Promise<void>;
  /** This process. */
  readonly pid: number;
}

export interface FolderLock {
  /** The lock itself, a folder. */
  readonly path: string;
  /** After how many ms without a sign of life its holder counts as dead. */
  readonly stale: number;
}

/** pi's own on auth.json; `stale` is the longest that a pi has. */
export function lockOfEntry(authPath: string): StoreLock {
  return { kind: "folder", path: `${authPath}.lock`, stale: 30_000 };
}

export function checkLock(probes: LockProbes, called: NamePath, lock: StoreLock): Promise<Check> {
  return lock.kind === "flock"
    ? checkFlock(probes, called, lock.path)
    : checkFolderLock(probes, called, lock);
}

/** What is held for a moment, as every renewal does, is looked at again after so many ms. */
const LOOK_AGAIN = [250, 750];
const WAIT = "wait a minute and ask again; if it is still held then, end that program";

async function checkFlock(probes: LockProbes, called: NamePath, path: string): Promise<Check> {
  const shown = called(path);
  const name = `Lock ${shown}`;
  let seen = await probes.flock(path);
  for (const pause of LOOK_AGAIN) {
    if (seen.state !== "held") break;
    await probes.sleep(pause);
    seen = await probes.flock(path);
  }
  switch (seen.state) {
    case "absent":
      return none(name, "never taken");
    case "free":
      return ok(name, "free");
    case "unknown":
      return none(name, "this system does not say who holds it");
    case "held":
      if (seen.holder?.pid === probes.pid) return ok(name, "held by this pi, which is renewing the login");
      return bad(name, `held by ${seen.holder ? sayHolder(seen.holder) : "a process of another user"}`, WAIT);
  }
}

function sayHolder({ pid, name }: Holder): string {
  return name === undefined ? `process ${pid}` : `process ${pid} (${name})`;
}

export async function checkFolderLock(
  probes: LockProbes,
  called: NamePath,
  { path, stale }: FolderLock,
): Promise<Check> {
  const shown = called(path);
  const name = `Lock ${shown}`;
  let seen = await probes.folder(path);
  for (const pause of LOOK_AGAIN) {
    if (seen.state !== "held" || seen.age > stale) break;
    await probes.sleep(pause);
    seen = await probes.folder(path);
  }
  switch (seen.state) {
    case "free":
      return ok(name, "free");
    case "failed":
      return bad(name, `cannot be looked at (${knownCode(seen.code)})`, "make its folder open to you");
    case "held": {
      if (seen.age > stale) {
        const says = `left behind by a process that ended ${sayDuration(seen.age)} ago`;
        return bad(name, says, `remove the folder ${shown}, or leave it to the next renewal`);
      }
      if (seen.pid === probes.pid) return ok(name, "held by this pi, which is renewing the login");
      const holder = seen.pid === undefined ? "a process that is alive" : `process ${seen.pid}`;
      return bad(name, `held by ${holder}`, WAIT);
    }
  }
}
