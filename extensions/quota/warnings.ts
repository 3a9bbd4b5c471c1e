/**
 * When a limit of the plan is worth a warning, what it says, and which were given: that is kept with the figures, so that
 * one pi process warns for all of this home.
 */
import { isJsonObject } from "../lib/json.ts";
import { keepJson } from "../lib/replace-file.ts";
import { sayReset } from "../lib/waiting-time.ts";
import { type KeptFigures, number, sayPercent, type WindowNow, windowsAt } from "./figures.ts";
import { readKeptJson } from "./kept.ts";

/** Percent, the strongest first. */
const THRESHOLDS = [95, 80];
/** How long to remember a warning for a window without reset time or length, in ms. */
const USUAL_LENGTH = 86_400_000;

/** A warning as it is remembered. */
export interface GivenWarning {
  /** The window's label. */
  readonly window: string;
  /** Percent. */
  readonly threshold: number;
  /** Until when it holds: the window's reset as it was known then, ms since the epoch. */
  readonly until: number;
}

export interface QuotaWarning extends GivenWarning {
  readonly text: string;
}

/** The warnings that the limits earn at 80 % and at 95 %, one for each at most. `now` in ms. */
export function quotaWarnings(kept: KeptFigures, now: number): readonly QuotaWarning[] {
  return windowsAt(kept, now).flatMap((window) => {
    const { kind, label, usedPercent, resetsAt, length = USUAL_LENGTH } = window;
    const threshold = THRESHOLDS.find((limit) => usedPercent >= limit);
    if (threshold === undefined || kind === "month-code") return [];
    // The next reset of a limit that is late with this one is not known.
    const until = resetsAt !== undefined && resetsAt > now ? resetsAt : now + length;
    return [{ window: label, threshold, until, text: sayWarning(window, now) }];
  });
}

/**
 * Those of `warnings` that were not given, nor a stronger one of the same window, by any process until its reset; they
 * count as given from now on. `given` is what this process remembers, should the file in `path` not be of `account`, or
 * not be writable. `now` in ms. Reads and writes one small file, with nothing else of this process in between; never
 * throws.
 */
export function claimWarnings(
  path: string,
  account: string,
  warnings: readonly QuotaWarning[],
  given: GivenWarning[],
  now: number,
): readonly QuotaWarning[] {
  const kept = readKeptJson(path, account);
  const known = readGiven(kept?.warnings).filter(({ until }) => until > now);
  const fresh = warnings.filter(
    ({ window, threshold }) =>
      ![...given, ...known].some(
        (one) => one.window === window && one.threshold >= threshold && one.until > now,
      ),
  );
  if (fresh.length === 0) return fresh;
  const noted = fresh.map(({ window, threshold, until }): GivenWarning => ({ window, threshold, until }));
  given.push(...noted);
  if (kept) keepJson(path, { ...kept, warnings: [...noted, ...known] });
  return fresh;
}

/** Another version, or anybody, may have written it. */
function readGiven(value: unknown): readonly GivenWarning[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((one: unknown) => {
    if (!isJsonObject(one) || typeof one.window !== "string") return [];
    const [threshold, until] = [number(one.threshold), number(one.until)];
    return threshold === undefined || until === undefined ? [] : [{ window: one.window, threshold, until }];
  });
}

/** `now` in ms. */
function sayWarning({ kind, label, usedPercent, resetsAt }: WindowNow, now: number): string {
  const limit = kind === "week" || kind === "month" ? `this ${label}` : label;
  const next =
    resetsAt === undefined
      ? "type /kimi usage to see all of it"
      : `it resets ${sayReset(resetsAt, new Date(now))}; /kimi usage shows all of it`;
  return `Kimi Coder: ${sayPercent(usedPercent)} % of the quota for ${limit} is used; ${next}.`;
}
