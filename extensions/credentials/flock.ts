/**
 * flock(2), the lock of Python's `fcntl.flock`, without a native dependency: a short-lived child locks the open file
 * description it shares with us; the lock stays when the child ends and falls when we close the file or die.
 */
import { spawn } from "node:child_process";
import { close, constants, fstat, open, stat } from "node:fs";
import { promisify } from "node:util";
import { systemCode } from "./file.ts";
import { waitForLock } from "./lock-wait.ts";
import type { LockOutcome } from "./store.ts";

export interface FlockOptions {
  /** Where `flock` and `perl` are looked for. */
  readonly searchPath?: string;
  readonly platform?: NodeJS.Platform;
  /** A child that has not answered after this many ms hangs in the file system, and is killed. */
  readonly childLimit?: number;
}

type Attempt = "held" | "busy" | { readonly failed: string };

/** The program is not there, or cannot do it on this system. */
type NoMeans = "no means";

const openFile = promisify(open);
const closeFile = promisify(close);
const statFile = promisify(stat);
const statOpenFile = promisify(fstat);

const CHILD_LIMIT = 5_000;

/** LOCK_EX | LOCK_NB on descriptor 3; exit code 1 = another holds it (EAGAIN is 11 on Linux, 35 on macOS and BSD). */
const PERL =
  'open(my $f, "+<&=", 3) or exit 2; flock($f, 6) and exit 0; exit(($! + 0 == 11 || $! + 0 == 35) ? 1 : 2);';
const COMMANDS = [
  { command: "flock", args: ["-x", "-n", "3"] },
  { command: "perl", args: ["-e", PERL] },
] as const;

/** O_EXLOCK of macOS and BSD: open(2) takes the lock itself. */
const O_EXLOCK = 0x20;

/**
 * Takes an exclusive flock on the file `path` (created 0600, never removed or changed), waiting up to `timeout` ms.
 * Never throws. "failed" with ENOTSUP: this machine has no means to take it, ever; any other code may pass.
 */
export function lockFile(path: string, timeout: number, options: FlockOptions = {}): Promise<LockOutcome> {
  return waitForLock(timeout, () => tryOnce(path, options));
}

async function tryOnce(path: string, options: FlockOptions): Promise<LockOutcome> {
  const platform = options.platform ?? process.platform;
  if (platform === "win32") return { state: "failed", code: "ENOTSUP" };
  const opensLocked = platform === "darwin";
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | (opensLocked ? O_EXLOCK : 0);
  let file: number | undefined;
  try {
    file = await openFile(path, flags, 0o600);
    const attempt = opensLocked ? "held" : await lockDescriptor(file, options);
    if (attempt === "held" && (await isStillThere(path, file))) {
      const held = file;
      let released: Promise<void> | undefined;
      file = undefined;
      const release = () => {
        released ??= closeFile(held).catch(() => {});
        return released;
      };
      return { state: "held", release };
    }
    return typeof attempt === "object" ? { state: "failed", code: attempt.failed } : { state: "busy" };
  } catch (error) {
    const code = systemCode(error);
    return code === "EAGAIN" || code === "EWOULDBLOCK" ? { state: "busy" } : { state: "failed", code };
  } finally {
    if (file !== undefined) await closeFile(file).catch(() => {});
  }
}

/** Whether the file we have locked is the one that others will open. */
async function isStillThere(path: string, file: number): Promise<boolean> {
  const [named, held] = await Promise.all([statFile(path).catch(() => undefined), statOpenFile(file)]);
  return named?.ino === held.ino && named.dev === held.dev;
}

async function lockDescriptor(file: number, options: FlockOptions): Promise<Attempt> {
  for (const { command, args } of COMMANDS) {
    const attempt = await run(command, args, file, options);
    if (attempt !== "no means") return attempt;
  }
  return { failed: "ENOTSUP" };
}

/** Runs `command` with `file` as its descriptor 3. */
function run(
  command: string,
  args: readonly string[],
  file: number,
  { searchPath = usualSearchPath(process.env.PATH), childLimit = CHILD_LIMIT }: FlockOptions,
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
        timeout: childLimit,
        killSignal: "SIGKILL",
      });
      child.once("error", notStarted);
      child.once("exit", (code) => {
        if (code === null) resolve({ failed: child.killed ? "ETIMEDOUT" : "EINTR" });
        else resolve(readExitCode(code));
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
