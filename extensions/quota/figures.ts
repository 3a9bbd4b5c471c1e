/**
 * How much of the plan is used: one parser for both shapes of `GET /usages` and for what is kept of an answer, and which
 * of the limits stops the user first. Any JSON may come in; what cannot be understood is left out.
 */
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { oneLine } from "../lib/safe-text.ts";

export interface Figures {
  /** As Kimi calls it. */
  readonly plan: string | undefined;
  /** Shortest first, of unknown length last; never two of the same kind and label. */
  readonly windows: readonly QuotaWindow[];
  /** How many requests may run at once. */
  readonly parallelLimit: number | undefined;
  readonly wallet: Wallet | undefined;
}

/** `month-code` is no limit of its own but what coding has of the month (kimi-code shows it as a part of that). */
export type WindowKind = "5h" | "week" | "month" | "month-code" | "other";

export interface QuotaWindow {
  readonly kind: WindowKind;
  /** For people: "5 hours", "week". */
  readonly label: string;
  /** 0 to 100. */
  readonly usedPercent: number;
  /** ms since the epoch. */
  readonly resetsAt: number | undefined;
  /** ms. */
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
    text(member(answer, "userLevelName")) ?? levelName(member(answer, "user", "membership", "level"));
  return { plan, windows, parallelLimit, wallet };
}

