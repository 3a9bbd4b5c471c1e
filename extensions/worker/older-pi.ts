/**
 * What older pi do not tell their extensions, and what is made of it. Before 0.80.4 there is no `agent_settled`, so the
 * rest after a run is told by silence, and a run that `compact` aborts has no `agent_end`; before 0.84.3 there is no
 * `session_compact_failed`. After pi 0.73.1's core/agent-session.js (`_handleRetryableError`, `_checkCompaction`,
 * `compact`).
 */
import { type ExtensionAPI, type ExtensionContext, SettingsManager } from "@mariozechner/pi-coding-agent";
import { saysRetry } from "../chat/errors/host-words.ts";
import { isAtLeast } from "../configuration.ts";
import type { Outcome } from "./failure.ts";
import type { Life, WorkerEvent } from "./record.ts";

/** What a pi does not tell. */
export interface Untold {
  /** That it does nothing more by itself. */
  readonly settled: boolean;
  /** That a compaction failed. */
  readonly failedCompaction: boolean;
}

export function untoldBy(version: string): Untold {
  return { settled: !isAtLeast(version, [0, 80, 4]), failedCompaction: !isAtLeast(version, [0, 84, 3]) };
}

/** pi's setting `retry`. */
export interface RetrySettings {
  readonly enabled: boolean;
  readonly maxRetries: number;
  /** ms */
  readonly baseDelayMs: number;
}

/** What pi takes where nothing is set. */
export const USUAL_RETRIES: RetrySettings = { enabled: true, maxRetries: 3, baseDelayMs: 2_000 };

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

/**
 * The ms of silence after `event` that mean that this pi has settled; "told" where it says so itself, or something else
 * comes for certain; "unchanged" where the event says nothing about that. `life` is the record after the event.
 */
export function silenceAfter(
  event: WorkerEvent,
  life: Life,
  untold: Untold,
  retries: () => RetrySettings,
): number | "told" | "unchanged" {
  switch (event.type) {
    case "agent_end":
      return untold.settled && life.outcome ? silenceAfterRun(life.outcome, life.attempts, retries) : "told";
    case "session_before_compact":
      return untold.failedCompaction ? LONGEST_COMPACTION : "told";
    case "session_compact":
      if (life.compacting) return BEFORE_PROMPT;
      return untold.settled ? AFTER_COMPACTION : "told";
    case "request_fails":
      // Only a compaction sends requests while no run is under way.
      return untold.failedCompaction && life.compacting && !life.running ? AFTER_COMPACTION : "unchanged";
    case "model_select":
    case "input":
    case "message_end":
    case "request_waits":
    case "exit":
      return "unchanged";
    default:
      return "told";
  }
}

function silenceAfterRun(outcome: Outcome, attempts: number, retries: () => RetrySettings): number {
  if (outcome.state === "completed" || outcome.error.class === "aborted") return DECISION;
  const { class: kind, message } = outcome.error;
  if (kind === "overflow") return MARGIN;
  const { enabled, maxRetries, baseDelayMs } = retries();
  if (!saysRetry(message) || !enabled || attempts > maxRetries) return DECISION;
  return baseDelayMs * 2 ** (attempts - 1) + MARGIN;
}

/** pi's setting, as pi reads it when it needs it. Never throws. */
export function retrySettings(cwd: string, agentDir: string): RetrySettings {
  try {
    return SettingsManager.create(cwd, agentDir).getRetrySettings();
  } catch {
    return USUAL_RETRIES;
  }
}

const UNHEARD_END: WorkerEvent = { type: "agent_end", answer: { content: [], stopReason: "aborted" } };

/** Makes the events that this pi does not have of others that it has; to be called before anybody listens to those. */
export function hearUntold(
  pi: ExtensionAPI,
  untold: Untold,
  life: () => Life,
  hear: (event: WorkerEvent) => void,
): void {
  if (untold.settled) {
    pi.on("agent_start", (_event, ctx) => endAborted(ctx, life, hear));
    pi.on("session_before_compact", () => {
      if (life().running) hear(UNHEARD_END);
    });
  }
  if (untold.failedCompaction) {
    pi.on("session_before_compact", ({ signal }) => {
      signal.addEventListener("abort", () => hear({ type: "session_compact" }), { once: true });
    });
  }
}

/** Long enough for an `agent_end` that is told to come first, ms. */
const QUESTION_EVERY = 200;

/** Ends the run under way once it was aborted and pi does nothing more. Keeps no process alive. */
function endAborted(ctx: ExtensionContext, life: () => Life, hear: (event: WorkerEvent) => void): void {
  const ask = (turn: number) => {
    const { running, turn: present } = life();
    if (!running || present !== turn) return;
    try {
      if (!ctx.isIdle()) return askLater(turn);
    } catch {
      return; // The session was replaced meanwhile.
    }
    hear(UNHEARD_END);
    hear({ type: "agent_settled", aborted: true });
  };
  const askLater = (turn: number) => {
    setTimeout(ask, QUESTION_EVERY, turn).unref();
  };
  ctx.signal?.addEventListener("abort", () => askLater(life().turn), { once: true });
}
