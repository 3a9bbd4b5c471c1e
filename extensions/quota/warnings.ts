/**
 * When a limit of the plan is worth a warning, what it says, and which were given: that is kept with the figures, so that
 * one pi process warns for all of this home.
 */
import { isJsonObject } from "../lib/json.ts";
import { keepJsonSync } from "../lib/replace-file.ts";
import {
  byUrgency,
  number,
  positive,
  type QuotaWindow,
  SAME_RESET,
  usedPercentAt,
  windowName,
} from "./figures.ts";
import { type KeptFigures, readKeptJson } from "./kept.ts";
import { sayPercent, sayReset } from "./words.ts";

/** Percent, the strongest first. */
const THRESHOLDS = [95, 80];
/** How long to remember a warning for a window without reset time or length, ms. */
const USUAL_LENGTH = 86_400_000;
/** How many are remembered, the newest: as many as there are windows, with two thresholds each. */
const MOST = 24;

/** A warning as it is remembered. */
export interface GivenWarning {
  readonly window: string;
  /** Percent. */
  readonly threshold: number;
  /** The window's reset as it was known then, or until when the warning holds, ms since the epoch. */
  readonly until: number;
}

export interface QuotaWarning extends GivenWarning {
  readonly resetsAt: number | undefined;
  readonly text: string;
}

/** The warnings that the limits earn at 80 % and at 95 %, one for each at most, the binding one's first. `now` in ms. */
export function quotaWarnings({ figures, fetchedAt }: KeptFigures, now: number): readonly QuotaWarning[] {
  return byUrgency(figures, now, fetchedAt).flatMap((window) => {
    const used = usedPercentAt(window, now, fetchedAt);
    const threshold = THRESHOLDS.find((limit) => used >= limit);
    if (threshold === undefined) return [];
    const { resetsAt, length = USUAL_LENGTH } = window;
    return [
      {
        window: windowName(window),
        threshold,
        until: resetsAt ?? now + length,
        resetsAt,
        text: `Kimi Coder: ${sayPercent(used)} % of the quota for ${forWhat(window)} is used; ${sayNext(resetsAt, now)}.`,
      },
    ];
  });
}

/** Whether it, or the stronger one, was given of this window before its reset. `now` in ms. */
export function wasGiven(warning: QuotaWarning, given: readonly GivenWarning[], now: number): boolean {
  const { window, threshold, resetsAt } = warning;
  return given.some(
    (one) =>
      one.window === window &&
      one.threshold >= threshold &&
      (resetsAt === undefined ? one.until > now : Math.abs(one.until - resetsAt) < SAME_RESET),
  );
}

/**
 * Those of `warnings` that no process has given yet; they count as given from now on. Where the file in `path` is not of
 * `account`, or cannot be written, nobody else hears of it. `now` in ms. Reads and writes one small file, with nothing
 * else of this process in between; never throws.
 */
export function claimWarnings(
  path: string,
  account: string,
  warnings: readonly QuotaWarning[],
  now: number,
): readonly QuotaWarning[] {
  const kept = readKeptJson(path, account);
  if (!kept) return warnings;
  const given = readGiven(kept.warnings);
  const fresh = warnings.filter((warning) => !wasGiven(warning, given, now));
  if (fresh.length === 0) return fresh;
  const noted = fresh.map(({ window, threshold, until }): GivenWarning => ({ window, threshold, until }));
  keepJsonSync(path, { ...kept, warnings: [...noted, ...given].slice(0, MOST) });
  return fresh;
}

/** Another version, or anybody, may have written it. */
function readGiven(value: unknown): readonly GivenWarning[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MOST).flatMap((one: unknown) => {
    if (!isJsonObject(one) || typeof one.window !== "string") return [];
    const [threshold, until] = [number(one.threshold), positive(one.until)];
    return threshold === undefined || until === undefined ? [] : [{ window: one.window, threshold, until }];
  });
}

function sayNext(resetsAt: number | undefined, now: number): string {
  return resetsAt === undefined
    ? "type /kimi usage to see all of it"
    : `it ${sayReset(resetsAt, now)}, /kimi usage shows all of it`;
}

function forWhat({ kind, label }: QuotaWindow): string {
  return kind === "week" || kind === "month" ? `this ${label}` : label;
}
