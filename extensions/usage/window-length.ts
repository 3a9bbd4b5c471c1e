/** How long a window of the older shape says it is. */
import { member, positive } from "./values.ts";

export interface WindowLength {
  /** ms; a calendar month counts as 30 days. */
  readonly about: number;
  /** ms; undefined where it depends on the calendar. */
  readonly exact: number | undefined;
  /** For people: "2 hours". */
  readonly label: string;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** No plan has a longer one, ms. */
const LONGEST = 400 * DAY;
const MONTH = "TIME_UNIT_MONTH";

const UNITS: ReadonlyMap<unknown, number> = new Map([
  ["TIME_UNIT_SECOND", 1_000],
  ["TIME_UNIT_MINUTE", MINUTE],
  ["TIME_UNIT_HOUR", HOUR],
  ["TIME_UNIT_DAY", DAY],
  ["TIME_UNIT_WEEK", 7 * DAY],
  [MONTH, 30 * DAY],
]);

/** Undefined where it says nothing that can be believed. Never throws. */
export function readLength(window: unknown): WindowLength | undefined {
  const duration = positive(member(window, "duration"));
  const name = member(window, "timeUnit");
  const unit = UNITS.get(name);
  if (duration === undefined || unit === undefined || duration * unit > LONGEST) return undefined;
  const about = duration * unit;
  return name === MONTH
    ? { about, exact: undefined, label: count(duration, "month") }
    : { about, exact: about, label: sayLength(about) };
}

/** In the largest unit that it is a whole number of. */
function sayLength(ms: number): string {
  if (ms % DAY === 0) return count(ms / DAY, "day");
  if (ms % HOUR === 0) return count(ms / HOUR, "hour");
  return ms % MINUTE === 0 ? count(ms / MINUTE, "minute") : count(Math.round(ms / 1_000), "second");
}

function count(many: number, unit: string): string {
  return `${many} ${unit}${many === 1 ? "" : "s"}`;
}
