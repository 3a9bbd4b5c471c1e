/** When a limit of the plan is worth a warning, what it says, and when it is the same one as before. Pure. */
import { sayTime } from "../errors/waiting-time.ts";
import { byUrgency, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import type { QuotaWindow } from "./windows.ts";
import { sayDuration, sayPercent } from "./words.ts";

/** Percent, the strongest first. */
const THRESHOLDS = [95, 80];
/** Resets closer together than this are the same one: the server may count it anew in each answer, ms. */
const SAME_RESET = 10 * 60_000;
/** For so long a warning holds of a window that says neither when it resets nor how long it is, ms. */
const USUAL_LENGTH = 86_400_000;

/** A warning as it is remembered. */
export interface GivenWarning {
  readonly window: string;
  /** Percent. */
  readonly threshold: number;
  /** The window's reset as it was known then, or when to forget it, ms since the epoch. */
  readonly until: number;
}

export interface QuotaWarning extends GivenWarning {
  readonly resetsAt: number | undefined;
  readonly text: string;
}

/** The warnings that the windows earn at 80 % and at 95 %, one for each at most, the binding one's first. `now` in ms. */
export function quotaWarnings({ figures, fetchedAt }: KeptFigures, now: number): readonly QuotaWarning[] {
  return byUrgency(figures, now, fetchedAt).flatMap((window) => {
    const used = usedPercentAt(window, now, fetchedAt);
    const threshold = THRESHOLDS.find((limit) => used >= limit);
    if (threshold === undefined) return [];
    const { kind, label, resetsAt, length = USUAL_LENGTH } = window;
    return [
      {
        window: `${kind} ${label}`,
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

function sayNext(resetsAt: number | undefined, now: number): string {
  if (resetsAt === undefined) return "type /kimi usage to see all of it";
  const reset =
    resetsAt <= now ? "soon" : `${sayTime(resetsAt, new Date(now))} (in ${sayDuration(resetsAt - now)})`;
  return `it resets ${reset}, /kimi usage shows all of it`;
}

function forWhat({ kind, label }: QuotaWindow): string {
  switch (kind) {
    case "week":
    case "month":
      return `this ${label}`;
    case "month-code":
      return "this month's code";
    default:
      return label;
  }
}
