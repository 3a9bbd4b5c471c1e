/**
 * The locks on logins: whether they can be taken, and who holds them now. None is taken. Who holds a flock Linux says in
 * `/proc/<pid>/fdinfo`, of this user's processes; `/proc/locks` names the short-lived child that took it for us (see
 * credentials/flock.ts), if anybody.
 */
import { access, constants, readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { usualSearchPath } from "../credentials/flock.ts";
import type { CredentialStore, StoreLock } from "../credentials/store.ts";
import { systemCode } from "../lib/json.ts";
import { type FileProbes, faultOf, type Use } from "./files.ts";
import { type DisplayPath, displayCode, storeName } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

export interface LockProbes extends FileProbes {
  /** Where Linux tells of its processes: `/proc`. */
  readonly proc: string;
  /** Whether this machine can take a flock. */
  readonly canFlock: () => Promise<boolean>;
  /** ms */
  readonly sleep: (ms: number) => Promise<void>;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** `stores`: those in which there is something. */
export function lockChecks(
  stores: readonly CredentialStore[],
  authPath: string,
  probes: LockProbes,
  displayPath: DisplayPath,
): readonly Check[] {
  // pi's own on auth.json; the time is the longest that a pi has.
  const ofEntry: StoreLock = { kind: "owner-file", path: `${authPath}.lock`, stale: 30_000 };
  // A folder stands in for a flock of ours.
  const flocking = stores
    .filter(({ locks }) => locks.some((lock) => lock.kind === "flock" && lock.whose === "owner's"))
    .map(storeName);
  return [
    ...(flocking.length === 0 ? [] : [{ name: "Means to lock", check: () => checkMeans(probes, flocking) }]),
    ...[ofEntry, ...stores.flatMap(({ locks }) => locks)].map((lock) => ({
      name: `Lock ${displayPath(lock.path)}`,
      check: () => checkPatiently(() => checkLock(lock, probes, displayPath), probes),
    })),
  ];
}

async function checkMeans(probes: LockProbes, owners: readonly string[]): Promise<Finding> {
  if (await probes.canFlock()) return ok("flock(2) can be taken");
  const says = `neither flock nor perl is installed: the lock of ${owners.join(" and ")} cannot be taken`;
  return bad(`${says}, and a login may be renewed twice`, "install util-linux, which has flock, or perl");
}

/** Pauses before a lock is looked at again, in ms: a renewal holds it for a moment. */
const LOOK_AGAIN = [250, 750];

async function checkPatiently(
  look: () => Promise<Finding>,
  { sleep }: Pick<LockProbes, "sleep">,
): Promise<Finding> {
  for (const pause of LOOK_AGAIN) {
    const finding = await look();
    if (finding.state !== "bad") return finding;
    await sleep(pause);
  }
  return look();
}

async function checkLock(lock: StoreLock, probes: LockProbes, displayPath: DisplayPath): Promise<Finding> {
  for (const use of usesOf(lock)) {
    const fault = faultOf(await probes.look(use.path), use, displayPath(use.path));
    if (fault) return fault;
  }
  return lock.kind === "flock"
    ? checkFlock(lock.path, probes.proc)
    : checkFolderLock(lock, displayPath(lock.path), probes.now());
}

/** What is written to take the lock. The folder of the login has a check of its own. */
function usesOf(lock: StoreLock): readonly Use[] {
  const writable = { must: "be writable", lost: "the login cannot be renewed" } as const;
  switch (lock.kind) {
    case "flock":
      return [{ path: lock.path, kind: "file", ...writable }];
    case "folder":
      return [
        { path: dirname(lock.sentinel), kind: "folder", ...writable },
        { path: lock.sentinel, kind: "file", ...writable },
      ];
    case "owner-file":
      return [];
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

const FREE = ok("free");

/** `holder` completes "held by …". */
function heldBy(holder: string): Finding {
  return bad(`held by ${holder}`, "wait a minute and ask again; if it is still held then, end that program");
}

/** Processes whose names are shown: the others may be anything. */
const PROGRAMS: ReadonlySet<string> = new Set([
  "python3",
  "python",
  "node",
  "pi",
  "kimi",
  "bun",
  "kimi-code",
]);

/** Never throws. */
async function checkFlock(path: string, proc: string): Promise<Finding> {
  const file = await realpath(path).catch(() => undefined);
  if (file === undefined) return FREE;
  const processes = await readdir(proc).catch(() => undefined);
  if (!processes) return none("this system does not say who holds it");
  for (const pid of processes.filter((name) => /^\d+$/.test(name))) {
    if (!(await holdsFlock(file, join(proc, pid)))) continue;
    if (Number(pid) === process.pid) return ok("held by this pi, which is renewing the login");
    const name = (await readFile(join(proc, pid, "comm"), "utf8").catch(() => "")).trim();
    return heldBy(`process ${pid}${PROGRAMS.has(name) ? ` (${name})` : ""}`);
  }
  return FREE;
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

/**
 * Looks at a lock that is a folder. Its modification time is the holder's last sign of life; `stale` ms after that the
 * lock may be taken over. `now` in ms since the epoch. Never throws.
 */
export async function checkFolderLock(
  { path, stale }: { readonly path: string; readonly stale: number },
  shown: string,
  now: number,
): Promise<Finding> {
  try {
    const folder = await stat(path);
    if (!folder.isDirectory()) return inItsPlace("a file", shown);
    // opencode-kimi-full's has an owner.json, and for a moment a temporary file beside it.
    if ((await readdir(path)).some((name) => !name.startsWith("owner.json"))) {
      return inItsPlace("a folder with files in it (the Finder's .DS_Store, say)", shown);
    }
    const sign = await stat(join(path, "owner.json")).catch(() => folder);
    if (now - sign.mtimeMs > stale) return ok("free: its holder has ended, and the next one takes it over");
    return heldBy("a process that is alive");
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return FREE;
    return bad(`cannot be looked at (${displayCode(code)})`, "make its folder open to you");
  }
}

function inItsPlace(what: string, shown: string): Finding {
  return bad(`${what} is in its place: nobody can take it`, `remove ${shown}`);
}