/** Of an answer what `parseFigures` reads, to be kept: nothing else that it may say of the account. */
export function essence(answer: JsonObject, { plan }: Figures): JsonObject {
  const [usage, limits, usages, parallel] = [answer.usage, answer.limits, answer.usages, answer.parallel];
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
/** Resets closer together than this are one, in ms: the server may compute it for each answer. */
export const SAME_RESET = 10 * 60_000;

/** ms; a calendar month counts as 30 days. */
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

/** `rank`: how long it counts as in the order of the list, ms. */
const KINDS: Readonly<Record<WindowKind, { readonly label: string; readonly rank: number }>> = {
  "5h": { label: "5 hours", rank: 5 * HOUR },
  week: { label: "week", rank: 7 * DAY },
  month: { label: "month", rank: 30 * DAY },
  "month-code": { label: "code, of month", rank: 30 * DAY + 1 },
  other: { label: "other", rank: Number.MAX_VALUE },
};

/** What an entry says it is about. */
interface Span {
  readonly kind: WindowKind;
  readonly label: string;
  /** ms; undefined where it is unknown, or depends on the calendar. */
  readonly length: number | undefined;
}

const named = (kind: WindowKind, length?: number): Span => ({ kind, label: KINDS[kind].label, length });
const WEEK = named("week", 7 * DAY);

function readWindows(answer: JsonObject): readonly QuotaWindow[] {
  const { usage, limits, usages } = answer;
  const listed = Array.isArray(limits) ? limits.slice(0, 4 * MOST_WINDOWS) : [];
  const byName = isJsonObject(usages) ? Object.entries(usages).slice(0, 4 * MOST_WINDOWS) : [];
  const windows = new Map<string, QuotaWindow>();
  for (const window of [
    ...byName.flatMap(([name, entry]) => readWindow(entry, spanOfName(name))),
    ...readWindow(usage, WEEK),
    ...listed.flatMap(readLimit),
  ]) {
    const name = windowName(window);
    const other = windows.get(name);
    windows.set(name, other ? ofTwo(other, window) : window);
  }
  return [...windows.values()].sort((one, other) => rankOf(one) - rankOf(other)).slice(0, MOST_WINDOWS);
}

/** Tells a plan's windows apart, also over time. */
export function windowName({ kind, label }: Pick<QuotaWindow, "kind" | "label">): string {
  return `${kind} ${label}`;
}

function rankOf({ kind, length }: QuotaWindow): number {
  return kind === "other" ? (length ?? KINDS.other.rank) : KINDS[kind].rank;
}

/**
 * The two shapes of one answer can disagree: the larger figure was right in every published payload
 * (MoonshotAI/kimi-code#3951), but for one of a window that was over when the other began.
 */
function ofTwo(first: QuotaWindow, second: QuotaWindow): QuotaWindow {
  if (isOver(first, second)) return second;
  if (isOver(second, first)) return first;
  const [more, less] = second.usedPercent > first.usedPercent ? [second, first] : [first, second];
  return { ...more, resetsAt: more.resetsAt ?? less.resetsAt, length: more.length ?? less.length };
}

function isOver({ resetsAt }: QuotaWindow, next: QuotaWindow): boolean {
  if (resetsAt === undefined || next.resetsAt === undefined || next.length === undefined) return false;
  return resetsAt - SAME_RESET <= next.resetsAt - next.length;
}

/** `limits`: each says how long it is, beside its figures or around them, as kimi-cli reads it (ui/shell/usage.py). */
function readLimit(limit: unknown): readonly QuotaWindow[] {
  const inner = member(limit, "detail");
  const detail = isJsonObject(inner) ? inner : limit;
  const said = [member(limit, "window"), limit, detail].find((one) => member(one, "duration") !== undefined);
  const span = readSpan(member(said, "duration"), member(said, "timeUnit"));
  const name = text(member(limit, "name")) ?? text(member(limit, "title"));
  return readWindow(detail, span ?? { ...named("other"), label: name ?? KINDS.other.label });
}

/** Of a key of `usages`: `limit_5h`, `limit_7d`, `limit_month_total`, … */
function spanOfName(key: string): Span {
  const name = snakeCase(key).replace(/^_?limit_?/, "");
  const [, duration, unit] = /^(\d{1,3})([hdw])$/.exec(name) ?? [];
  if (/^month(?:_?total)?$/.test(name)) return named("month");
  if (/^month_?code$/.test(name)) return named("month-code");
  const label = text(key.replace(/^limit_/, "").replaceAll("_", " ")) ?? KINDS.other.label;
  return readSpan(duration, unit) ?? { ...named("other"), label };
}

/** Undefined where it says nothing that can be believed. */
function readSpan(given: unknown, timeUnit: unknown): Span | undefined {
  const duration = positive(given);
  const unit =
    typeof timeUnit === "string"
      ? timeUnit
          .toUpperCase()
          .replace(/^TIME_UNIT_/, "")
          .replace(/S$/, "")
      : "";
  const length = (duration ?? 0) * (UNITS.get(unit) ?? 0);
  if (duration === undefined || length === 0 || length > LONGEST) return undefined;
  if (length === 5 * HOUR) return named("5h", length);
  if (length === 7 * DAY) return WEEK;
  if (length >= 28 * DAY && length <= 31 * DAY) return named("month", unit === "MONTH" ? undefined : length);
  return unit === "MONTH"
    ? { ...named("other"), label: count(duration, "month") }
    : { kind: "other", label: sayLength(length), length };
}

/** In the largest unit that it is a whole number of. */
function sayLength(ms: number): string {
  if (ms % DAY === 0) return count(ms / DAY, "day");
  if (ms % HOUR === 0) return count(ms / HOUR, "hour");
  return ms % 60_000 === 0 ? count(ms / 60_000, "minute") : count(Math.round(ms / 1_000), "second");
}

function count(many: number, unit: string): string {
  return `${many} ${unit}${many === 1 ? "" : "s"}`;
}

function readWindow(entry: unknown, { kind, label, length }: Span): readonly QuotaWindow[] {
  const usedPercent = readUsed(entry);
  if (usedPercent === undefined) return [];
  const resetsAt = readTime(member(entry, "resetTime") ?? member(entry, "resetAt"));
  const isMonth = kind === "month" || kind === "month-code";
  const ofMonth = isMonth && resetsAt !== undefined ? resetsAt - monthBefore(resetsAt) : undefined;
  return [{ kind, label, usedPercent, resetsAt, length: length ?? ofMonth }];
}

/** In percent; the largest of what an entry says in several ways, each of which may be absent. */
function readUsed(entry: unknown): number | undefined {
  const limit = positive(member(entry, "limit"));
  const of = (value: number | undefined) =>
    limit === undefined || value === undefined ? undefined : value / limit;
  const left = of(number(member(entry, "remaining")));
  const shares = [
    number(member(entry, "usedRatio")),
    of(number(member(entry, "used"))),
    left === undefined ? undefined : 1 - left,
  ].filter((share) => share !== undefined);
  return shares.length === 0 ? undefined : Math.min(100, Math.max(0, Math.max(...shares) * 100));
}

function monthBefore(at: number): number {
  const date = new Date(at);
  // Day 0 of a month is the last of the one before.
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 0)).getUTCDate();
  const day = Math.min(date.getUTCDate(), lastDay);
  return new Date(at).setUTCMonth(date.getUTCMonth() - 1, day);
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
      readCurrency(member(wallet, "monthlyChargeLimit", "currency")) ??
      readCurrency(member(wallet, "monthlyUsed", "currency")),
  };
}

