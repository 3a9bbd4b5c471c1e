/**
 * How much of the plan is used: one parser for both shapes of `GET /usages` and for what is kept of an answer, and what
 * its figures mean later on. Any JSON may come in; what cannot be understood is left out.
 */
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { oneLine } from "../lib/safe-text.ts";
import { sayDuration } from "../lib/waiting-time.ts";

export interface Figures {
  /** As Kimi calls it. */
  readonly plan: string | undefined;
  /** Shortest first, of unknown length last; never two of the same label. */
  readonly windows: readonly QuotaWindow[];
  /** How many requests may run at once. */
  readonly parallelLimit: number | undefined;
  readonly wallet: Wallet | undefined;
}

/** Figures, and when they were asked for, ms since the epoch. */
export interface KeptFigures {
  readonly figures: Figures;
  readonly fetchedAt: number;
}

/** `month-code` is no limit of its own but what coding has of the month (kimi-code shows it as a part of that). */
export type WindowKind = "5h" | "week" | "month" | "month-code" | "other";

export interface QuotaWindow {
  readonly kind: WindowKind;
  /** For people, such as "5 hours" or "week"; tells a plan's windows apart, also over time. */
  readonly label: string;
  /** 0 to 100. */
  readonly usedPercent: number;
  /** ms since the epoch. */
  readonly resetsAt: number | undefined;
  /** ms; a month counts as 30 days. */
  readonly length: number | undefined;
}

/** The booster wallet: what was bought beside the plan, in cents of `currency`. */
export interface Wallet {
  readonly leftCents: number;
  readonly totalCents: number | undefined;
  /** Charged this month, and how much may be; undefined = not said, or without a limit. */
  readonly monthlyUsedCents: number | undefined;
  readonly monthlyLimitCents: number | undefined;
  /** Such as USD. */
  readonly currency: string | undefined;
}

/**
 * Reads the answer of `GET /usages`, beside it `user_level_name` of `GET /me`, which wins over its own name of the plan;
 * undefined where it says nothing at all. Never throws.
 */
export function parseFigures(answer: unknown): Figures | undefined {
  if (!isJsonObject(answer)) return undefined;
  const windows = readWindows(answer);
  const parallelLimit = positive(member(answer, "parallel", "limit"));
  const wallet = readWallet(member(answer, "boosterWallet"));
  if (windows.length === 0 && parallelLimit === undefined && !wallet) return undefined;
  const plan =
    text(member(answer, "userLevelName"), 40) ?? levelName(member(answer, "user", "membership", "level"));
  return { plan, windows, parallelLimit, wallet };
}

/** Of an answer what `parseFigures` reads, to be kept: nothing else that it may say of the account. */
export function essence(answer: JsonObject, { plan }: Figures): JsonObject {
  const { usage, limits, usages, parallel } = answer;
  const boosterWallet = member(answer, "boosterWallet");
  return { user_level_name: plan, usage, limits, usages, parallel, boosterWallet };
}

// ── The windows ──

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** More than any answer has had. */
const MOST_WINDOWS = 12;
/** No plan has a longer window, ms. */
const LONGEST = 400 * DAY;
/** Characters of a window's name: as many as leave room for its figure on a screen of 40 columns. */
const LONGEST_LABEL = 24;

/** ms, by `timeUnit` without its prefix and plural, or by the letter in a key of `usages`. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ["SECOND", 1_000],
  ["MINUTE", 60_000],
  ["HOUR", HOUR],
  ["H", HOUR],
  ["DAY", DAY],
  ["D", DAY],
  ["WEEK", 7 * DAY],
  ["W", 7 * DAY],
  ["MONTH", 30 * DAY],
]);

/** What an entry says it is about. */
type Span = Pick<QuotaWindow, "kind" | "label" | "length">;

const FIVE_HOURS: Span = { kind: "5h", label: "5 hours", length: 5 * HOUR };
const WEEK: Span = { kind: "week", label: "week", length: 7 * DAY };
const MONTH: Span = { kind: "month", label: "month", length: 30 * DAY };
const CODE_OF_MONTH: Span = { kind: "month-code", label: "code, of month", length: 30 * DAY };

/** After every time, and still one that can be subtracted, ms. */
const NEVER = Number.MAX_VALUE;

