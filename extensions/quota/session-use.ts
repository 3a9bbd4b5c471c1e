/**
 * What a session costs: its requests as pi records their answers, how much of their prompts came from Kimi's cache and
 * why not more, and by how much the plan's limits have moved since. Pure.
 */
import { PROVIDER } from "../configuration.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { atLeast0, type KeptFigures, positive, type QuotaWindow, time } from "./figures.ts";

/** By the names of `/kimi usage --json`; null = not known. */
export interface SessionUse {
  /** Those that were answered, in all branches. */
  readonly requests: number;
  readonly promptTokens: number;
  /** Of the prompts. */
  readonly cachedTokens: number;
  readonly cachedPercent: number | null;
  /** The costliest first. */
  readonly misses: readonly Miss[];
  /** Since when the limits have moved, ms since the epoch; null = it is not known how much was used then. */
  readonly since: number | null;
  readonly windows: readonly Moved[];
}

/** What changed before a prompt of which little was in the cache, though Kimi had just read its like. */
export type MissCause = "tools" | "model" | "level" | "compaction";

export interface Miss {
  readonly cause: MissCause;
  /** How often. */
  readonly times: number;
  /** Read again because of it. */
  readonly tokens: number;
}

export interface Moved extends Pick<QuotaWindow, "kind" | "label"> {
  /** Of all programs together, to two decimals; what was used before a reset is not counted. */
  readonly movedPercent: number;
}

/** How much was used when a session began, as far as somebody had just asked. */
export interface Beginning {
  /** Whose figures, see `Account` in caller.ts. */
  readonly account: string;
  /** ms since the epoch. */
  readonly at: number;
  readonly windows: readonly Pick<QuotaWindow, "label" | "resetsAt" | "usedPercent">[];
}

/** What the session's entry of ours is called; its data is a `Note`. pi sends none of it to the model. */
export const NOTE_TYPE = "kimi-coder-usage";

/** Holds for what follows it in the session. */
export interface Note {
  readonly beginning?: Beginning;
  /** Names the tools that requests carry. */
  readonly tools?: string;
}

export function beginningOf({ figures, fetchedAt }: KeptFigures, account: string): Beginning {
  const windows = figures.windows.map(({ label, usedPercent, resetsAt }) => ({
    label,
    usedPercent,
    resetsAt,
  }));
  return { account, at: fetchedAt, windows };
}

/** `entries` are the session's, `kept` the newest figures of the account that `beginning` is of. */
export function sessionUse(
  entries: readonly unknown[],
  beginning?: Beginning,
  kept?: KeptFigures,
): SessionUse {
  const answers = answersOf(entries);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const promptTokens = sum(answers.map(({ prompt }) => prompt));
  const cachedTokens = sum(answers.map(({ cached }) => cached));
  const moved = beginning && kept && kept.fetchedAt >= beginning.at ? movedSince(beginning, kept) : undefined;
  return {
    requests: answers.length,
    promptTokens,
    cachedTokens,
    cachedPercent: promptTokens > 0 ? wholePercent(cachedTokens, promptTokens) : null,
    misses: missesOf(answers),
    since: moved && beginning ? beginning.at : null,
    windows: moved ?? [],
  };
}

/** Rounded down. */
export function wholePercent(part: number, whole: number): number {
  return Math.floor((part / whole) * 100);
}

/** "12,345". */
export function sayCount(many: number): string {
  return many.toLocaleString("en-US");
}

function movedSince({ windows }: Beginning, { figures, fetchedAt }: KeptFigures): readonly Moved[] {
  return figures.windows.flatMap(({ kind, label, usedPercent }) => {
    const before = windows.find((window) => window.label === label);
    if (!before || kind === "month-code") return [];
    const wasReset = before.resetsAt !== undefined && before.resetsAt <= fetchedAt;
    const moved = Math.max(0, usedPercent - (wasReset ? 0 : before.usedPercent));
    return [{ kind, label, movedPercent: Math.round(moved * 100) / 100 }];
  });
}

