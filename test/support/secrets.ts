/**
 * Everything that the suite's programs printed, logged, were given as argument or found in their environment, kept
 * until the end of the run, and the search for tokens in it. The simulator's tokens are recognisable by their prefix.
 */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Names the folder that collects; set by no-secrets.ts for all workers. Without it nothing is kept. */
export const OUTPUT_VARIABLE = "PI_KIMI_CODER_TEST_OUTPUT";

const SECRET = /\b(?:at|rt|dc)-sim-[\w-]+/g;

/** A trace that a program left: what kind (`stdout`, `argv`, `environment`, `screen`, a file's path), and the text. */
interface Trace {
  readonly source: string;
  readonly text: string;
}

/** Keeps a trace until the end of the run. */
export function keepTrace(source: string, text: string): void {
  const folder = process.env[OUTPUT_VARIABLE];
  if (folder === undefined || text === "") return;
  const trace: Trace = { source, text };
  appendFileSync(join(folder, `${process.pid}.jsonl`), `${JSON.stringify(trace)}\n`, { mode: 0o600 });
}

/** The tokens and device codes in a text. */
export function findSecrets(text: string): string[] {
  return text.match(SECRET) ?? [];
}

interface Search {
  readonly traces: number;
  readonly characters: number;
  /** One line for each trace with a token in it: where it was, and the text before it, without the token. */
  readonly findings: readonly string[];
}

/** Searches all traces that the workers have kept in `folder`. */
export function searchTraces(folder: string): Search {
  const traces = readdirSync(folder)
    .filter((name) => name.endsWith(".jsonl"))
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line): Trace => JSON.parse(line));
  return {
    traces: traces.length,
    characters: traces.reduce((sum, { text }) => sum + text.length, 0),
    findings: traces.flatMap(describeFinding),
  };
}

function describeFinding({ source, text }: Trace): string[] {
  const [secret] = findSecrets(text);
  if (secret === undefined) return [];
  const at = text.indexOf(secret);
  const before = text.slice(Math.max(0, at - 120), at).replace(/\s+/g, " ");
  return [`${source}: …${before}${secret.slice(0, 7)}…`];
}
