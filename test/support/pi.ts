/** The real pi, run once: its arguments, its end, and the events of its JSON mode. */
import { isJsonObject, type JsonObject } from "../../extensions/oauth/json-object.ts";
import type { Home } from "./home.ts";
import { type PiHost, root } from "./hosts.ts";
import { type Finished, type RunOptions, run } from "./processes.ts";

export interface PiOptions {
  readonly stdin?: string;
  /** On top of the home's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** ms; default 60 s. */
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
  return [host.cli, ...loading, "--no-context-files", ...args];
}

/** What `run` and `start` need to know for a pi in this home. */
export function piSurroundings(home: Home, options: PiOptions): Omit<RunOptions, "stdin"> {
  const { env, cwd = home.work, timeoutMs } = options;
  return { cwd, env: home.env(env), owner: home, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

/** Runs pi to its end. */
export function runPi(
  host: PiHost,
  home: Home,
  args: readonly string[],
  options: PiOptions = {},
): Promise<Finished> {
  const { stdin } = options;
  return run(host.node, piArguments(host, args, options.extension), {
    ...piSurroundings(home, options),
    ...(stdin === undefined ? {} : { stdin }),
  });
}

/** One subcommand of pi (`install`, `list`, …): the words come first and nothing is added. */
export function runPiCommand(host: PiHost, home: Home, args: readonly string[], options: PiOptions = {}) {
  return run(host.node, [host.cli, ...args], piSurroundings(home, options));
}

/** Asks this extension's model one thing in print mode; `args` are prompts, `@files` and further flags. */
export function printPi(host: PiHost, home: Home, args: readonly string[], options: PiOptions = {}) {
  return runPi(host, home, [...ourModel, "-p", ...args], options);
}

export interface JsonRun extends Finished {
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
export function parseEvents(stdout: string): JsonObject[] {
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
