/**
 * A lock by a directory with an `owner.json` that names the holder and is rewritten as a sign of life: the refresh lock
 * of opencode-kimi-full, taken as that program takes it. Among pi processes it stands in where there is no flock.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonSync, systemCode } from "../lib/json.ts";
import { waitForLock } from "./directory-lock.ts";
import type { LockOutcome, Patience } from "./store.ts";

/** opencode-kimi-full's own figure, ms. */
const HEARTBEAT = 30_000;
/** Ours, ms. */
const OWN_HEARTBEAT = 1_000;

/**
 * Takes the lock directory `folder`, whose holder counts as dead `stale` ms after its last sign of life. Never throws.
 * Two that find a dead holder's directory at the same instant may both take it: those who can must exclude one another
 * before.
 */
export function lockOwnerFile(folder: string, stale: number, patience: Patience): Promise<LockOutcome> {
  const isDead = () => {
    const seen = lastSign(folder);
    return seen !== undefined && Date.now() - seen > stale;
  };
  return waitForLock(patience, () => tryOnce(folder, HEARTBEAT, isDead));
}

/**
 * The same among processes of ours alone. A holder that is stopped, or whose machine sleeps, is not dead: it counts as
 * dead after it has given no sign of life for two heartbeats that we have watched, and not while its process lives.
 */
export function lockOwnerFileAmongUs(folder: string, patience: Patience): Promise<LockOutcome> {
  let sign: number | undefined;
  /** How many looks in a row, each after a pause in which we were awake, have found the same sign of life. */
  let watched = 0;
  let lookedAt = performance.now();
  const isDead = () => {
    const seen = lastSign(folder);
    const now = performance.now();
    const pause = Math.min(now - lookedAt, OWN_HEARTBEAT / 4);
    lookedAt = now;
    watched = seen === sign ? watched + pause : 0;
    sign = seen;
    return seen !== undefined && watched > 2 * OWN_HEARTBEAT && !holderLives(folder);
  };
  return waitForLock(patience, () => tryOnce(folder, OWN_HEARTBEAT, isDead));
}

// What is looked at and what is then done are one stretch of synchronous calls everywhere: the less time there is in
// between, the less can be done to a lock that has become another's.

function tryOnce(folder: string, heartbeat: number, isDead: () => boolean): LockOutcome {
  try {
    if (isDead()) putAside(folder);
    mkdirSync(folder);
  } catch (error) {
    const code = systemCode(error);
    return code === "EEXIST" ? { state: "busy" } : { state: "failed", code };
  }
  const name = randomUUID();
  try {
    giveSign(folder, name);
  } catch (error) {
    quietly(() => rmSync(folder, { recursive: true, force: true }));
    return { state: "failed", code: systemCode(error) };
  }
  const whenOurs = (act: () => void) => quietly(() => holderOf(folder)?.token === name && act());
  const beating = setInterval(() => whenOurs(() => giveSign(folder, name)), heartbeat).unref();
  const release = async () => {
    clearInterval(beating);
    whenOurs(() => rmSync(folder, { recursive: true, force: true }));
  };
  return { state: "held", release };
}

function giveSign(folder: string, name: string): void {
  const temporary = join(folder, `owner.json.${process.pid}.${randomUUID()}.tmp`);
  try {
    const holder = { token: name, pid: process.pid, host: hostname(), updatedAt: Date.now() };
    writeFileSync(temporary, JSON.stringify(holder), { mode: 0o600 });
    renameSync(temporary, join(folder, "owner.json"));
  } catch (error) {
    quietly(() => rmSync(temporary, { force: true }));
    throw error;
  }
}

/** Who holds the lock, as its file says; undefined until it says so. */
function holderOf(folder: string): JsonObject | undefined {
  const holder = readJsonSync(join(folder, "owner.json"));
  return isJsonObject(holder) ? holder : undefined;
}

/** Whether the holder's process is there; false where it ran on another machine, as far as anybody can tell. */
function holderLives(folder: string): boolean {
  const { pid, host } = holderOf(folder) ?? {};
  if (typeof pid !== "number" || host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

/** When the holder last gave a sign of life, ms since the epoch; undefined where the lock is free. */
function lastSign(folder: string): number | undefined {
  return mtime(join(folder, "owner.json")) ?? mtime(folder);
}

/** Puts a dead holder's directory out of the way. */
function putAside(folder: string): void {
  const aside = `${folder}.stale.${process.pid}.${Date.now()}.${randomUUID()}`;
  try {
    renameSync(folder, aside);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    throw error;
  }
  rmSync(aside, { recursive: true, force: true });
}

/** ms since the epoch; undefined when there is nothing. */
function mtime(path: string): number | undefined {
  try {
    return statSync(path).mtimeMs;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function quietly(act: () => void): void {
  try {
    act();
  } catch {
    // The lock gets stale.
  }
}