function readWindows(answer: JsonObject): readonly QuotaWindow[] {
  const { usage, limits, usages } = answer;
  const windows = new Map<string, QuotaWindow>();
  for (const window of [
    ...readWindow(usage, WEEK),
    ...(Array.isArray(limits) ? limits.flatMap(readLimit) : []),
    ...Object.entries(isJsonObject(usages) ? usages : {}).flatMap(([key, entry]) =>
      readWindow(entry, spanOfKey(key)),
    ),
  ]) {
    const other = windows.get(window.label);
    windows.set(window.label, other ? larger(other, window) : window);
  }
  return [...windows.values()]
    .sort((one, other) => (one.length ?? NEVER) - (other.length ?? NEVER))
    .slice(0, MOST_WINDOWS);
}

/** Where the two shapes disagree, the larger figure was right in every published payload (MoonshotAI/kimi-code#3951). */
function larger(one: QuotaWindow, other: QuotaWindow): QuotaWindow {
  const [more, less] = other.usedPercent > one.usedPercent ? [other, one] : [one, other];
  return { ...more, resetsAt: more.resetsAt ?? less.resetsAt };
}

/** Of `limits`. */
function readLimit(limit: unknown): readonly QuotaWindow[] {
  const span = spanOf(member(limit, "window", "duration"), member(limit, "window", "timeUnit"));
  return readWindow(member(limit, "detail"), span ?? unknownSpan(member(limit, "name")));
}

/** Of a key of `usages`: `limit_5h`, `limit_7d`, `limit_month_total`, … */
function spanOfKey(key: string): Span {
  const name = key
    .toLowerCase()
    .replaceAll("_", "")
    .replace(/^limit/, "");
  if (name === "month" || name === "monthtotal") return MONTH;
  if (name === "monthcode") return CODE_OF_MONTH;
  const [, duration, unit] = /^(\d{1,3})([hdw])$/.exec(name) ?? [];
  return spanOf(duration, unit) ?? unknownSpan(key.replace(/^limit_/, "").replaceAll("_", " "));
}

/** Undefined where it says nothing that can be believed. */
function spanOf(duration: unknown, timeUnit: unknown): Span | undefined {
  if (typeof timeUnit !== "string") return undefined;
  const unit = timeUnit
    .toUpperCase()
    .replace(/^TIME_UNIT_/, "")
    .replace(/S$/, "");
  const length = (positive(duration) ?? 0) * (UNITS.get(unit) ?? 0);
  if (length === 0 || length > LONGEST) return undefined;
  const known = [FIVE_HOURS, WEEK, MONTH].find((span) => span.length === length);
  return known ?? { kind: "other", label: sayDuration(length), length };
}

function unknownSpan(name: unknown): Span {
  return { kind: "other", label: text(name, LONGEST_LABEL) ?? "other", length: undefined };
}

function readWindow(entry: unknown, span: Span): readonly QuotaWindow[] {
  const usedPercent = readUsed(entry);
  if (usedPercent === undefined) return [];
  return [{ ...span, usedPercent, resetsAt: readTime(member(entry, "resetTime")) }];
}

/** In percent; the largest of what an entry says in several ways, each of which may be absent. */
function readUsed(entry: unknown): number | undefined {
  const limit = positive(member(entry, "limit")) ?? Number.NaN;
  const read = (key: string) => number(member(entry, key)) ?? Number.NaN;
  const shares = [read("usedRatio"), read("used") / limit, 1 - read("remaining") / limit].filter(
    (share) => !Number.isNaN(share),
  );
  return shares.length === 0 ? undefined : Math.min(1, Math.max(0, ...shares)) * 100;
}

// ── The wallet and the plan's name ──

/**
 * The wallet's amounts are cents × 1,000,000, the month's are cents. Nothing is left where only what was bought is said,
 * as kimi-code reads it (parseBoosterWallet).
 */
function readWallet(wallet: unknown): Wallet | undefined {
  const total = atLeast0(member(wallet, "balance", "amount"));
  const left = member(wallet, "balance", "amountLeft");
  const leftMillionths = left === undefined && total !== undefined ? 0 : atLeast0(left);
  if (leftMillionths === undefined) return undefined;
  const limited = member(wallet, "monthlyChargeLimitEnabled") === true;
  return {
    leftCents: leftMillionths / 1_000_000,
    totalCents: total === undefined ? undefined : total / 1_000_000,
    monthlyUsedCents: atLeast0(member(wallet, "monthlyUsed", "priceInCents")),
    monthlyLimitCents: limited ? atLeast0(member(wallet, "monthlyChargeLimit", "priceInCents")) : undefined,
    currency:
      text(member(wallet, "monthlyChargeLimit", "currency"), 3) ??
      text(member(wallet, "monthlyUsed", "currency"), 3),
  };
}

