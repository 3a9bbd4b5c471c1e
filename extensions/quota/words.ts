/** Times, durations, shares and failures as people read them. */
import type { GetFailure } from "../lib/http.ts";
import { sayTime } from "../lib/waiting-time.ts";
import { planPage, type Region } from "../region.ts";
import type { UsageOutcome } from "./usage.ts";

const MINUTE = 60_000;

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

/** Whole percent; never 100 before it is. */
export function sayPercent(percent: number): string {
  return percent > 0 && percent < 1 ? "<1" : `${percent > 99 ? Math.floor(percent) : Math.round(percent)}`;
}

/** "just now", "12 m ago". */
export function sayAge(ms: number): string {
  return ms < MINUTE ? "just now" : `${sayDuration(ms)} ago`;
}

/** The minute in which something was, see sayTime, which rounds up. Both in ms since the epoch. */
export function sayPast(at: number, now: number): string {
  return sayTime(at - 59_999, new Date(now));
}

/** "resets 15:00 (in 3 h)"; both in ms since the epoch. */
export function sayReset(at: number, now: number): string {
  return at <= now ? "resets soon" : `resets ${sayTime(at, new Date(now))} (in ${sayDuration(at - now)})`;
}

/** "12,345". */
export function sayCount(many: number): string {
  return many.toLocaleString("en-US");
}

/** The sentence for what came instead of fresh figures (undefined = nothing in time); undefined where they came. */
export function sayProblem(outcome: UsageOutcome | undefined): string | undefined {
  switch (outcome?.state) {
    case "fresh":
      return undefined;
    case "unavailable":
      return outcome.message;
    case "failed":
      return `Kimi Coder: ${why(outcome.failure, outcome.region)}`;
    case undefined:
      return SLOW;
  }
}

function why(failure: GetFailure, region: Region): string {
  switch (failure.state) {
    case "lost":
      return failure.code === "ETIMEDOUT" || failure.code === "ABORT_ERR"
        ? NO_ANSWER
        : `Kimi cannot be reached for the quota (${failure.code}); check the network and proxy, and try again.`;
    case "unusable":
      return "Kimi's answer about the quota cannot be understood; try again, and update pi-kimi-coder if it stays so.";
    case "refused":
      return sayStatus(failure.status, region);
  }
}

const NO_ANSWER = "Kimi does not answer about the quota; try again in a minute.";
/** The same, said before the wait was over. */
export const SLOW = `Kimi Coder: ${NO_ANSWER}`;

function sayStatus(status: number, region: Region): string {
  switch (status) {
    case 401:
      return "Kimi does not accept the login or key for the quota; type /login kimi-coder, or correct KIMI_CODER_API_KEY.";
    case 402:
      return `this account has no active Kimi membership; renew the plan at ${planPage(region)}.`;
    case 403:
      return `Kimi does not show this account its quota; look at the plan at ${planPage(region)}.`;
    case 404:
      return `Kimi has no quota at this address (404); correct KIMI_CODE_BASE_URL if it is set, else look at ${planPage(region)}.`;
    default:
      return status >= 300 && status < 400
        ? "Kimi's address only redirects to another one; correct KIMI_CODE_BASE_URL if it is set, else check the proxy."
        : `Kimi answered ${status} about the quota; try again in a minute.`;
  }
}
