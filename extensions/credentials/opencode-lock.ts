/**
 * opencode-kimi-full's refresh lock: a directory with an `owner.json` that names the holder and is rewritten as a sign
 * of life. Taken here exactly as that program takes it.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJsonSync, systemCode } from "./file.ts";
import { waitForLock } from "./lock-wait.ts";
import type { LockOutcome } from "./store.ts";

/** The program's own figures, in ms. */
export const STALE = 120_000;
const HEARTBEAT = 30_000;

/**
 * Takes the lock directory `folder`, waiting up to `timeout` ms. Never throws. Two that find a dead holder's directory
 * at the same instant may both take it: those who can must exclude one another before.
 */
export function lockWithOwnerFile(folder: string, timeout: number): Promise<LockOutcome> {
  return waitForLock(timeout, () => tryOnce(folder));
}

// What is looked at and what is then done are one stretch of synchronous calls everywhere: the less time there is in
// between, the less can be done to a lock that has become another's.

function tryOnce(folder: string): LockOutcome {
  try {
    removeIfStale(folder);
    mkdirSync(folder);
  } catch (error) {
    const code = systemCode(error);
    return code === "EEXIST" ? { state: "busy" } : { state: "failed", code };
  }
  const name = randomUUID();
  try {
    signOfLife(folder, name);
  } catch (error) {
    quietly(() => rmSync(folder, { recursive: true, force: true }));
    return { state: "failed", code: systemCode(error) };
  }
  const whenOurs = (act: () => void) => quietly(() => holderOf(folder) === name && act());
  const heartbeat = setInterval(() => whenOurs(() => signOfLife(folder, name)), HEARTBEAT).unref();
  const release = async () => {
    clearInterval(heartbeat);
    whenOurs(() => rmSync(folder, { recursive: true, force: true }));
  };
  return { state: "held", release };
}

function signOfLife(folder: string, name: string): void {
  const temporary = join(folder, `owner.json.${process.pid}.${randomUUID()}.tmp`);
  try {
    const holder = { token: name, pid: process.pid, updatedAt: Date.now() };
    writeFileSync(temporary, JSON.stringify(holder), { mode: 0o600 });
    renameSync(temporary, join(folder, "owner.json"));
  } catch (error) {
    quietly(() => rmSync(temporary, { force: true }));
    throw error;
  }
}

/** Under what name the lock is held; undefined while nobody has said so. */
function holderOf(folder: string): unknown {
  const holder = readJsonSync(join(folder, "owner.json"));
  return typeof holder === "object" && holder !== null && "token" in holder ? holder.token : undefined;
}

/** Puts a dead holder's directory out of the way. */
function removeIfStale(folder: string): void {
  const seen = mtime(join(folder, "owner.json")) ?? mtime(folder);
  if (seen === undefined || Date.now() - seen <= STALE) return;
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
