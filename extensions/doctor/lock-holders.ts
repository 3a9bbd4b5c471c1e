/**
 * Who holds a lock: Linux says it in `/proc`. A lock that a short-lived child took for us (see credentials/flock.ts) is
 * listed in `/proc/locks` under the child's id, if at all; who has the locked file open is in `/proc/<pid>/fdinfo`.
 */
import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { readSmallFile, systemCode } from "../credentials/file.ts";
import { isJsonObject } from "../oauth/json-object.ts";
import type { FlockLook, FolderLockLook, Holder } from "./locks.ts";

/** Of processes whose names are shown: the others may be anything. */
const PROGRAMS: ReadonlySet<string> = new Set([
  "python3",
  "python",
  "node",
  "pi",
  "kimi",
  "bun",
  "kimi-code",
]);

/** `proc`: where Linux tells of its processes. Never throws. */
export async function lookAtFlock(path: string, proc = "/proc"): Promise<FlockLook> {
  try {
    const file = await stat(path);
    const locks = await readFile(join(proc, "locks"), "utf8").catch(() => undefined);
    const holder = await findOpener(await realpath(path), proc);
    if (holder !== undefined) return { state: "held", holder: await describe(holder, proc) };
    if (locks === undefined) return { state: "unknown" };
    const listed = listedHolder(locks, file);
    if (listed === undefined) return { state: "free" };
    return { state: "held", holder: listed > 0 ? await describe(listed, proc) : undefined };
  } catch (error) {
    return systemCode(error) === "ENOENT" ? { state: "absent" } : { state: "unknown" };
  }
}

/** The process that has the file open and holds a flock through it; only this user's can be asked. */
async function findOpener(path: string, proc: string): Promise<number | undefined> {
  const pids = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const descriptors = await readdir(join(proc, pid, "fd")).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(join(proc, pid, "fd", descriptor)).catch(() => undefined);
      if (target !== path) continue;
      const info = await readFile(join(proc, pid, "fdinfo", descriptor), "utf8").catch(() => "");
      if (/^lock:\s+\d+: FLOCK\b/m.test(info)) return Number(pid);
    }
  }
  return undefined;
}

/** The process id in `/proc/locks` for this file; undefined where no flock of it is listed. */
export function listedHolder(
  locks: string,
  file: { readonly dev: number; readonly ino: number },
): number | undefined {
  // Linux' own split of a device number.
  const major = Math.floor(file.dev / 256) % 4096;
  const minor = (file.dev % 256) + Math.floor(file.dev / 1_048_576) * 256;
  const hex = (value: number) => value.toString(16).padStart(2, "0");
  const id = `${hex(major)}:${hex(minor)}:${file.ino}`;
  for (const line of locks.split("\n")) {
    // "->" marks one that waits.
    const [, kind, , , pid, target] = line.trim().split(/\s+/);
    if (kind === "FLOCK" && target === id) return Number(pid);
  }
  return undefined;
}

async function describe(pid: number, proc: string): Promise<Holder> {
  const name = (await readFile(join(proc, String(pid), "comm"), "utf8").catch(() => "")).trim();
  return { pid, name: PROGRAMS.has(name) ? name : undefined };
}

/** A lock that is a folder: its time is its holder's last sign of life. Never throws. */
export async function lookAtFolderLock(path: string, now: number): Promise<FolderLockLook> {
  try {
    const folder = await stat(path);
    // Only opencode-kimi-full's has it.
    const file = join(path, "owner.json");
    const [sign, owner] = await Promise.all([stat(file).catch(() => folder), readSmallFile(file)]);
    const pid = owner.state === "read" ? parsePid(owner.text) : undefined;
    const age = now - sign.mtimeMs;
    return { state: "held", age, ...(pid === undefined ? {} : { pid }) };
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? { state: "free" } : { state: "failed", code };
  }
}

function parsePid(text: string): number | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const pid = isJsonObject(value) ? value.pid : undefined;
    return typeof pid === "number" && Number.isSafeInteger(pid) && pid > 0 && pid < 2 ** 31 ? pid : undefined;
  } catch {
    return undefined;
  }
}
