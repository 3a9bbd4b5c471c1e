/** The real pi, run once: its arguments, its end, and the events of its JSON mode. */
import { cpSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import type { Home } from "./home.ts";
import { type PiHost, root } from "./hosts.ts";
import { type Finished, type Running, type RunOptions, run, start } from "./processes.ts";

export interface PiOptions {
  readonly stdin?: string;
  /** On top of the home's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** ms; default 120 s. */
  readonly timeoutMs?: number;
  /** Default: the home's `work`. */
  readonly cwd?: string;
  /** What `-e` names, alone; default this repository. False: what pi finds by itself (settings, packages). */
  readonly extension?: string | false;
}

/** Chooses this extension's model. */
export const ourModel: readonly string[] = ["--provider", "kimi-coder", "--model", "kimi-for-coding"];

/** Everything after `node`: pi's command line with only this extension, and no project's context files. */
export function piArguments(
  host: PiHost,
  args: readonly string[],
  extension: string | false = root,
): string[] {
  const loading = extension === false ? [] : ["--no-extensions", "-e", extension];
  return [...host.script, ...loading, "--no-context-files", ...args];
}

/** What `run` and `start` need to know for a pi in this home. */
export function piSurroundings(home: Home, options: PiOptions): Omit<RunOptions, "stdin"> {
  const { env, cwd = home.work, timeoutMs } = options;
  return { cwd, env: home.env(env), owner: home, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

/** A copy of this extension in the home, without the files and folders of extensions/ that are named. */
export function copyExtension(home: Home, ...without: readonly string[]): string {
  const copy = join(home.path, "bin", "copy");
  for (const name of ["extensions", "package.json"])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  for (const name of without) rmSync(join(copy, "extensions", name), { recursive: true });
  return copy;
}

/** Runs pi to its end. */
export function runPi(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: PiOptions = {},
): Promise<Finished> {
  const { stdin } = options;
  return run(host.program, piArguments(host, args, options.extension), {
    ...piSurroundings(home, options),
    ...(stdin === undefined ? {} : { stdin }),
  });
}

/** Asks this extension's model one thing in print mode; `args` are prompts, `@files` and further flags. */
export function printPi(host: PiHost, home: Home, args: readonly string[], options: PiOptions = {}) {
  return runPi(host, home, [...ourModel, "-p", ...args], options);
}

/** As `printPi`, without waiting for its end. */
export function startPrintPi(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: Omit<PiOptions, "stdin"> = {},
): Running {
  const line = piArguments(host, [...ourModel, "-p", ...args], options.extension);
  return start(host.program, line, piSurroundings(home, options));
}

interface JsonRun extends Finished {
  readonly events: readonly JsonObject[];
}

/** Asks this extension's model one thing in JSON mode. */
export async function jsonPi(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: PiOptions = {},
): Promise<JsonRun> {
  const finished = await runPi(host, home, [...ourModel, "--mode", "json", ...args], options);
  return { ...finished, events: parseEvents(finished.stdout) };
}

/** The events of JSON or RPC mode: one object a line. Throws on a line that is none: nothing else may be on stdout. */
function parseEvents(stdout: string): JsonObject[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map(parseEvent);
}

/** One line of JSON or RPC mode. */
export function parseEvent(line: string): JsonObject {
  const value: unknown = JSON.parse(line);
  if (!isJsonObject(value)) throw new Error(`no event: ${line.slice(0, 200)}`);
  return value;
}

/** What the model streamed: all its thinking, or all its text. */
export function streamed(events: readonly JsonObject[], kind: "thinking" | "text"): string {
  return events
    .map(({ assistantMessageEvent: update }) =>
      isJsonObject(update) && update.type === `${kind}_delta` && typeof update.delta === "string"
        ? update.delta
        : "",
    )
    .join("");
}

/** The assistant messages that were completed, in order, as pi records them. */
export function assistantMessages(events: readonly JsonObject[]): JsonObject[] {
  return events.flatMap(({ type, message }) =>
    type === "message_end" && isJsonObject(message) && message.role === "assistant" ? [message] : [],
  );
}

/** What pi 1.6.0 itself says first where neither a login nor a key is there; 0.73.1 lists our models all the same. */
const NO_MODELS = /^Warning: No models available\.[\s\S]*?models\.md\n/;

/** stderr without that. */
export function withoutModelsWarning(stderr: string): string {
  return stderr.replace(NO_MODELS, "");
}
