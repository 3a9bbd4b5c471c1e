/** Until when the service asks to wait, as far as it says, and how times and durations are told. */

const MINUTE = 60_000;
const DAY = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { d: DAY, h: 3_600_000, m: 60_000, s: 1000 };
const DURATION =
  /\b(?:in|after|for|within)\s+((?:(?:about|around)\s+)?(?:\d{1,6}\s*(?:d|h|m|s)[a-z]*[\s,]*(?:and\s+)?){1,4})/i;
const TIME = /\b(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?\s?(Z|UTC|[+-]\d\d:?\d\d)/;
/** Nothing of the plan takes longer to renew. */
const LONGEST = 40 * DAY;

/** ms since the epoch; undefined where the message and `retryAfter` (ms) tell nothing that can be believed. */
export function waitUntil(message: string, now: Date, retryAfter: number | undefined): number | undefined {
  const candidates = [readTime(message), readDuration(message, now), after(now, retryAfter)];
  return candidates.find((at) => at !== undefined && at > now.getTime() && at - now.getTime() <= LONGEST);
}

function readTime(message: string): number | undefined {
  const [, day, time, zone] = TIME.exec(message) ?? [];
  if (day === undefined || zone === undefined) return undefined;
  const at = Date.parse(`${day}T${time}${zone === "UTC" ? "Z" : zone}`);
  return Number.isNaN(at) ? undefined : at;
}

function readDuration(message: string, now: Date): number | undefined {
  const words = DURATION.exec(message)?.[1];
  if (words === undefined) return undefined;
  let total = 0;
  for (const [, count, unit] of words.matchAll(/(\d+)\s*([dhms])/gi)) {
    total += Number(count) * (UNITS[unit?.toLowerCase() ?? "s"] ?? 1000);
  }
  return after(now, total);
}

function after(now: Date, ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : now.getTime() + ms;
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "14:05" today, "Mon 14:05" within a week of now, before or after, else "3 Dec 14:05": local time, never before `at`. */
export function sayTime(at: number, now: Date): string {
  const time = new Date(Math.ceil(at / MINUTE) * MINUTE);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}`;
  const days = Math.round((midnight(time) - midnight(now)) / DAY);
  if (days === 0) return clock;
  return Math.abs(days) < 7
    ? `${DAYS[time.getDay()]} ${clock}`
    : `${time.getDate()} ${MONTHS[time.getMonth()]} ${clock}`;
}

/** The minute in which something was; `sayTime` rounds up. `at` in ms since the epoch. */
export function sayPast(at: number, now: Date): string {
  return sayTime(at - (MINUTE - 1), now);
}

/** "Fri 03:27, in 9 h": when something is, and how far away; "soon" where that has passed. `at` in ms since the epoch. */
export function sayReset(at: number, now: Date): string {
  if (at <= now.getTime()) return "soon";
  const minutes = Math.max(1, Math.round((at - now.getTime()) / MINUTE));
  const hours = Math.round(minutes / 60);
  const away = minutes < 120 ? `${minutes} m` : hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
  return `${sayTime(at, now)}, in ${away}`;
}

/** "1 h 40 m", "4 d 3 h", "12 m", "less than a minute"; `ms` below zero counts as none. */
export function sayDuration(ms: number): string {
  const minutes = Math.floor(ms / MINUTE);
  if (minutes < 1) return "less than a minute";
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60)];
  const parts =
    days > 0
      ? [`${days} d`, hours && `${hours} h`]
      : [hours && `${hours} h`, minutes % 60 && `${minutes % 60} m`];
  return parts.filter(Boolean).join(" ");
}

/** "just now", "12 m ago". */
export function sayAge(ms: number): string {
  return ms < MINUTE ? "just now" : `${sayDuration(ms)} ago`;
}

function midnight(time: Date): number {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
}
