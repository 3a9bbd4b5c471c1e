/**
 * What older pi do not tell their extensions, and what is made of it. Before 0.80.4 there is no `agent_settled`, so the
 * rest after a run is told by silence, and a run that `compact` aborts has no `agent_end`; before 0.84.3 there is no
 * `session_compact_failed`. After pi 0.73.1's core/agent-session.js (`_handleRetryableError`, `_checkCompaction`,
 * `compact`).
 */
import { type ExtensionAPI, SettingsManager } from "@mariozechner/pi-coding-agent";
import { saysRetry } from "../chat/errors/host-words.ts";
import { isAtLeast } from "../configuration.ts";
import type { Outcome } from "./failure.ts";
import type { Life, WorkerEvent } from "./record.ts";

/** Whether a pi of this version leaves one of these untold; it is then treated as one that leaves both. */
export function isOlder(version: string): boolean {
  return !isAtLeast(version, [0, 84, 3]);
}

/** Time in which pi decides whether it compacts; reading the key for that may take a moment, ms. */
const DECISION = 150;
/** How much later than announced a repetition may begin, and how long preparing a compaction may take, ms. */
const MARGIN = 2_000;
/** After a compaction pi goes on within 100 ms, if at all; ms. */
const AFTER_COMPACTION = 1_000;
/** Every pi: a prompt that had to wait for a compaction begins within this time, ms. */
const BEFORE_PROMPT = 200;
/** A compaction that has not ended after this long has failed, ms. */
const LONGEST_COMPACTION = 600_000;
/** Long enough for an `agent_end`, or a compaction, that is told after an abort, ms. */
export const AFTER_ABORT = 200;

/**
 * The ms of silence after `event` that mean that this pi has settled; "told" where it says so itself, or something else
 * comes for certain; "unchanged" where the event says nothing about that. `life` is the record after the event, `older`
 * whether the pi is, `longestPause` how long it waits at most before it repeats a run, ms.
 */
export function silenceAfter(
  event: WorkerEvent,
  life: Life,
  older: boolean,
  longestPause: () => number,
): number | "told" | "unchanged" {
  switch (event.type) {
    case "agent_end":
      return older && life.outcome ? silenceAfterRun(life.outcome, longestPause) : "told";
    case "session_before_compact":
      return older ? LONGEST_COMPACTION : "told";
    case "session_compact":
      if (life.compacting) return BEFORE_PROMPT;
      return older ? AFTER_COMPACTION : "told";
    case "request_fails":
      // While pi compacts it sends no other request.
      return older && life.compacting ? AFTER_COMPACTION : "unchanged";
    case "model_select":
    case "input":
    case "request_waits":
    case "exit":
      return "unchanged";
    default:
      return "told";
  }
}

function silenceAfterRun(outcome: Outcome, longestPause: () => number): number {
  if (outcome.state === "completed" || outcome.error.class === "aborted") return DECISION;
  if (outcome.error.class === "overflow") return MARGIN;
  return saysRetry(outcome.error.message) ? longestPause() + MARGIN : DECISION;
}

/** By pi's setting `retry`, which pi reads when it needs it. */
export function longestRetryPause(cwd: string, agentDir: string): number {
  const { enabled, maxRetries, baseDelayMs } = SettingsManager.create(cwd, agentDir).getRetrySettings();
  return enabled ? baseDelayMs * 2 ** (maxRetries - 1) : 0;
}

/** Hears what an older pi does not say: `aborted` that a run was aborted, `cancelled` that a compaction was. */
export function hearUntold(pi: ExtensionAPI, aborted: () => void, cancelled: () => void): void {
  pi.on("agent_start", (_event, { signal }) => signal?.addEventListener("abort", aborted, { once: true }));
  pi.on("session_before_compact", ({ signal }) => {
    signal.addEventListener("abort", cancelled, { once: true });
  });
}
