/**
 * What the service's refusals have taught all processes of an account, kept as names beside the tickets, so that it is
 * there with the listing that is made anyway and two writers cannot lose each other's: how long everybody waits, and
 * how many requests at once went well.
 */
import type { Rules } from "./tickets.ts";

export interface Refusal {
  /** Too many at once, in contrast to too many in a time. */
  readonly concurrency: boolean;
  /** How long the service asks to wait, ms. */
  readonly retryAfter: number | undefined;
}

/** How long a pause is at least, also where the service asks for less: the first one, and the longest of those that follow, ms. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 15_000;
/** A refusal this long after a pause has nothing to do with it, ms. */
const PAUSE_REMEMBERED = 60_000;
/** Longer than this nobody waits without a word, least of all by what another process was told, ms: it is shown instead. */
export const LONGEST_SHARED_WAIT = 60_000;
/** A limit that was learned is tried one higher after this, ms … */
const LEARNED_GROWS = 60_000;
/** … and forgotten after this, ms: other programs of the account may have been the reason. */
const LEARNED_FOR = 600_000;

interface Pause {
  /** ms since the epoch. */
  readonly until: number;
  /** How many pauses came before it without rest. */
  readonly step: number;
}

/** The rules at `now` (ms since the epoch): `limit` is what is known from elsewhere. */
export function readRules(names: readonly string[], now: number, limit: number | undefined): Rules {
  const limits = limit === undefined ? [] : [limit];
  for (const name of names) {
    const learned = readLearned(name);
    if (learned && isFresh(learned.at, now, LEARNED_FOR))
      limits.push(learned.count + Math.floor((now - learned.at) / LEARNED_GROWS));
  }
  const until = lastPause(names, now)?.until ?? 0;
  return {
    limit: limits.length === 0 ? undefined : Math.max(1, Math.floor(Math.min(...limits))),
    pausedUntil: until > now ? until : undefined,
  };
}

/**
 * The note by which all wait after a refusal; undefined where one that is there says enough. `sentAt`: when the
 * refused request was sent; those that were under way together lengthen the pause once, not each. `random` in [0, 1).
 */
export function pauseAfter(
  names: readonly string[],
  { retryAfter }: Refusal,
  { now, sentAt, random }: { readonly now: number; readonly sentAt: number; readonly random: number },
): string | undefined {
  if (retryAfter !== undefined && retryAfter > LONGEST_SHARED_WAIT) return undefined;
  const last = lastPause(names, now);
  const sameWave = last !== undefined && sentAt < last.until;
  if (sameWave && (retryAfter === undefined || now + retryAfter <= last.until)) return undefined;
  const step = last === undefined ? 0 : sameWave ? last.step : last.step + 1;
  const backOff = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(step, 10)) * (0.75 + random / 2);
  return `pause-${Math.ceil(now + Math.max(retryAfter ?? 0, backOff))}-${step}`;
}

/** The note that `held` others were accepted at `now` when one more was refused. */
export function learnedLimit(held: number, now: number): string {
  return `learned-${Math.max(1, held)}-${now}`;
}

/** The notes that say nothing any more. */
export function outdated(names: readonly string[], now: number): readonly string[] {
  return names.filter((name) => {
    const pause = readPause(name);
    const learned = readLearned(name);
    return (
      (pause && !isInForce(pause, now)) || (learned !== undefined && !isFresh(learned.at, now, LEARNED_FOR))
    );
  });
}

/** The pauses that are over at `now`: when a request sent after them goes well, they are no reason for a longer one. */
export function endedPauses(names: readonly string[], now: number): readonly string[] {
  return names.filter((name) => {
    const pause = readPause(name);
    return pause !== undefined && pause.until <= now;
  });
}

function lastPause(names: readonly string[], now: number): Pause | undefined {
  let last: Pause | undefined;
  for (const name of names) {
    const pause = readPause(name);
    if (pause && isInForce(pause, now) && (!last || pause.until > last.until)) last = pause;
  }
  return last;
}

/** A pause that ends later than any may was written before the clock was set back. */
function isInForce({ until }: Pause, now: number): boolean {
  return until > now - PAUSE_REMEMBERED && until <= now + LONGEST_SHARED_WAIT + 1_000;
}

function isFresh(at: number, now: number, ms: number): boolean {
  return at <= now + 1_000 && now - at < ms;
}

function readPause(name: string): Pause | undefined {
  const [, until, step] = /^pause-(\d{1,15})-(\d{1,4})$/.exec(name) ?? [];
  return until === undefined ? undefined : { until: Number(until), step: Number(step) };
}

function readLearned(name: string): { readonly count: number; readonly at: number } | undefined {
  const [, count, at] = /^learned-(\d{1,6})-(\d{1,15})$/.exec(name) ?? [];
  return count === undefined ? undefined : { count: Number(count), at: Number(at) };
}
