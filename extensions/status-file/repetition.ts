/**
 * What pi does after a run has ended, where it does not say so: before 0.80.4 there is no `agent_settled`, and pi's own
 * retries and compactions are events of its session, which extensions do not get. After pi 0.73.1's
 * core/agent-session.js (`_handleRetryableError`, `_checkCompaction`).
 */
import { saysRetry } from "../errors/host-words.ts";
import type { Outcome } from "./lifecycle.ts";

/** pi's setting `retry`. */
export interface RetrySettings {
  readonly enabled: boolean;
  readonly maxRetries: number;
  /** ms */
  readonly baseDelayMs: number;
}

/** What pi takes where nothing is set. */
export const USUAL_RETRIES: RetrySettings = { enabled: true, maxRetries: 3, baseDelayMs: 2_000 };

/** pi decides at once whether it compacts; reading the key for that may take a moment, ms. */
const DECISION = 150;
/** How much later than announced a repetition may begin, and how long preparing a compaction may take, ms. */
const MARGIN = 2_000;

/** Whether pi says itself when it does nothing more. */
export function saysSettled(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  if (major !== 0) return major > 0;
  return minor > 80 || (minor === 80 && patch >= 4);
}

/**
 * After how many ms without another event a run that ended like this is over. `attempts` counts the failed attempts in
 * a row, this one included.
 */
export function patienceAfter(outcome: Outcome, attempts: number, settings: RetrySettings): number {
  if (outcome.state === "completed" || outcome.error.class === "aborted") return DECISION;
  const { class: kind, message } = outcome.error;
  if (kind === "overflow") return MARGIN;
  if (!saysRetry(message) || !settings.enabled || attempts > settings.maxRetries) return DECISION;
  return settings.baseDelayMs * 2 ** (attempts - 1) + MARGIN;
}

/** After a compaction pi goes on within 100 ms, if at all; ms. */
export const AFTER_COMPACTION = 1_000;
/** A prompt that had to wait for a compaction begins in a moment, ms. */
export const BEFORE_PROMPT = 200;
/** A compaction that has not ended after this long has failed: pi before 0.84.3 does not say so; ms. */
export const LONGEST_COMPACTION = 600_000;
