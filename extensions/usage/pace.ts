/** Whether a window will be empty before it resets, if it goes on as it did so far. */
import type { QuotaWindow } from "./windows.ts";

/** Of a window's length: before so much of it has passed, its pace says nothing. */
const TOO_EARLY = 0.05;

/**
 * When the window will be empty, in ms since the epoch; undefined when not before its reset, or nobody knows.
 * `measuredAt` (ms) is when its figure was true, `now` (ms) when that is asked.
 */
export function emptyAt(window: QuotaWindow, measuredAt: number, now: number): number | undefined {
  const { usedPercent, resetsAt, length } = window;
  if (resetsAt === undefined || length === undefined || Math.max(measuredAt, now) >= resetsAt)
    return undefined;
  const passed = length - (resetsAt - measuredAt);
  if (passed < length * TOO_EARLY || usedPercent <= 0 || usedPercent >= 100) return undefined;
  const at = measuredAt + ((100 - usedPercent) / usedPercent) * passed;
  return at < resetsAt ? at : undefined;
}
