/** Durations, shares and failures as people read them. */
import type { GetFailure } from "../api-get.ts";
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

/** The sentence for what came instead of fresh figures (undefined = nothing in time); undefined where they came. */
export function sayProblem(outcome: UsageOutcome | undefined): string | undefined {
  switch (outcome?.state) {
    case "fresh":
      return undefined;
    case "unavailable":
      return outcome.message;
    case "failed":
      return sayUsageFailure(outcome.failure, outcome.region);
    case undefined:
      return SLOW;
  }
}

/** The sentence for why no newer figures came, and what to do. */
export function sayUsageFailure(failure: GetFailure, region: Region): string {
  return `Kimi Coder: ${why(failure, region)}`;
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
/** The same where nobody has waited to the end. */
export const SLOW = `Kimi Coder: ${NO_ANSWER}`;

function sayStatus(status: number, region: Region): string {
  switch (status) {
    case 401:
      return "Kimi does not accept the login or key for the quota; type /login kimi-coder, or correct KIMI_CODER_API_KEY.";
    case 402:
      return `this account has no active Kimi membership; renew the plan at ${planPage(region)}.`;
    case 403:
      return `Kimi denies this account its quota; look at the plan at ${planPage(region)}.`;
    case 404:
      return `Kimi has no quota at this address (404); correct KIMI_CODE_BASE_URL if it is set, else look at ${planPage(region)}.`;
    default:
      return status >= 300 && status < 400
        ? "Kimi's address only redirects to another one; correct KIMI_CODE_BASE_URL if it is set, else check the proxy."
        : `Kimi answered ${status} about the quota; try again in a minute.`;
  }
}