/** Of the session's first note of `account`; another version, or anybody, may have written it. */
export function readBeginning(
  entries: readonly unknown[],
  account: string | undefined,
): Beginning | undefined {
  const beginning = entries
    .map((entry) => noteIn(entry)?.beginning)
    .find((one) => isJsonObject(one) && one.account === account);
  if (account === undefined || !isJsonObject(beginning) || !Array.isArray(beginning.windows))
    return undefined;
  const at = time(beginning.at);
  if (at === undefined) return undefined;
  const windows = beginning.windows.flatMap((window: unknown) => {
    if (!isJsonObject(window) || typeof window.label !== "string") return [];
    const usedPercent = atLeast0(window.usedPercent);
    if (usedPercent === undefined) return [];
    return [{ label: window.label, usedPercent, resetsAt: time(window.resetsAt) }];
  });
  return { account, at, windows };
}

/** The name that the session's last note gives to the tools. */
export function readTools(entries: readonly unknown[]): unknown {
  return entries.map((entry) => noteIn(entry)?.tools).findLast((tools) => tools !== undefined);
}

function noteIn(entry: unknown): JsonObject | undefined {
  if (!isJsonObject(entry) || entry.type !== "custom" || entry.customType !== NOTE_TYPE) return undefined;
  return isJsonObject(entry.data) ? entry.data : undefined;
}

// ── The prompts and the cache ──

interface Answer {
  /** In tokens, as `cached`. */
  readonly prompt: number;
  readonly cached: number;
  /** What it was asked with. */
  readonly model: unknown;
  readonly level: unknown;
  readonly tools: unknown;
  /** Of the session until then. */
  readonly compactions: number;
}

/** Those of our provider that the service has counted, in all branches: not one that broke off. */
function answersOf(entries: readonly unknown[]): readonly Answer[] {
  const answers: Answer[] = [];
  let level: unknown;
  let tools: unknown;
  let compactions = 0;
  for (const entry of entries) {
    if (!isJsonObject(entry)) continue;
    if (entry.type === "thinking_level_change") level = entry.thinkingLevel;
    if (entry.type === "compaction") compactions += 1;
    tools = noteIn(entry)?.tools ?? tools;
    const { message } = entry;
    if (entry.type !== "message" || !isJsonObject(message)) continue;
    if (message.role !== "assistant" || message.provider !== PROVIDER) continue;
    const usage = isJsonObject(message.usage) ? message.usage : {};
    const cached = tokens(usage.cacheRead);
    const prompt = tokens(usage.input) + cached + tokens(usage.cacheWrite);
    if (prompt > 0) answers.push({ prompt, cached, model: message.model, level, tools, compactions });
  }
  return answers;
}

/** Tokens; no prompt has more. */
const MOST_TOKENS = 1e9;

function tokens(value: unknown): number {
  const read = positive(value) ?? 0;
  return read <= MOST_TOKENS ? read : 0;
}

/** Of prompts less than half of which came from the cache, of what can have: that was in the prompt before. */
function missesOf(answers: readonly Answer[]): readonly Miss[] {
  const misses = new Map<MissCause, Miss>();
  for (const [index, answer] of answers.entries()) {
    const before = answers[index - 1];
    const cause = before && causeOf(before, answer);
    if (!cause) continue;
    const expected = Math.min(before.prompt, answer.prompt);
    const missed = expected - answer.cached;
    if (missed <= expected / 2) continue;
    const { times, tokens } = misses.get(cause) ?? { times: 0, tokens: 0 };
    misses.set(cause, { cause, times: times + 1, tokens: tokens + missed });
  }
  return [...misses.values()].sort((one, other) => other.tokens - one.tokens);
}

/** The first of what is known to lose the whole prefix. */
function causeOf(before: Answer, answer: Answer): MissCause | undefined {
  if (answer.model !== before.model) return "model";
  if (answer.compactions > before.compactions) return "compaction";
  // The tools of an answer before the first note are not known.
  if (before.tools !== undefined && answer.tools !== before.tools) return "tools";
  return before.level !== undefined && answer.level !== before.level ? "level" : undefined;
}
