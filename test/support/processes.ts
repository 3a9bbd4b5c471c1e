/** Programs that tests run: each in its own process group, bounded in time, and gone when the test process is. */
import { type ChildProcess, spawn } from "node:child_process";
import { performance } from "node:perf_hooks";
import { keepTrace } from "./secrets.ts";

export interface RunOptions {
  readonly cwd: string;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What it reads; nothing by default. */
  readonly stdin?: string;
  /** After this many ms its process group is killed. Default 120 s: many may start at a time. */
  readonly timeoutMs?: number;
  /** The program does not outlive this. */
  readonly owner?: { atRemoval(task: () => void): void };
  /** False for what has nothing to do with the programs under test. Default true. */
  readonly traced?: boolean;
}

/** A program's end. A program killed at its deadline has `exitCode` null and a last line in `stderr` that says so. */
export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Wall time. */
  readonly ms: number;
}

/** A started program; its output so far can be read at any time. */
export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  output(): { readonly stdout: string; readonly stderr: string };
  /** Signals the whole process group. */
  kill(signal?: NodeJS.Signals): void;
}

const living = new Set<number>();
process.once("exit", () => {
  for (const pid of living) killGroup(pid, "SIGKILL");
});

/** Starts a program without waiting for it. Its stdin stays open if `stdin` is "open". */
export function start(
  command: string,
  args: readonly string[],
  options: Omit<RunOptions, "stdin"> & { readonly stdin?: "open" | "none" },
): Running {
  const { cwd, env, timeoutMs = 120_000 } = options;
  const keep = options.traced === false ? () => {} : keepTrace;
  keep("argv", [command, ...args].join("\n"));
  keep("environment", JSON.stringify(env));
  const started = performance.now();
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: [options.stdin === "open" ? "pipe" : "ignore", "pipe", "pipe"],
  });
  const { pid } = child;
  if (pid !== undefined) living.add(pid);

  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A program that ends without reading its input is its own affair.
  child.stdin?.on("error", () => {});
  const kill = (signal: NodeJS.Signals = "SIGKILL") => {
    if (pid !== undefined && living.has(pid)) killGroup(pid, signal);
  };
  options.owner?.atRemoval(() => kill());
  const timer = setTimeout(() => {
    stderr += `\n[killed after ${timeoutMs} ms]\n`;
    kill();
  }, timeoutMs);

  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once("close", (exitCode, signal) => {
      clearTimeout(timer);
      if (pid !== undefined) living.delete(pid);
      keep("stdout", stdout);
      keep("stderr", stderr);
      resolve({ stdout, stderr, exitCode, signal, ms: performance.now() - started });
    });
  });
  finished.catch(() => {}); // whoever awaits it sees the error
  return { child, finished, output: () => ({ stdout, stderr }), kill };
}

/** Runs a program to its end. Throws only if it cannot be started. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const { stdin, ...rest } = options;
  const running = start(command, args, { ...rest, stdin: stdin === undefined ? "none" : "open" });
  if (stdin !== undefined) running.child.stdin?.end(stdin);
  return running.finished;
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // already gone
  }
}
