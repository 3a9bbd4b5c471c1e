/**
 * opencode-kimi-full's refresh lock: a directory with an `owner.json` that names the holder and is rewritten as a sign
 * of life. Taken here exactly as that program takes it.
 */
import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readSmallFile, systemCode } from "./file.ts";
import type { LockOutcome } from "./store.ts";

/** The program's own figures, in ms. */
const STALE = 120_000;
const HEARTBEAT = 30_000;
const PAUSE = 100;

/** Takes the lock directory `folder`, waiting up to `timeout` ms. Never throws. */
export async function lockWithOwnerFile(folder: string, timeout: number): Promise<LockOutcome> {
  const giveUpAt = performance.now() + timeout;
  try {
    while (!(await create(folder))) {
      if (await removeIfStale(folder)) continue;
      const left = giveUpAt - performance.now();
      if (left <= 0) return { state: "busy" };
      await sleep(Math.min(left, PAUSE));
    }
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
  const name = randomUUID();
  try {
    await signOfLife(folder, name);
  } catch (error) {
    await rm(folder, { recursive: true, force: true }).catch(() => {});
    return { state: "failed", code: systemCode(error) };
  }
  const heartbeat = setInterval(() => void signOfLife(folder, name).catch(() => {}), HEARTBEAT).unref();
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= letGo(folder, name, heartbeat).catch(() => {});
    return released;
  };
  return { state: "held", release };
}

async function create(folder: string): Promise<boolean> {
  try {
    await mkdir(folder);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function signOfLife(folder: string, name: string): Promise<void> {
  const temporary = join(folder, `owner.json.${process.pid}.${randomUUID()}.tmp`);
  try {
    const holder = { token: name, pid: process.pid, updatedAt: Date.now() };
    await writeFile(temporary, JSON.stringify(holder), { mode: 0o600 });
    await rename(temporary, join(folder, "owner.json"));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** Whether a dead holder's directory is out of the way. */
async function removeIfStale(folder: string): Promise<boolean> {
  const seen = (await mtime(join(folder, "owner.json"))) ?? (await mtime(folder));
  if (seen === undefined) return true;
  if (Date.now() - seen <= STALE) return false;
  const aside = `${folder}.stale.${process.pid}.${Date.now()}.${randomUUID()}`;
  try {
    await rename(folder, aside);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return true;
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
  return true;
}

/** ms since the epoch; undefined when there is nothing. */
async function mtime(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function letGo(folder: string, name: string, heartbeat: NodeJS.Timeout): Promise<void> {
  clearInterval(heartbeat);
  const file = await readSmallFile(join(folder, "owner.json"));
  if (file.state !== "read") return;
  const holder: unknown = JSON.parse(file.text);
  const ours = typeof holder === "object" && holder !== null && "token" in holder && holder.token === name;
  if (ours) await rm(folder, { recursive: true, force: true });
}
