/**
 * A lock by the existence of a directory that its holder keeps fresh: the protocol of proper-lockfile, with which pi
 * and kimi-code exclude one another. Taken as they take it.
 */
import * as fs from "node:fs";
import { lock, lockSync } from "proper-lockfile";
import { systemClock } from "../lib/clock.ts";
import { systemCode } from "../lib/json.ts";
import type { LockOutcome, Patience, Release } from "./store.ts";

/** Pause before a held lock is tried again, in ms: doubles from the shortest to the longest. */
const SHORTEST_PAUSE = 10;
const LONGEST_PAUSE = 150;

/** Makes `attempt` until it is not told "busy" or the patience is over; at least once. Throws what `attempt` throws. */
export async function waitForLock(
  { timeout, signal }: Patience,
  attempt: () => LockOutcome | Promise<LockOutcome>,
): Promise<LockOutcome> {
  let left = timeout;
  for (let pause = SHORTEST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    const outcome = await attempt();
    if (outcome.state !== "busy" || left <= 0 || signal?.aborted) return outcome;
    const next = Math.min(left, pause * (0.5 + Math.random() / 2));
    left -= next;
    await systemClock.sleep(next, signal);
  }
}

/**
 * Takes the lock directory `<file>.lock`; `file` itself need not exist and is not followed when it is a link. The
 * holder's death frees it after `stale` ms, a figure on which all users of one lock must agree. Never throws.
 */
export function lockDirectory(file: string, stale: number, patience: Patience): Promise<LockOutcome> {
  return waitForLock(patience, () => tryOnce(file, stale));
}

async function tryOnce(file: string, stale: number): Promise<LockOutcome> {
  try {
    const release = await lock(file, {
      stale,
      // A heartbeat that is much shorter than kimi-code's, because its file system may be slow.
      update: 1_000,
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

/** Takes the lock in one synchronous step, without waiting; returns what lets go of it. Throws ELOCKED where it is held. */
export function lockDirectorySync(file: string, stale: number): () => void {
  const release = lockSync(file, { stale, realpath: false, onCompromised: () => {} });
  return () => {
    try {
      release();
    } catch {
      // Somebody has removed it already.
    }
  };
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
