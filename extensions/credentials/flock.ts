/**
 * flock(2), the lock of Python's `fcntl.flock`, without a native dependency: a short-lived child locks the open file
 * description it shares with us; the lock stays when the child ends and falls when we close the file or die.
 */
import { spawn } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { afterAwake, systemClock } from "../lib/clock.ts";
import { systemCode } from "../lib/json.ts";
import { giveToFolderOwner } from "../lib/owner.ts";
import type { LockOutcome, Patience } from "./store.ts";

type Attempt = "held" | "busy" | { readonly failed: string };

/** The program is not there, or cannot do it on this system. */
type NoMeans = "no means";

/** Time limit of a child that tries once, in ms: after it, the file system hangs. */
const CHILD_LIMIT = 5_000;
/** Pause before a held lock is tried again on macOS, where open(2) takes it, in ms. */
const PAUSE = 50;

/** LOCK_EX (2), with LOCK_NB (4) added, on descriptor 3; 1 = another holds it (EAGAIN is 11 on Linux, 35 on macOS and BSD). */
const perl = (operation: 2 | 6) =>
  `open(my $f, "+<&=", 3) or exit 2; flock($f, ${operation}) and exit 0; exit(($! + 0 == 11 || $! + 0 == 35) ? 1 : 2);`;
const COMMANDS = [
  { command: "flock", atOnce: ["-x", "-n", "3"], waiting: ["-x", "3"] },
  { command: "perl", atOnce: ["-e", perl(6)], waiting: ["-e", perl(2)] },
] as const;

/** O_EXLOCK of macOS and BSD: open(2) takes the lock itself. */
const O_EXLOCK = 0x20;

/**
 * Takes an exclusive flock on the file `path` (created 0600, never removed or changed). Never throws. "failed" with
 * ENOTSUP: this machine has no means to take it, ever; any other code may pass. `searchPath`: where `flock` and `perl`
 * are looked for.
 */
export async function lockFile(
  path: string,
  { timeout, signal }: Patience,
  searchPath = usualSearchPath(process.env.PATH),
): Promise<LockOutcome> {
  if (process.platform === "win32") return { state: "failed", code: "ENOTSUP" };
  const end = new AbortController();
  const giveUp = () => end.abort();
  const stop = afterAwake(timeout, giveUp);
  signal?.addEventListener("abort", giveUp);
  if (timeout <= 0 || signal?.aborted) giveUp();
  try {
    for (;;) {
      const attempt = await tryOnce(path, end.signal, searchPath);
      if (attempt !== "replaced" && (attempt.state !== "busy" || end.signal.aborted)) return attempt;
      if (end.signal.aborted) return { state: "busy" };
      if (attempt !== "replaced") await systemClock.sleep(PAUSE, end.signal);
    }
  } finally {
    stop();
    signal?.removeEventListener("abort", giveUp);
  }
}

async function tryOnce(
  path: string,
  limit: AbortSignal,
  searchPath: string,
): Promise<LockOutcome | "replaced"> {
  const opensLocked = process.platform === "darwin";
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | (opensLocked ? O_EXLOCK : 0);
  let file: number | undefined;
  const close = () => {
    const open = file;
    file = undefined;
    try {
      if (open !== undefined) closeSync(open);
    } catch {
      // The lock falls all the same.
    }
  };
  let isHeld = false;
  try {
    file = openLock(path, flags);
    const attempt = opensLocked ? "held" : await lockDescriptor(file, limit, searchPath);
    if (typeof attempt === "object") return { state: "failed", code: attempt.failed };
    if (attempt === "busy") return { state: "busy" };
    if (!isStillThere(path, file)) return "replaced";
    isHeld = true;
    return { state: "held", release: async () => close() };
  } catch (error) {
    const code = systemCode(error);
    return code === "EAGAIN" || code === "EWOULDBLOCK" ? { state: "busy" } : { state: "failed", code };
  } finally {
    if (!isHeld) close();
  }
}

/**
 * Opens the lock's file. A new one belongs to the folder's owner; what was there is not given away, because a link that
 * was planted there may lead to any file of root's.
 */
function openLock(path: string, flags: number): number {
  try {
    const made = openSync(path, flags | constants.O_EXCL, 0o600);
    giveToFolderOwner(made, path);
    return made;
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    return openSync(path, flags, 0o600);
  }
}

/** Whether the file we have locked is the one that others will open. */
function isStillThere(path: string, file: number): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  const held = fstatSync(file);
  return named?.ino === held.ino && named.dev === held.dev;
}

async function lockDescriptor(file: number, limit: AbortSignal, searchPath: string): Promise<Attempt> {
  for (const { command, atOnce, waiting } of COMMANDS) {
    const attempt = limit.aborted
      ? await run(command, atOnce, file, searchPath, undefined)
      : await run(command, waiting, file, searchPath, limit);
    if (attempt !== "no means") return attempt;
  }
  return { failed: "ENOTSUP" };
}

/** Runs `command` with `file` as its descriptor 3, until `limit` fires; without a limit it answers at once. */
function run(
  command: string,
  args: readonly string[],
  file: number,
  searchPath: string,
  limit: AbortSignal | undefined,
): Promise<Attempt | NoMeans> {
  return new Promise((resolve) => {
    // Processes or files may have run out, for us and not for the others: they may hold the lock.
    const notStarted = (error: unknown) => {
      const code = systemCode(error);
      resolve(code === "ENOENT" || code === "EACCES" ? "no means" : { failed: code });
    };
    try {
      const child = spawn(command, args, {
        stdio: ["ignore", "ignore", "ignore", file],
        env: { PATH: searchPath },
        ...(limit ? {} : { timeout: CHILD_LIMIT, killSignal: "SIGKILL" }),
      });
      const end = () => void child.kill("SIGKILL");
      limit?.addEventListener("abort", end);
      child.once("error", notStarted);
      child.once("exit", (code) => {
        limit?.removeEventListener("abort", end);
        if (code !== null) resolve(readExitCode(code));
        else if (limit) resolve(limit.aborted ? "busy" : { failed: "EINTR" });
        else resolve({ failed: child.killed ? "ETIMEDOUT" : "EINTR" });
      });
    } catch (error) {
      notStarted(error);
    }
  });
}

function readExitCode(code: number): Attempt | NoMeans {
  if (code === 0) return "held";
  if (code === 1) return "busy";
  // From 126 on it is not the program that answers, but what should have loaded it (no memory, no files left).
  return code < 126 ? "no means" : { failed: "ENOEXEC" };
}

/**
 * The system's own directories first: nothing a project puts into PATH should come before them. An empty one would be
 * the folder we are in.
 */
export function usualSearchPath(path: string | undefined): string {
  const system = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin"];
  return [...system, ...(path?.split(":") ?? [])].filter(Boolean).join(":");
}
