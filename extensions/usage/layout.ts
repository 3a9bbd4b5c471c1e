/** The quota as lines for a screen of any width. Pure; colours come in as `paint`. */
import { truncateToWidth, visibleWidth, wrapTextWithAnsi } from "@mariozechner/pi-tui";
import { sayTime } from "../errors/waiting-time.ts";
import { bindingWindow, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { emptyAt } from "./pace.ts";
import type { Wallet } from "./wallet.ts";
import type { QuotaWindow } from "./windows.ts";
import { sayAge, sayDuration, sayPercent } from "./words.ts";

export type Tone = "title" | "good" | "warning" | "error" | "dim" | "plain";
export type Paint = (tone: Tone, text: string) => string;

export const withoutColour: Paint = (_tone, text) => text;

export interface View {
  readonly kept: KeptFigures | undefined;
  /** What goes on, or went wrong: one line. */
  readonly notice: { readonly text: string; readonly tone: Tone } | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

/** Columns from which a window fits on one line. */
const WIDE = 76;
/** … with its pace. */
const WIDEST = 120;

export const MARK = "▸";

/** No line is wider than `width` columns. */
export function layout({ kept, notice, now }: View, width: number, paint: Paint): string[] {
  const said = notice ? wrapTextWithAnsi(notice.text, width).map((line) => paint(notice.tone, line)) : [];
  if (!kept) return said;
  const { figures, fetchedAt } = kept;
  const binding = bindingWindow(figures, now);
  const labels = Math.max(0, ...figures.windows.map(({ label }) => visibleWidth(label)));
  const rows = figures.windows.flatMap((window) =>
    windowRows(
      { window, binding: window === binding, emptyAt: emptyAt(window, fetchedAt, now), now, labels },
      width,
      paint,
    ),
  );
  const plan = figures.plan === undefined ? "" : ` · ${figures.plan}`;
  // sayTime never says a time before the one it is given.
  const age = `As of ${sayTime(fetchedAt - 59_999, new Date(now))} (${sayAge(now - fetchedAt)})`;
  // What goes on stands beside it, so that nothing moves when it is over.
  const beside = notice?.tone === "dim";
  const lines = [
    paint("title", `Kimi quota${plan}`),
    "",
    ...rows,
    ...(binding ? [paint("dim", `${MARK} the limit you will reach first`)] : []),
    ...rest(figures).flatMap((line) => wrapTextWithAnsi(line, width).map((part) => paint("plain", part))),
    "",
    paint("dim", beside ? `${age} · ${notice.text}` : age),
    ...(beside ? [] : said),
  ];
  return lines.map((line) => truncateToWidth(line, width, "…"));
}

interface Row {
  readonly window: QuotaWindow;
  readonly binding: boolean;
  readonly emptyAt: number | undefined;
  readonly now: number;
  /** Columns of the longest label. */
  readonly labels: number;
}

function windowRows(row: Row, width: number, paint: Paint): string[] {
  const { window, binding, now } = row;
  const used = usedPercentAt(window, now);
  const tone = toneOf(used);
  const mark = binding ? paint(tone, MARK) : " ";
  const label = paint(binding ? "title" : "plain", window.label);
  const percent = `${sayPercent(used).padStart(3)} % used`;
  const reset = sayReset(window, now);
  const pace = sayPace(row, used);
  const paceIn = (text: string) => paint("warning", text);

  if (width < WIDE) {
    const room = Math.max(8, width - 2);
    const gap = Math.max(1, room - visibleWidth(window.label) - percent.length);
    const below = [reset, pace && paceIn(pace)].filter((text) => text !== undefined);
    return [
      `${mark} ${label}${" ".repeat(gap)}${paint(tone, percent)}`,
      `  ${bar(used, Math.min(room, 40), tone, paint)}`,
      ...below.map((text) => `  ${text}`),
    ];
  }
  const padding = " ".repeat(Math.max(0, row.labels - visibleWidth(window.label)));
  const columns = width < WIDEST ? Math.max(8, width - row.labels - 55) : 40;
  const line = `${mark} ${label}${padding}  ${bar(used, Math.min(columns, 40), tone, paint)} ${paint(tone, percent)}  ${reset ?? ""}`;
  if (pace === undefined) return [line];
  return width < WIDEST
    ? [line, `  ${" ".repeat(row.labels)}  ${paceIn(pace)}`]
    : [`${line}  ${paceIn(pace)}`];
}

function bar(used: number, columns: number, tone: Tone, paint: Paint): string {
  const filled = used <= 0 ? 0 : Math.min(columns, Math.max(1, Math.round((used / 100) * columns)));
  return `${paint(tone, "█".repeat(filled))}${paint("dim", "░".repeat(columns - filled))}`;
}

function toneOf(used: number): Tone {
  if (used >= 95) return "error";
  return used >= 80 ? "warning" : "good";
}

function sayReset({ resetsAt }: QuotaWindow, now: number): string | undefined {
  if (resetsAt === undefined) return undefined;
  const time = sayTime(resetsAt, new Date(now));
  return resetsAt <= now ? "was reset since" : `resets ${time} (in ${sayDuration(resetsAt - now)})`;
}

function sayPace({ emptyAt, now }: Row, used: number): string | undefined {
  if (used >= 100) return "used up";
  if (emptyAt === undefined) return undefined;
  return emptyAt <= now ? "at this rate empty by now" : `at this rate empty in ${sayDuration(emptyAt - now)}`;
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
