/** The windows of `GET /usages`: named ones in the newer shape, ones that say how long they are in the older. */
import { isJsonObject, type JsonObject } from "../oauth/json-object.ts";
import { member, number, positive, readTime, text } from "./values.ts";
import { readLength, type WindowLength } from "./window-length.ts";

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

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LENGTH = { "5h": 5 * HOUR, week: 7 * DAY } as const;
const LABEL: Readonly<Record<Exclude<WindowKind, "other">, string>> = {
  "5h": "5 hours",
  week: "week",
  month: "month",
  "month-code": "month, code",
};
/** By which they are put in order, ms: a month counts as 30 days, so that its calendar does not matter. */
const USUAL_LENGTH: Readonly<Record<Exclude<WindowKind, "other">, number>> = {
  ...LENGTH,
  month: 30 * DAY,
  "month-code": 30 * DAY,
};
/** Of those of the same length. */
const ORDER: readonly WindowKind[] = ["5h", "week", "month", "month-code", "other"];
/** More than any answer has had. */
const MOST_WINDOWS = 12;

/** `usages`: an object of windows by name. */
function newerWindows(usages: unknown): QuotaWindow[] {
  if (!isJsonObject(usages)) return [];
  return Object.entries(usages)
    .slice(0, 4 * MOST_WINDOWS)
    .flatMap(([name, entry]) => {
      const ratio = number(member(entry, "used_ratio"));
      if (ratio === undefined || !isJsonObject(entry)) return [];
      return [quotaWindow(newerKind(name), name, ratio * 100, readReset(entry), undefined)];
    });
}

function newerKind(name: string): WindowKind {
  switch (name) {
    case "limit_5h":
      return "5h";
    case "limit_7d":
      return "week";
    case "limit_month_total":
      return "month";
    case "limit_month_code":
      return "month-code";
    default:
      return "other";
  }
}

const WEEK: WindowLength = { about: LENGTH.week, exact: LENGTH.week, label: LABEL.week };

/** `usage` is the week; `limits` are windows that say how long they are. */
function olderWindows({ usage, limits }: JsonObject): QuotaWindow[] {
  const week = isJsonObject(usage) ? [{ detail: usage, length: WEEK }] : [];
  const others = (Array.isArray(limits) ? limits.slice(0, 4 * MOST_WINDOWS) : []).flatMap(
    (limit: unknown) => {
      const detail = member(limit, "detail");
      return isJsonObject(detail) ? [{ detail, length: readLength(member(limit, "window")) }] : [];
    },
  );
  return [...week, ...others].flatMap(({ detail, length }) => {
    const percent = usedPercent(detail);
    return percent === undefined
      ? []
      : [quotaWindow(kindOf(length), length?.label ?? "other", percent, readReset(detail), length?.exact)];
  });
}

/** `used` may be absent, then it is what does not remain. */
function usedPercent({ limit, used, remaining }: JsonObject): number | undefined {
  const all = positive(limit);
  const left = number(remaining);
  const gone = number(used) ?? (all === undefined || left === undefined ? undefined : all - left);
  return all === undefined || gone === undefined ? undefined : (gone / all) * 100;
}

function kindOf(length: WindowLength | undefined): WindowKind {
  if (length === undefined) return "other";
  const { about } = length;
  if (about === LENGTH["5h"]) return "5h";
  if (about === LENGTH.week) return "week";
  return about >= 28 * DAY && about <= 31 * DAY ? "month" : "other";
}

function quotaWindow(
  kind: WindowKind,
  name: string,
  percent: number,
  resetsAt: number | undefined,
  length: number | undefined,
): QuotaWindow {
  return {
    kind,
    label:
      kind === "other" ? (text(name.replace(/^limit_/, "").replaceAll("_", " ")) ?? "other") : LABEL[kind],
    usedPercent: Math.min(100, Math.max(0, percent)),
    resetsAt,
    length: length ?? usualLength(kind, resetsAt),
  };
}

function usualLength(kind: WindowKind, resetsAt: number | undefined): number | undefined {
  switch (kind) {
    case "5h":
    case "week":
      return LENGTH[kind];
    case "month":
    case "month-code":
      return resetsAt === undefined ? undefined : resetsAt - monthBefore(resetsAt);
    case "other":
      return undefined;
  }
}

function monthBefore(at: number): number {
  const date = new Date(at);
  // Day 0 of a month is the last of the one before.
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 0)).getUTCDate();
  const day = Math.min(date.getUTCDate(), lastDay);
  return new Date(at).setUTCMonth(date.getUTCMonth() - 1, day);
}

/** The windows of an answer of either shape; never throws. */
export function readWindows(answer: JsonObject): readonly QuotaWindow[] {
  const windows = [...newerWindows(answer.usages), ...olderWindows(answer)];
  const first = windows.filter(
    ({ kind }, index) => kind === "other" || windows.findIndex((other) => other.kind === kind) === index,
  );
  return first
    .sort((one, other) => rank(one) - rank(other) || ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind))
    .slice(0, MOST_WINDOWS);
}

/** ms; those of unknown length come last. */
function rank({ kind, length }: QuotaWindow): number {
  return kind === "other" ? (length ?? Number.MAX_VALUE) : USUAL_LENGTH[kind];
}

function readReset(entry: JsonObject): number | undefined {
  return readTime(entry.resetTime ?? entry.reset_time ?? entry.resetAt ?? entry.reset_at);
}
