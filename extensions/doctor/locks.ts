/**
 * The locks on logins: whether they can be taken, who holds them now, and which ones a dead process has left behind.
 * None is taken. Who holds a flock Linux says in `/proc/<pid>/fdinfo`, of this user's processes; `/proc/locks` names
 * the short-lived child that took it for us (see credentials/flock.ts), if anybody.
 */
import { access, constants, readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { usualSearchPath } from "../credentials/flock.ts";
import type { CredentialStore, StoreLock } from "../credentials/store.ts";
import { isJsonObject, readJsonSync, systemCode } from "../lib/json.ts";
import { sayDuration } from "../lib/waiting-time.ts";
import { type DisplayPath, displayCode, storeName } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

export type LockLook =
  | { readonly state: "absent" | "free" }
  /** This system does not tell. */
  | { readonly state: "unknown" }
  | {
      readonly state: "held";
      readonly pid: number | undefined;
      /** Only where it is a well-known program's. */
      readonly name?: string | undefined;
      /** Of a folder: ms since its holder's last sign of life. */
      readonly age?: number;
    }
  /** What stands in a folder's place: no folder, or one with files of others in it, which cannot be removed as a lock. */
  | { readonly state: "blocked"; readonly by: "a file" | typeof STUFFED }
  | { readonly state: "failed"; readonly code: string };

const STUFFED = "a folder with files in it (the Finder's .DS_Store, say)";

export interface LockProbes {
  readonly flock: (path: string) => Promise<LockLook>;
  readonly folder: (path: string) => Promise<LockLook>;
  /** Whether this machine can take a flock. */
  readonly canFlock: () => Promise<boolean>;
  /** ms */
  readonly sleep: (ms: number) => Promise<void>;
  /** This process. */
  readonly pid: number;
}

/** `stores`: those in which there is something, or should be. */
export function lockChecks(
  stores: readonly CredentialStore[],
  authPath: string,
  probes: LockProbes,
  displayPath: DisplayPath,
): readonly Check[] {
  // pi's own on auth.json; the time is the longest that a pi has.
  const ofEntry: StoreLock = { kind: "owner-file", path: `${authPath}.lock`, stale: 30_000 };
  const flocking = stores.filter(({ locks }) => locks.some(({ kind }) => kind === "flock")).map(storeName);
  return [
    ...(flocking.length === 0 ? [] : [{ name: "Means to lock", check: () => checkMeans(probes, flocking) }]),
    ...[ofEntry, ...stores.flatMap(({ locks }) => locks)].map((lock) => {
      const shown = displayPath(lock.path);
      const [look, stale] =
        lock.kind === "flock" ? [probes.flock, Number.POSITIVE_INFINITY] : [probes.folder, lock.stale];
      return { name: `Lock ${shown}`, check: () => checkLock(() => look(lock.path), probes, shown, stale) };
    }),
  ];
}

async function checkMeans(probes: LockProbes, owners: readonly string[]): Promise<Finding> {
  if (await probes.canFlock()) return ok("flock(2) can be taken");
  const says = `neither flock nor perl is installed: the lock of ${owners.join(" and ")} cannot be taken`;
  return bad(`${says}, and a login may be renewed twice`, "install util-linux, which has flock, or perl");
}

/** Pauses before a held lock is looked at again, in ms: a renewal holds it for a moment. */
const LOOK_AGAIN = [250, 750];

/** `stale`: after how many ms without a sign of life its holder counts as dead. */
export async function checkLock(
  look: () => Promise<LockLook>,
  { sleep, pid }: Pick<LockProbes, "sleep" | "pid">,
  shown: string,
  stale: number,
): Promise<Finding> {
  let seen = await look();
  for (const pause of LOOK_AGAIN) {
    if (seen.state !== "held" && seen.state !== "blocked") break;
    await sleep(pause);
    seen = await look();
  }
  switch (seen.state) {
    case "absent":
      return none("never taken");
    case "free":
      return ok("free");
    case "unknown":
      return none("this system does not say who holds it");
    case "failed":
      return bad(`cannot be looked at (${displayCode(seen.code)})`, "make its folder open to you");
    case "blocked":
      return bad(`${seen.by} is in its place: nobody can take it`, `remove ${shown}`);
    case "held": {
      const { age = 0, name } = seen;
      if (age > stale) {
        return bad(
          `left behind by a process that ended ${sayDuration(age)} ago`,
          `remove the folder ${shown}, or leave it to the next renewal`,
        );
      }
      if (seen.pid === pid) return ok("held by this pi, which is renewing the login");
      const holder = seen.pid === undefined ? "a process that is alive" : `process ${seen.pid}`;
      const fix = "wait a minute and ask again; if it is still held then, end that program";
      return bad(`held by ${holder}${name === undefined ? "" : ` (${name})`}`, fix);
    }
  }
}

/** Whether there is what takes a flock for us: on macOS open(2) does, elsewhere a program. */
export async function canFlock(
  searchPath = usualSearchPath(process.env.PATH),
  platform: NodeJS.Platform = process.platform,
): Promise<boolean> {
  if (platform === "darwin") return true;
  const programs = searchPath.split(":").flatMap((folder) => [join(folder, "flock"), join(folder, "perl")]);
  const found = await Promise.all(
    programs.map((program) =>
      access(program, constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}

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
export async function lookAtFlock(path: string, proc = "/proc"): Promise<LockLook> {
  try {
    const file = await realpath(path);
    const processes = await readdir(proc).catch(() => undefined);
    if (!processes) return { state: "unknown" };
    for (const pid of processes.filter((name) => /^\d+$/.test(name))) {
      if (!(await holdsFlock(file, join(proc, pid)))) continue;
      const name = (await readFile(join(proc, pid, "comm"), "utf8").catch(() => "")).trim();
      return { state: "held", pid: Number(pid), name: PROGRAMS.has(name) ? name : undefined };
    }
    return { state: "free" };
  } catch (error) {
    return systemCode(error) === "ENOENT" ? { state: "absent" } : { state: "unknown" };
  }
}

/** Whether the process has the file open and holds a flock through it. */
async function holdsFlock(file: string, folder: string): Promise<boolean> {
  for (const descriptor of await readdir(join(folder, "fd")).catch(() => [])) {
    const target = await readlink(join(folder, "fd", descriptor)).catch(() => undefined);
    if (target !== file) continue;
    const info = await readFile(join(folder, "fdinfo", descriptor), "utf8").catch(() => "");
    if (/^lock:\s+\d+: FLOCK\b/m.test(info)) return true;
  }
  return false;
}

/** A lock that is a folder: its time is its holder's last sign of life. Never throws. */
export async function lookAtFolderLock(path: string, now: number): Promise<LockLook> {
  try {
    const folder = await stat(path);
    if (!folder.isDirectory()) return { state: "blocked", by: "a file" };
    const names = await readdir(path);
    // Only opencode-kimi-full's has it.
    const owner = join(path, "owner.json");
    if (names.some((name) => !name.startsWith("owner.json"))) {
      return { state: "blocked", by: STUFFED };
    }
    const sign = await stat(owner).catch(() => folder);
    return { state: "held", age: now - sign.mtimeMs, pid: readPid(owner) };
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? { state: "free" } : { state: "failed", code };
  }
}

function readPid(path: string): number | undefined {
  const value = readJsonSync(path);
  const pid = isJsonObject(value) ? value.pid : undefined;
  return typeof pid === "number" && Number.isSafeInteger(pid) && pid > 0 && pid < 2 ** 31 ? pid : undefined;
}
