/**
 * The quota as lines for a screen of any width: each window on one line where all of them fit, else on several. Pure;
 * colours come in as `paint`.
 */
import { visibleWidth, wrapTextWithAnsi } from "@mariozechner/pi-tui";
import { bindingWindow, emptyAt, type QuotaWindow, usedPercentAt, type Wallet, wasReset } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { hitPercent, type Miss, type MissCause, type SessionUse } from "./session-use.ts";
import { sayAge, sayCount, sayDuration, sayPast, sayPercent, sayReset } from "./words.ts";

export type Tone = "title" | "good" | "warning" | "error" | "dim" | "plain";
export type Paint = (tone: Tone, text: string) => string;

export const withoutColour: Paint = (_tone, text) => text;

export interface View {
  readonly kept: KeptFigures | undefined;
  /** What the open session has used. */
  readonly session: SessionUse;
  /** What goes on, or went wrong: one line. */
  readonly notice: { readonly text: string; readonly tone: Tone } | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

type Span = readonly [tone: Tone, text: string];
/** Measured and cut before it is painted, so that no code of a colour is cut off or added. */
type Line = readonly Span[];

/** No line is wider than `width` columns. */
export function layout(view: View, width: number, paint: Paint): string[] {
  return linesOf(view, width).map((line) => painted(line, width, paint));
}

const MARK = "▸";

function linesOf({ kept, session, notice, now }: View, width: number): readonly Line[] {
  const said = notice ? wrapped(notice.text, notice.tone, width) : [];
  const used = sessionLines(session, now).flatMap((line) => wrapped(line, "plain", width));
  if (!kept) return [...said, ...(used.length > 0 && said.length > 0 ? [[]] : []), ...used];
  const { figures, fetchedAt } = kept;
  const plan = figures.plan === undefined ? "" : ` · ${figures.plan}`;
  const age = `As of ${sayPast(fetchedAt, now)} (${sayAge(now - fetchedAt)})`;
  // What goes on stands beside it, so that nothing moves when it is over.
  const beside = notice?.tone === "dim";
  const marked = bindingWindow(figures, now, fetchedAt) !== undefined;
  return [
    [["title", `Kimi quota${plan}`]],
    [],
    ...windowLines(kept, now, width),
    ...(marked ? wrapped(`${MARK} the limit you will reach first`, "dim", width) : []),
    ...rest(figures).flatMap((line) => wrapped(line, "plain", width)),
    ...(used.length > 0 ? [[], ...used] : []),
    [],
    [["dim", beside ? `${age} · ${notice.text}` : age]],
    ...(beside ? [] : said),
  ];
}

function rest({ wallet, parallelLimit }: KeptFigures["figures"]): readonly string[] {
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

// ── The session ──

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
  const { answers, prompt, since, moved, misses } = session;
  const percent = hitPercent(session);
  if (percent === undefined) return [];
  const requests = answers === 1 ? "1 request" : `${sayCount(answers)} requests`;
  const points = moved.map(({ label, percent }) => `${label} +${sayPercent(percent)} %`);
  const from = since === undefined ? "" : sayPast(since, now);
  return [
    `This session: ${requests}, ${sayCount(prompt)} prompt tokens, ${percent} % from the cache`,
    ...(percent < LOW_SHARE && misses.length > 0
      ? [`  read anew after ${misses.map(sayMiss).join(", ")}`]
      : []),
    ...(points.length > 0 ? [`  since ${from}: ${points.join(", ")}, all programs together`] : []),
  ];
}

function sayMiss({ cause, times, tokens }: Miss): string {
  return `${CAUSE[cause]} (${times === 1 ? "" : `${times} times, `}${sayCount(tokens)} tokens)`;
}

// ── The windows ──

/** Columns of a bar, at least and at most. */
const SHORTEST_BAR = 8;
const LONGEST_BAR = 40;
/** Columns of a line beside label, bar and reset: the mark, the percentage, and what is between them. */
const BETWEEN = 2 + 2 + 1 + 10 + 2;
/** Columns left for the reset, so that the bars do not change with the time left. */
const RESET = 38;

interface Row {
  readonly mark: Span;
  readonly label: Span;
  readonly used: number;
  readonly tone: Tone;
  readonly percent: Span;
  readonly reset: string | undefined;
  readonly pace: string | undefined;
}

/** `now` in ms; `width` in columns. */
function windowLines({ figures, fetchedAt }: KeptFigures, now: number, width: number): readonly Line[] {
  const binding = bindingWindow(figures, now, fetchedAt);
  const rows = figures.windows.map((window) => rowOf(window, window === binding, fetchedAt, now));
  const labels = Math.max(0, ...figures.windows.map(({ label }) => visibleWidth(label)));
  const columns = Math.min(LONGEST_BAR, width - BETWEEN - labels - RESET);
  if (columns < SHORTEST_BAR) return rows.flatMap((row) => severalLines(row, width));
  return rows.flatMap((row, index) => {
    const line = oneLine(row, labels, columns);
    if (row.pace !== undefined) return [line, [["warning", `${" ".repeat(4 + labels)}${row.pace}`]]];
    // Bars that touch look like one.
    return index < rows.length - 1 ? [line, []] : [line];
  });
}

function rowOf(window: QuotaWindow, binding: boolean, fetchedAt: number, now: number): Row {
  const used = usedPercentAt(window, now, fetchedAt);
  // A share of the month is never used up, and is reset with it.
  const isLimit = window.kind !== "month-code";
  const tone = isLimit ? toneOf(used) : "good";
  const reset = isLimit ? resetOf(window, fetchedAt, now) : undefined;
  const pace = isLimit ? sayPace(used, emptyAt(window, fetchedAt, now), now) : undefined;
  return {
    mark: [tone, binding ? `${MARK} ` : "  "],
    label: [binding ? "title" : "plain", window.label],
    used,
    tone,
    percent: [tone, `${sayPercent(used).padStart(3)} % used`],
    reset,
    pace,
  };
}

/** The label takes `labels` columns, the bar `columns`. */
function oneLine(row: Row, labels: number, columns: number): Line {
  return [
    row.mark,
    row.label,
    space(labels - visibleWidth(row.label[1]) + 2),
    ...bar(row, columns),
    space(1),
    row.percent,
    ...(row.reset === undefined ? [] : [space(2), ["plain", row.reset] as const]),
  ];
}

function severalLines(row: Row, width: number): readonly Line[] {
  const room = Math.max(SHORTEST_BAR, width - 2);
  const percent = visibleWidth(row.percent[1]);
  const [tone, name] = row.label;
  const label = cut(name, Math.max(1, room - percent - 1));
  return [
    [row.mark, [tone, label], space(Math.max(1, room - visibleWidth(label) - percent)), row.percent],
    [space(2), ...bar(row, Math.min(room, LONGEST_BAR))],
    ...(row.reset === undefined ? [] : [[["plain", `  ${row.reset}`]] as const]),
    ...(row.pace === undefined ? [] : [[["warning", `  ${row.pace}`]] as const]),
  ];
}

function space(columns: number): Span {
  return ["plain", " ".repeat(columns)];
}

function bar({ used, tone }: Row, columns: number): Line {
  const filled = used <= 0 ? 0 : Math.min(columns, Math.max(1, Math.round((used / 100) * columns)));
  return [
    [tone, "█".repeat(filled)],
    ["dim", "░".repeat(columns - filled)],
  ];
}

function toneOf(used: number): Tone {
  if (used >= 95) return "error";
  return used >= 80 ? "warning" : "good";
}

function resetOf(window: QuotaWindow, fetchedAt: number, now: number): string | undefined {
  if (window.resetsAt === undefined) return undefined;
  return wasReset(window, now, fetchedAt) ? "was reset since" : sayReset(window.resetsAt, now);
}

/** `at`: when it will be empty, ms. */
function sayPace(used: number, at: number | undefined, now: number): string | undefined {
  if (used >= 100) return "used up";
  if (at === undefined) return undefined;
  return at <= now ? "at this rate empty by now" : `at this rate empty in ${sayDuration(at - now)}`;
}

// ── Lines of any text ──

const GRAPHEMES = new Intl.Segmenter();

/** `text`, or as much of it as fits into `width` columns with "…" behind it. */
function cut(text: string, width: number): string {
  if (visibleWidth(text) <= width) return text;
  if (width < 1) return "";
  let kept = "";
  for (const { segment } of GRAPHEMES.segment(text)) {
    if (visibleWidth(`${kept}${segment}…`) > width) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Never wider than `width` columns. */
function painted(line: Line, width: number, paint: Paint): string {
  let rest = cut(line.map(([, text]) => text).join(""), width);
  return line
    .map(([tone, text]) => {
      const part = rest.slice(0, text.length);
      rest = rest.slice(part.length);
      return paint(tone, part);
    })
    .join("");
}

/** What follows the first line is as far from the edge as that begins. */
function wrapped(text: string, tone: Tone, width: number): readonly Line[] {
  const words = text.trimStart();
  const indent = " ".repeat(Math.min(text.length - words.length, Math.max(0, width - 1)));
  return wrapTextWithAnsi(words, Math.max(1, width - indent.length)).map(
    (part): Line => [[tone, `${indent}${part}`]],
  );
}
