/**
 * What a session costs: its requests as pi records their answers, how much of their prompts came from Kimi's cache and
 * why not more, and by how much the plan's limits have moved since. Pure.
 */
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import {
  number,
  positive,
  type QuotaWindow,
  time,
  usedPercentAt,
  type WindowKind,
  windowName,
} from "./figures.ts";
import type { KeptFigures } from "./kept.ts";

/** In tokens. */
export interface SessionCache {
  readonly answers: number;
  readonly prompt: number;
  readonly cached: number;
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

export interface Moved {
  readonly kind: WindowKind;
  readonly label: string;
  /** Percent of the limit, of all programs together; what was used before a reset is not counted. */
  readonly percent: number;
}

export interface SessionUse extends SessionCache {
  /** The costliest first. */
  readonly misses: readonly Miss[];
  /** Since when the limits have moved, ms since the epoch; undefined = it is not known how much was used then. */
  readonly since: number | undefined;
  readonly moved: readonly Moved[];
}

/** How much was used when a session began, as far as somebody had just asked. */
export interface Beginning {
  /** Whose figures, see `Account` in caller.ts. */
  readonly account: string;
  /** ms since the epoch. */
  readonly at: number;
  readonly windows: readonly (Pick<QuotaWindow, "resetsAt" | "usedPercent"> & { readonly window: string })[];
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
  const windows = figures.windows.map((window) => ({
    window: windowName(window),
    usedPercent: window.usedPercent,
    resetsAt: window.resetsAt,
  }));
  return { account, at: fetchedAt, windows };
}

/** Counts the answers of `provider` in all branches: each of them was a request. */
export function sessionCache(entries: readonly unknown[], provider: string): SessionCache {
  const answers = answersOf(entries, provider);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    answers: answers.length,
    prompt: sum(answers.map(({ prompt }) => prompt)),
    cached: sum(answers.map(({ cached }) => cached)),
  };
}

/** Whole percent, rounded down; undefined where nothing was asked. */
export function hitPercent({ prompt, cached }: Pick<SessionCache, "prompt" | "cached">): number | undefined {
  return prompt > 0 ? Math.floor((cached / prompt) * 100) : undefined;
}

/** `entries` are the session's, `kept` the newest figures of the account that `beginning` is of. */
export function sessionUse(
  entries: readonly unknown[],
  provider: string,
  beginning: Beginning | undefined,
  kept: KeptFigures | undefined,
): SessionUse {
  return {
    ...sessionCache(entries, provider),
    misses: missesOf(answersOf(entries, provider)),
    ...(beginning && kept && kept.fetchedAt >= beginning.at
      ? { since: beginning.at, moved: movedSince(beginning, kept) }
      : { since: undefined, moved: [] }),
  };
}

function movedSince({ at, windows }: Beginning, { figures, fetchedAt }: KeptFigures): readonly Moved[] {
  return figures.windows.flatMap((now) => {
    const before = windows.find(({ window }) => window === windowName(now));
    if (!before || now.kind === "month-code") return [];
    const percent = Math.max(0, now.usedPercent - usedPercentAt(before, fetchedAt, at));
    return [{ kind: now.kind, label: now.label, percent }];
  });
}

/** Undefined where the session has none of `account`. */
export function readBeginning(
  entries: readonly unknown[],
  account: string | undefined,
): Beginning | undefined {
  return entries
    .map((entry) => readBeginningOf(noteIn(entry)))
    .find((beginning) => beginning !== undefined && beginning.account === account);
}

/** The name that the session's last note gives to the tools. */
export function readTools(entries: readonly unknown[]): string | undefined {
  const tools = entries.map((entry) => noteIn(entry)?.tools).findLast((one) => one !== undefined);
  return typeof tools === "string" ? tools : undefined;
}

function noteIn(entry: unknown): JsonObject | undefined {
  if (!isJsonObject(entry) || entry.type !== "custom" || entry.customType !== NOTE_TYPE) return undefined;
  return isJsonObject(entry.data) ? entry.data : undefined;
}

/** Another version, or anybody, may have written it. */
function readBeginningOf(note: JsonObject | undefined): Beginning | undefined {
  const beginning = note?.beginning;
  if (!isJsonObject(beginning) || !Array.isArray(beginning.windows)) return undefined;
  const { account } = beginning;
  const at = time(beginning.at);
  if (at === undefined || typeof account !== "string") return undefined;
  const windows = beginning.windows.slice(0, 12).flatMap((one: unknown) => {
    if (!isJsonObject(one) || typeof one.window !== "string") return [];
    const usedPercent = number(one.usedPercent);
    if (usedPercent === undefined) return [];
    return [{ window: one.window, usedPercent, resetsAt: time(one.resetsAt) }];
  });
  return { account, at, windows };
}

interface Answer {
  readonly prompt: number;
  readonly cached: number;
  /** What it was asked with. */
  readonly model: unknown;
  readonly level: unknown;
  readonly tools: unknown;
  /** Of the session until then. */
  readonly compactions: number;
}

/** Those of `provider` that the service has counted: not one that broke off. */
function answersOf(entries: readonly unknown[], provider: string): readonly Answer[] {
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
    if (message.role !== "assistant" || message.provider !== provider) continue;
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
