/**
 * flock(2), the lock of Python's `fcntl.flock`, without a native dependency: a short-lived child locks the open file
 * description it shares with us; the lock stays when the child ends and falls when we close the file or die.
 */
import { spawn } from "node:child_process";
import { close, constants, fstat, open, stat } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { systemCode } from "./file.ts";
import type { LockOutcome } from "./store.ts";

export interface FlockOptions {
  /** Where `flock` and `perl` are looked for. */
  readonly searchPath?: string;
  readonly platform?: NodeJS.Platform;
}

type Attempt = "held" | "busy" | { readonly failed: string };

const openFile = promisify(open);
const closeFile = promisify(close);
const statFile = promisify(stat);
const statOpenFile = promisify(fstat);

const SHORTEST_PAUSE = 15;
const LONGEST_PAUSE = 150;
/** A child that has not answered after this many ms hangs in the file system. */
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
 * Never throws. "failed" with ENOTSUP: this machine has no means to take it.
 */
export async function lockFile(
  path: string,
  timeout: number,
  options: FlockOptions = {},
): Promise<LockOutcome> {
  const giveUpAt = performance.now() + timeout;
  for (let pause = SHORTEST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    const outcome = await tryOnce(path, options);
    const left = giveUpAt - performance.now();
    if (outcome.state !== "busy" || left <= 0) return outcome;
    await sleep(Math.min(left, pause * (0.5 + Math.random() / 2)));
  }
}

async function tryOnce(path: string, options: FlockOptions): Promise<LockOutcome> {
  const platform = options.platform ?? process.platform;
  if (platform === "win32") return { state: "failed", code: "ENOTSUP" };
  const opensLocked = platform === "darwin";
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | (opensLocked ? O_EXLOCK : 0);
  let file: number | undefined;
  try {
    file = await openFile(path, flags, 0o600);
    const attempt = opensLocked
      ? "held"
      : await lockDescriptor(file, options.searchPath ?? usualSearchPath());
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

async function lockDescriptor(file: number, searchPath: string): Promise<Attempt> {
  for (const { command, args } of COMMANDS) {
    const code = await run(command, args, file, searchPath);
    if (code === 0) return "held";
    if (code === 1) return "busy";
    // Anything else: the command is missing, or cannot do it; the next one may.
  }
  return { failed: "ENOTSUP" };
}

/** The exit code of `command` with `file` as its descriptor 3; undefined when it could not run or was killed. */
function run(
  command: string,
  args: readonly string[],
  file: number,
  searchPath: string,
): Promise<number | undefined> {
  return new Promise((resolve) => {
    try {
      const child = spawn(command, args, {
        stdio: ["ignore", "ignore", "ignore", file],
        env: { PATH: searchPath },
        timeout: CHILD_LIMIT,
        killSignal: "SIGKILL",
      });
      child.once("error", () => resolve(undefined));
      child.once("exit", (code) => resolve(code ?? undefined));
    } catch {
      resolve(undefined);
    }
  });
}

/** The system's own directories first: nothing a project puts into PATH should come before them. */
function usualSearchPath(): string {
  const system = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin"];
  return [...system, process.env.PATH].filter(Boolean).join(":");
}