function readCurrency(value: unknown): string | undefined {
  return typeof value === "string" && /^[A-Z]{3}$/.test(value) ? value : undefined;
}

/** "LEVEL_INTERMEDIATE" is "Intermediate". */
function levelName(value: unknown): string | undefined {
  const name = text(value)
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

/** One printable line of at most 40 characters; undefined where nothing is left. */
function text(value: unknown): string | undefined {
  const line = typeof value === "string" ? oneLine(value, 40) : "";
  return line === "" ? undefined : line;
}

/** A finite number, or one in decimal digits. */
export function number(value: unknown): number | undefined {
  const isText = typeof value === "string" && /^\s*-?\d{1,30}(\.\d{1,30})?(e[+-]?\d{1,3})?\s*$/i.test(value);
  const read = isText ? Number(value) : value;
  return typeof read === "number" && Number.isFinite(read) ? read : undefined;
}

function atLeast0(value: unknown): number | undefined {
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

const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,3})?\d*(Z|[+-]\d\d:\d\d)$/;

/** RFC 3339, with as many digits of a second as the server likes; ms since the epoch. */
function readTime(value: unknown): number | undefined {
  const [, day, time, fraction = "", zone] = typeof value === "string" ? (TIME.exec(value.trim()) ?? []) : [];
  const at = Date.parse(`${day}T${time}${fraction}${zone}`);
  return Number.isNaN(at) || at <= 0 ? undefined : at;
}

// ── Which limit comes first ──

/**
 * Whether the window was reset after its figure was fetched; all in ms. Figures fetched after the reset they tell of
 * are of the new window: the clock is ahead of the server's, or the server resets late.
 */
export function wasReset(
  { resetsAt }: Pick<QuotaWindow, "resetsAt">,
  now: number,
  fetchedAt: number,
): boolean {
  return resetsAt !== undefined && fetchedAt < resetsAt && resetsAt <= now;
}

/** How much of the window is used at `now` (ms): after its reset, nothing that is known of. 0 to 100. */
export function usedPercentAt(
  window: Pick<QuotaWindow, "resetsAt" | "usedPercent">,
  now: number,
  fetchedAt: number,
): number {
  return wasReset(window, now, fetchedAt) ? 0 : window.usedPercent;
}

/** After every other time, and still one that can be subtracted, ms. */
const NEVER = Number.MAX_VALUE;
/** Share of a window's length before which its pace says nothing. */
const TOO_EARLY = 0.05;

/**
 * When the window will be empty if it goes on as it did so far, in ms since the epoch; undefined when not before its
 * reset, or when is not known. `measuredAt` (ms) is when its figure was true, `now` (ms) when that is asked.
 */
export function emptyAt(window: QuotaWindow, measuredAt: number, now: number): number | undefined {
  const { kind, usedPercent, resetsAt, length } = window;
  if (kind === "month-code" || resetsAt === undefined || length === undefined) return undefined;
  const passed = length - (resetsAt - measuredAt);
  if (Math.max(measuredAt, now) >= resetsAt || passed < length * TOO_EARLY) return undefined;
  if (usedPercent <= 0 || usedPercent >= 100) return undefined;
  const at = measuredAt + ((100 - usedPercent) / usedPercent) * passed;
  return at < resetsAt ? at : undefined;
}

/**
 * The limits of which anything is used, the one that stops the user first in front: what is full, then what will be
 * empty before its reset at the present pace, the earliest first, then what is used most; of equals, what resets first.
 * `now` and `fetchedAt` in ms.
 */
export function byUrgency(
  { windows }: Pick<Figures, "windows">,
  now: number,
  fetchedAt: number,
): readonly QuotaWindow[] {
  return windows
    .map((window) => {
      const used = usedPercentAt(window, now, fetchedAt);
      const stopsAt = used >= 100 ? 0 : (emptyAt(window, fetchedAt, now) ?? NEVER);
      return { window, used, stopsAt, resetsAt: window.resetsAt ?? NEVER };
    })
    .filter(({ window, used }) => used > 0 && window.kind !== "month-code")
    .sort(
      (one, other) => one.stopsAt - other.stopsAt || other.used - one.used || one.resetsAt - other.resetsAt,
    )
    .map(({ window }) => window);
}

/** The window that will stop the user first, see `byUrgency`; undefined where nothing is used. */
export function bindingWindow(
  figures: Pick<Figures, "windows">,
  now: number,
  fetchedAt: number,
): QuotaWindow | undefined {
  return byUrgency(figures, now, fetchedAt)[0];
}
