/**
 * The locks under which a login is renewed, taken in the store's order and let go of in the other: first one among pi
 * processes, which falls with its holder, then the owner's own, as the owner takes it.
 */
import { existsSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "../lib/json.ts";
import { makeFile, makeFolder } from "../lib/owner.ts";
import { lockDirectory } from "./directory-lock.ts";
import { lockFile } from "./flock.ts";
import { lockOwnerFile, lockOwnerFileAmongUs } from "./owner-file-lock.ts";
import type { CredentialStore, LockFailure, LockOutcome, Patience, Release, StoreLock } from "./store.ts";

export type Locking =
  | { readonly state: "held"; readonly release: Release }
  | { readonly state: "failed"; readonly failure: LockFailure };

/** Takes all locks of the store; `patience` is that of each. Makes nothing where there is no login. Never throws. */
export async function takeLocks(store: CredentialStore, patience: Patience): Promise<Locking> {
  if (!existsSync(store.path)) return failed({ kind: "lock", code: "ENOENT", path: store.path });
  const releases: Release[] = [];
  const release = async () => {
    for (const letGo of releases.splice(0)) await letGo();
  };
  for (const lock of store.locks) {
    const outcome = await take(lock, patience);
    if (outcome.state === "held") {
      releases.unshift(outcome.release);
      continue;
    }
    // Where the owner's lock cannot be had at all (Windows; Linux without flock), reading before and after is the best
    // there is. The doctor says so.
    if (outcome.state === "failed" && outcome.code === "ENOTSUP") continue;
    await release();
    return failed(
      outcome.state === "busy" ? { kind: "busy" } : { kind: "lock", code: outcome.code, path: lock.path },
    );
  }
  return { state: "held", release };
}

function failed(failure: LockFailure): Locking {
  return { state: "failed", failure };
}

async function take(lock: StoreLock, patience: Patience): Promise<LockOutcome> {
  try {
    switch (lock.kind) {
      case "flock":
        return await (lock.whose === "ours" ? takeOurs(lock.path, patience) : lockFile(lock.path, patience));
      case "folder":
        makeFolder(dirname(lock.sentinel), 0o700);
        makeFile(lock.sentinel);
        return await lockDirectory(lock.sentinel, lock.stale, patience);
      case "owner-file":
        return await lockOwnerFile(lock.path, lock.stale, patience);
    }
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

/** The folder that stands in for our flock where there is none. */
const folderFor = (path: string) => `${path}.d`;

async function takeOurs(path: string, patience: Patience): Promise<LockOutcome> {
  clear(path, (file) => file.isDirectory());
  const outcome = await lockFile(path, patience);
  if (outcome.state !== "failed" || outcome.code !== "ENOTSUP") return outcome;
  clear(folderFor(path), (file) => !file.isDirectory());
  return lockOwnerFileAmongUs(folderFor(path), patience);
}

/** Removes what is not a lock of ours from the place of one: a file, or a folder in which nothing of value is. */
function clear(path: string, isWrong: (file: { isDirectory(): boolean }) => boolean): void {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there || !isWrong(there)) return;
  const isEmpty = !there.isDirectory() || readdirSync(path).every((name) => name === ".DS_Store");
  if (isEmpty) rmSync(path, { recursive: true, force: true });
}
