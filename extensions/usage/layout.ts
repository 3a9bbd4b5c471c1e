/** The quota as lines for a screen of any width. Pure; colours come in as `paint`. */
import { wrapTextWithAnsi } from "@mariozechner/pi-tui";
import { sayTime } from "../errors/waiting-time.ts";
import { bindingWindow } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { type Line, type Paint, painted, type Tone } from "./spans.ts";
import type { Wallet } from "./wallet.ts";
import { MARK, windowRows } from "./window-rows.ts";
import { sayAge } from "./words.ts";

export const withoutColour: Paint = (_tone, text) => text;

export interface View {
  readonly kept: KeptFigures | undefined;
  /** What goes on, or went wrong: one line. */
  readonly notice: { readonly text: string; readonly tone: Tone } | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

/** No line is wider than `width` columns. */
export function layout(view: View, width: number, paint: Paint): string[] {
  return linesOf(view, width).map((line) => painted(line, width, paint));
}

function linesOf({ kept, notice, now }: View, width: number): readonly Line[] {
  const said = notice ? wrapped(notice.text, notice.tone, width) : [];
  if (!kept) return said;
  const { figures, fetchedAt } = kept;
  const plan = figures.plan === undefined ? "" : ` · ${figures.plan}`;
  // sayTime never says a time before the one it is given.
  const age = `As of ${sayTime(fetchedAt - 59_999, new Date(now))} (${sayAge(now - fetchedAt)})`;
  // What goes on stands beside it, so that nothing moves when it is over.
  const beside = notice?.tone === "dim";
  const marked = bindingWindow(figures, now, fetchedAt) !== undefined;
  return [
    [["title", `Kimi quota${plan}`]],
    [],
    ...windowRows(kept, now, width),
    ...(marked ? wrapped(`${MARK} the limit you will reach first`, "dim", width) : []),
    ...rest(figures).flatMap((line) => wrapped(line, "plain", width)),
    [],
    [["dim", beside ? `${age} · ${notice.text}` : age]],
    ...(beside ? [] : said),
  ];
}

function wrapped(text: string, tone: Tone, width: number): readonly Line[] {
  return wrapTextWithAnsi(text, width).map((part): Line => [[tone, part]]);
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
