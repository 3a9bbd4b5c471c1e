/** The quota as lines: of each window a bar, and below it when it resets. Pure; colours come in as `paint`. */
import { visibleWidth, wrapTextWithAnsi } from "@mariozechner/pi-tui";
import { sayAge, sayDuration, sayPast, sayReset } from "../lib/waiting-time.ts";
import {
  type Figures,
  type KeptFigures,
  sayPercent,
  type Wallet,
  type WindowNow,
  windowsAt,
} from "./figures.ts";
import { type Miss, type MissCause, type SessionUse, sayCount } from "./session-use.ts";

export type Tone = "title" | "good" | "warning" | "error" | "dim" | "plain";
export type Paint = (tone: Tone, text: string) => string;

export const withoutColour: Paint = (_tone, text) => text;

export interface View {
  readonly kept: KeptFigures | undefined;
  /** What the open session has used. */
  readonly session: SessionUse;
  /** Whether Kimi is being asked, and why it told nothing newer, in one sentence. */
  readonly asking: boolean;
  readonly problem: string | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

const MARK = "▸";
/** Beside the age of the figures, so that nothing moves when it is over. */
const ASKING = "asking Kimi…";
/** Columns of a bar, at most. */
const LONGEST_BAR = 40;
/** Columns of a line beside label and bar: the mark, the percentage, and what is between them. */
const BESIDE_BAR = 2 + 2 + 11;

/** No line is wider than `width` columns, if that is 40 or more and nothing has a name of wide characters. */
export function layout({ kept, session, asking, problem, now }: View, width: number, paint: Paint): string[] {
  const say = (tone: Tone, text: string) => wrapped(text, width).map((line) => paint(tone, line));
  const used = sessionLines(session, now).flatMap((line) => say("plain", line));
  const said = problem === undefined ? [] : say("error", problem);
  if (!kept) return [...(asking ? say("dim", ASKING) : said), ...used];
  const { figures, fetchedAt } = kept;
  const plan = figures.plan === undefined ? "" : ` · ${figures.plan}`;
  const age = `As of ${sayPast(fetchedAt, new Date(now))} (${sayAge(now - fetchedAt)})`;
  const windows = windowsAt(kept, now);
  const labels = Math.max(0, ...windows.map(({ label }) => visibleWidth(label)));
  const bar = Math.max(0, Math.min(LONGEST_BAR, width - labels - BESIDE_BAR));
  return [
    ...say("title", `Kimi quota${plan}`),
    "",
    ...windows.flatMap((window) => [windowLine(window, labels, bar, paint), ...say(...endLine(window, now))]),
    ...(windows.some(({ isBinding }) => isBinding)
      ? say("dim", `${MARK} the limit you will reach first`)
      : []),
    ...rest(figures).flatMap((line) => say("plain", line)),
    ...(used.length > 0 ? ["", ...used] : []),
    "",
    ...say("dim", asking ? `${age} · ${ASKING}` : age),
    ...said,
  ];
}

// ── The windows ──

/** `labels` and `bar` in columns. */
function windowLine(window: WindowNow, labels: number, bar: number, paint: Paint): string {
  const { kind, label, usedPercent, isBinding } = window;
  // A share of the month is never used up.
  const tone = kind === "month-code" ? "good" : toneOf(usedPercent);
  const filled = usedPercent > 0 ? Math.min(bar, Math.max(1, Math.round((usedPercent / 100) * bar))) : 0;
  return [
    paint(tone, isBinding ? `${MARK} ` : "  "),
    paint(isBinding ? "title" : "plain", label),
    " ".repeat(labels - visibleWidth(label) + 2),
    paint(tone, "█".repeat(filled)),
    paint("dim", "░".repeat(bar - filled)),
    paint(tone, ` ${sayPercent(usedPercent).padStart(3)} % used`),
  ].join("");
}

function toneOf(used: number): Tone {
  if (used >= 95) return "error";
  return used >= 80 ? "warning" : "good";
}

/** When it resets and when it is empty; nothing of a share of the month, which is reset with that. `now` in ms. */
function endLine(window: WindowNow, now: number): readonly [tone: Tone, text: string] {
  if (window.kind === "month-code") return ["plain", ""];
  const pace = sayPace(window, now);
  const parts = [sayEnd(window, now), pace].filter((part) => part !== undefined);
  return [pace === undefined ? "plain" : "warning", `  ${parts.join(" · ")}`];
}

function sayEnd({ resetsAt, wasReset }: WindowNow, now: number): string | undefined {
  if (resetsAt === undefined) return undefined;
  return wasReset ? "was reset since" : `resets ${sayReset(resetsAt, new Date(now))}`;
}

function sayPace({ usedPercent, emptyAt }: WindowNow, now: number): string | undefined {
  if (usedPercent >= 100) return "used up";
  if (emptyAt === undefined) return undefined;
  return emptyAt <= now ? "at this rate empty by now" : `at this rate empty in ${sayDuration(emptyAt - now)}`;
}

// ── The wallet and the session ──

function rest({ wallet, parallelLimit }: Figures): readonly string[] {
  return [
    ...(wallet ? walletLines(wallet) : []),
    ...(parallelLimit === undefined ? [] : [`Requests at once: at most ${parallelLimit}`]),
  ];
}

function walletLines(wallet: Wallet): readonly string[] {
  const { leftCents, totalCents, monthlyUsedCents, monthlyLimitCents, currency } = wallet;
  const money = (cents: number) =>
    `${(cents / 100).toFixed(2)}${currency === undefined ? "" : ` ${currency}`}`;
  const of = (cents: number | undefined) => (cents === undefined ? "" : ` of ${money(cents)}`);
  const month =
    monthlyUsedCents === undefined ? [] : [`  this month ${money(monthlyUsedCents)}${of(monthlyLimitCents)}`];
  return [`Booster wallet: ${money(leftCents)}${of(totalCents)} left`, ...month];
}

/** Percent from the cache: below it the causes are told. */
const LOW_SHARE = 80;

const CAUSE: Readonly<Record<MissCause, string>> = {
  tools: "other tools",
  model: "another model",
  level: "another thinking level",
  compaction: "a compaction",
};

/** `now` in ms. */
function sessionLines(session: SessionUse, now: number): readonly string[] {
  const { requests, promptTokens, cachedPercent, misses, since, windows } = session;
  if (cachedPercent === null) return [];
  const count = requests === 1 ? "1 request" : `${sayCount(requests)} requests`;
  const lines = [
    `This session: ${count}, ${sayCount(promptTokens)} prompt tokens, ${cachedPercent} % from the cache`,
  ];
  if (cachedPercent < LOW_SHARE && misses.length > 0) {
    lines.push(`  read anew after ${misses.map(sayMiss).join(", ")}`);
  }
  if (since !== null && windows.length > 0) {
    const moved = windows.map(({ label, movedPercent }) => `${label} +${sayPercent(movedPercent)} %`);
    lines.push(`  since ${sayPast(since, new Date(now))}: ${moved.join(", ")}, all programs together`);
  }
  return lines;
}

function sayMiss({ cause, times, tokens }: Miss): string {
  return `${CAUSE[cause]} (${times === 1 ? "" : `${times} times, `}${sayCount(tokens)} tokens)`;
}

/** What follows the first line is as far from the edge as that begins. */
function wrapped(text: string, width: number): readonly string[] {
  const words = text.trimStart();
  const indent = " ".repeat(Math.min(text.length - words.length, Math.max(0, width - 1)));
  return wrapTextWithAnsi(words, Math.max(1, width - indent.length)).map((line) => `${indent}${line}`);
}
