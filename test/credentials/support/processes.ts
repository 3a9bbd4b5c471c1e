/** Real peers in processes of their own, which talk in lines and never outlive their test. */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { root } from "../../support/hosts.ts";

export interface Peer {
  /** The next line it says; rejects when it ends without. */
  says(): Promise<string>;
  tell(line: string): void;
  signal(name: NodeJS.Signals): void;
  kill(): Promise<void>;
  /** All it has to say until it ends well. */
  rest(): Promise<string[]>;
  /** How it ended. */
  end(): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

export interface NodeOptions extends SpawnOptions {
  /** A file beside this one, loaded before all others. */
  readonly preload?: string;
}

/** What `node` is given before the path of a TypeScript module. */
export const moduleRunner = beside("run.mjs");
/** For its environment: modules are translated once, and kept from run to run. */
export const translatedOnce = {
  JITI_CACHE: join(root, "node_modules", ".cache", "pi-kimi-coder-tests", "modules"),
};

/** A peer that runs `script` (a file beside this one). What a preload breaks does not meet the kept translations. */
export function startNode(
  script: string,
  args: readonly string[],
  { preload, ...options }: NodeOptions = {},
): Peer {
  const required = preload === undefined ? [] : ["--require", beside(preload)];
  const env = { ...(options.env ?? process.env), ...(preload === undefined ? translatedOnce : {}) };
  const line = [...required, moduleRunner, beside(script), ...args];
  return startPeer(process.execPath, line, { ...options, env });
}

function beside(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

export function startPython(code: string, args: readonly string[]): Peer {
  return startPeer("python3", ["-u", "-c", code, ...args]);
}

export function startPeer(command: string, args: readonly string[], options: SpawnOptions = {}): Peer {
  const child: ChildProcess = spawn(command, args, { ...options, stdio: ["pipe", "pipe", "inherit"] });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error("no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const exited = once(child, "exit");
  async function kill(): Promise<void> {
    child.kill("SIGKILL");
    await exited;
  }
  onTestFinished(kill);
  return {
    kill,
    signal: (name) => void child.kill(name),
    tell: (line) => void stdin.write(`${line}\n`),
    async says() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command} ended without a word`);
      return String(value);
    },
    async rest() {
      const all: string[] = [];
      for (let line = await lines.next(); !line.done; line = await lines.next()) all.push(line.value);
      const [code] = await exited;
      if (code !== 0) throw new Error(`${command} ended with ${String(code)}: ${all.join(" | ")}`);
      return all;
    },
    async end() {
      const [code, signal] = await exited;
      return { code, signal };
    },
  };
}

export const hasPython = spawnSync("python3", ["-c", "import fcntl"]).status === 0;
if (!hasPython) process.stderr.write("SKIPPED: the flock tests against Python, because python3 is missing\n");

/** How many child processes of this one run. */
export function children(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap").length;
}