/** "LEVEL_INTERMEDIATE" is "Intermediate". */
function levelName(value: unknown): string | undefined {
  const name = text(value, 40)
    ?.replace(/^LEVEL_/, "")
    .replaceAll("_", " ")
    .toLowerCase();
  return name === undefined || name === "" || name === "unspecified"
    ? undefined
    : `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

// ── Single values ──

/** What stands at the end of the path; the service writes a key as `amountLeft` or as `amount_left`. */
function member(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (isJsonObject(at) ? (at[key] ?? at[snakeCase(key)]) : undefined),
    value,
  );
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** One printable line of at most so many characters; undefined where nothing is left. */
function text(value: unknown, characters: number): string | undefined {
  const line = typeof value === "string" ? oneLine(value, characters) : "";
  return line === "" ? undefined : line;
}

/** A finite number, or a text of one. */
export function number(value: unknown): number | undefined {
  const read = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof read === "number" && Number.isFinite(read) ? read : undefined;
}

/** The same, zero or more. */
export function atLeast0(value: unknown): number | undefined {
  const read = number(value);
  return read !== undefined && read >= 0 ? read : undefined;
}

/** The same, above zero. */
export function positive(value: unknown): number | undefined {
  const read = number(value);
  return read !== undefined && read > 0 ? read : undefined;
}

/** The largest time a Date can hold, ms. */
const LAST_TIME = 8.64e15;

/** ms since the epoch. */
export function time(value: unknown): number | undefined {
  const read = positive(value);
  return read !== undefined && read <= LAST_TIME ? read : undefined;
}

/** RFC 3339, with as many digits of a second as the server likes; ms since the epoch. */
function readTime(value: unknown): number | undefined {
  return typeof value === "string" && /^\d{4}-/.test(value) ? time(Date.parse(value)) : undefined;
}

// ── As time goes on ──

/** A window as it stands at a certain time. */
export interface WindowNow extends QuotaWindow {
  /** It was reset since its figure was fetched: nothing that is known of is used. */
  readonly wasReset: boolean;
  /** When it will be used up if it goes on as it did so far, ms since the epoch; undefined when not before its reset. */
  readonly emptyAt: number | undefined;
  /**
   * It will stop the user first: it is full, or else is empty earliest before its reset at the present pace, or else is
   * the one used most. Of none while nothing is used.
   */
  readonly isBinding: boolean;
}

/** Share of a window's length before which its pace says nothing. */
const TOO_EARLY = 0.05;

/** `now` in ms since the epoch. */
export function windowsAt({ figures, fetchedAt }: KeptFigures, now: number): readonly WindowNow[] {
  const windows = figures.windows.map((window) => {
    const { resetsAt } = window;
    // Figures fetched after the reset they tell of are of the new window: the server resets late, or a clock is wrong.
    const wasReset = resetsAt !== undefined && fetchedAt < resetsAt && resetsAt <= now;
    if (wasReset) return { ...window, wasReset, usedPercent: 0, emptyAt: undefined };
    return { ...window, wasReset, emptyAt: emptyAt(window, fetchedAt) };
  });
  const stopsAt = (window: (typeof windows)[number]) =>
    window.usedPercent >= 100 ? 0 : (window.emptyAt ?? NEVER);
  const [binding] = windows
    .filter(({ kind, usedPercent }) => usedPercent > 0 && kind !== "month-code")
    .sort((one, other) => stopsAt(one) - stopsAt(other) || other.usedPercent - one.usedPercent);
  return windows.map((window) => ({ ...window, isBinding: window === binding }));
}

/** `measuredAt` (ms since the epoch) is when its figure was true. */
function emptyAt(
  { kind, usedPercent, resetsAt, length }: QuotaWindow,
  measuredAt: number,
): number | undefined {
  if (kind === "month-code" || resetsAt === undefined || length === undefined) return undefined;
  const passed = length - (resetsAt - measuredAt);
  if (passed < length * TOO_EARLY || usedPercent >= 100) return undefined;
  const at = measuredAt + ((100 - usedPercent) / usedPercent) * passed;
  return at < resetsAt ? at : undefined;
}

/** Whole percent; never 100 before it is. */
export function sayPercent(percent: number): string {
  return percent > 0 && percent < 1 ? "<1" : `${percent > 99 ? Math.floor(percent) : Math.round(percent)}`;
}
