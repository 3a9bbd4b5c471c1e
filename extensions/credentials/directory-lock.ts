/**
 * A lock by the existence of a directory that its holder keeps fresh: the protocol of proper-lockfile, with which pi
 * and kimi-code exclude one another.
 */
import * as fs from "node:fs";
import { createRequire } from "node:module";
import type ProperLockfile from "proper-lockfile";
import { systemCode } from "./file.ts";
import { waitForLock } from "./lock-wait.ts";
import type { LockOutcome, Release } from "./store.ts";

export interface DirectoryLockOptions {
  /** After how many ms without a sign of life a holder counts as dead. All users of one lock must agree. */
  readonly stale: number;
  /** How often the holder gives a sign of life, in ms. */
  readonly update: number;
}

/** Of the locks that only pi processes take. */
export const PI_LOCK: DirectoryLockOptions = { stale: 10_000, update: 2_000 };

/**
 * Takes the lock directory `<file>.lock`, waiting up to `timeout` ms; `file` itself need not exist and is not followed
 * when it is a link. The holder's death frees it after `stale` ms. Never throws.
 */
export function lockDirectory(
  file: string,
  options: DirectoryLockOptions,
  timeout: number,
): Promise<LockOutcome> {
  return waitForLock(timeout, () => tryOnce(file, options));
}

async function tryOnce(file: string, { stale, update }: DirectoryLockOptions): Promise<LockOutcome> {
  try {
    const release = await properLockfile().lock(file, {
      stale,
      update,
      realpath: false,
      retries: 0,
      fs: guardedFs(stale),
      // The default throws from a timer, which ends pi when a laptop wakes up. A lock lost that way is noticed where
      // it matters: the file is compared before it is written.
      onCompromised: () => {},
    });
    return { state: "held", release: quietly(release) };
  } catch (error) {
    const code = systemCode(error);
    return code === "ELOCKED" ? { state: "busy" } : { state: "failed", code };
  }
}

function quietly(release: Release): Release {
  return () => release().catch(() => {});
}

/** Longer than any rounding of file times, shorter than any time after which a lock may be taken over. */
const SAME_MTIME = 1_500;

/**
 * File-system calls for one lock, with two doors of proper-lockfile shut: of several waiters that find a dead
 * holder's directory, a late one must not remove the directory that a quicker one has just made; and a holder that
 * slept too long must not remove its successor's.
 */
export function guardedFs(stale: number) {
  let ours: number | undefined;

  function remove(path: string): void {
    const mtime = fs.statSync(path).mtimeMs;
    if (ours === undefined ? mtime < Date.now() - stale : Math.abs(mtime - ours) < SAME_MTIME) {
      fs.rmdirSync(path);
    } else if (ours === undefined) {
      throw Object.assign(new Error("taken by another waiter"), { code: "ELOCKED" });
    }
  }

  return {
    mkdir: fs.mkdir,
    stat: fs.stat,
    utimes(path: string, atime: Date, mtime: Date, done: (error: Error | null) => void): void {
      fs.utimes(path, atime, mtime, (error) => {
        if (!error) ours = mtime.getTime();
        done(error);
      });
    },
    rmdir(path: string, done: (error: unknown) => void): void {
      let failure: unknown = null;
      try {
        remove(path);
      } catch (error) {
        failure = error;
      }
      done(failure);
    },
    /** Called when the process ends while it holds the lock. */
    rmdirSync: remove,
  };
}

/** The library, loaded when it is first used; a native ESM import would cost seven times as much. */
export function properLockfile(): typeof ProperLockfile {
  return createRequire(import.meta.url)("proper-lockfile");
}
