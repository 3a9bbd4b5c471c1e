/**
 * The worker's record as a pure function of pi's events: `next` takes one event, `contentOf` gives what stands in the
 * status file, which `status.schema.json` describes for others.
 */
import { type KeptFigures, windowsAt } from "../quota/figures.ts";
import type { SessionUse } from "../quota/session-use.ts";
import {
  ABORTED,
  type Answer,
  COMPLETED,
  type Failure,
  INTERRUPTED,
  type Outcome,
  outcomeOf,
  type Said,
  textOf,
  withoutTurn,
} from "./failure.ts";

export interface Life {
  readonly sessionId: string | undefined;
  /** `provider/id`. */
  readonly model: string | undefined;
  /** Prompts of this session: runs begun, and prompts refused. */
  readonly turn: number;
  /** The state while nothing is done. */
  readonly rest: { readonly state: "starting" } | { readonly state: "idle" } | Outcome;
  readonly running: boolean;
  /** How the run has ended; pi may yet repeat it or compact. */
  readonly outcome: Outcome | undefined;
  readonly compacting: boolean;
  /** What the turn's runs have ended with, if that was text. */
  readonly message: string | undefined;
  /** What this extension said last about a failed request. */
  readonly said: Said | undefined;
  /** Why a request is not sent yet, and since when (ms since the epoch). */
  readonly waiting: { readonly note: string; readonly since: number } | undefined;
  /** `at` in ms since the epoch. */
  readonly exit: { readonly at: number; readonly code: number | undefined } | undefined;
}

/** pi's events by their names, reduced to what counts here; the last four are this extension's. */
export type WorkerEvent =
  | {
      readonly type: "session_start";
      readonly reason: string;
      readonly sessionId: string;
      readonly model: string | undefined;
      readonly hasUI: boolean;
    }
  | { readonly type: "model_select"; readonly model: string | undefined }
  /** `refusal`: why pi makes no run of this prompt. */
  | { readonly type: "input"; readonly refusal: Failure | undefined }
  | { readonly type: "before_agent_start" }
  | { readonly type: "agent_start" }
  /** `answer`: the run's last assistant message. */
  | { readonly type: "agent_end"; readonly answer: Answer | undefined }
  | { readonly type: "agent_settled"; readonly aborted: boolean }
  | { readonly type: "session_before_compact" }
  /** Also where it failed or was cancelled. */
  | { readonly type: "session_compact" }
  | { readonly type: "session_shutdown"; readonly reason: string; readonly at: number }
  | { readonly type: "request_waits"; readonly note: string | undefined; readonly at: number }
  | { readonly type: "request_fails"; readonly said: Said }
  /** pi has settled, by what is not heard of it. */
  | { readonly type: "silence" }
  /** The end of the process. */
  | { readonly type: "exit"; readonly at: number; readonly code: number };

export const BEGINNING: Life = {
  sessionId: undefined,
  model: undefined,
  turn: 0,
  rest: { state: "starting" },
  running: false,
  outcome: undefined,
  compacting: false,
  message: undefined,
  said: undefined,
  waiting: undefined,
  exit: undefined,
};

/** Why a session ends, or begins, in a process that goes on. */
const REPLACED: ReadonlySet<string> = new Set(["reload", "new", "resume", "fork"]);

function isBusy({ running, outcome, compacting }: Life): boolean {
  return running || outcome !== undefined || compacting;
}

/** The record after `event`. Any event may come at any time; after an exit only its code, or a new session, counts. */
export function next(life: Life, event: WorkerEvent): Life {
  if (life.exit && event.type !== "exit" && event.type !== "session_start") return life;
  switch (event.type) {
    case "session_start":
      return startSession(life, event);
    case "model_select":
      return { ...life, model: event.model };
    case "input":
      if (event.refusal === undefined || isBusy(life)) return life;
      return { ...begin(life), running: false, rest: { state: "error", error: event.refusal } };
    case "before_agent_start":
      return begin(life);
    case "agent_start":
      if (life.running) return life;
      // A repetition, or what comes after a compaction, belongs to the same turn.
      return life.outcome ? { ...life, running: true, outcome: undefined, compacting: false } : begin(life);
    case "agent_end":
      return endRun(life, event.answer);
    case "agent_settled":
      if (life.running) return life;
      // pi's pause before a retry was aborted: its outcome is still that of the failed attempt.
      return settle(event.aborted && life.outcome?.state === "error" ? { ...life, outcome: ABORTED } : life);
    case "silence":
      // A run that pi says no end of was aborted.
      return settle(life.running ? { ...life, running: false, outcome: ABORTED } : life);
    case "session_before_compact":
      return { ...life, compacting: true };
    case "session_compact":
      // Without a run it ends with silence, for a prompt may have waited for it.
      return life.running || life.outcome ? { ...life, compacting: false } : life;
    case "session_shutdown":
      return REPLACED.has(event.reason) ? settle(life) : exit(life, event.at, undefined);
    case "request_waits":
      return wait(life, event.note, event.at);
    case "request_fails":
      return { ...life, said: event.said };
    case "exit":
      return exit(life, event.at, event.code);
  }
}

function startSession(
  life: Life,
  { reason, sessionId, model, hasUI }: Extract<WorkerEvent, { type: "session_start" }>,
): Life {
  if (reason === "reload" && life.sessionId === sessionId && life.rest.state !== "starting") {
    return { ...life, model };
  }
  // Print and JSON mode have their prompt already.
  const waitsForPrompt = hasUI || REPLACED.has(reason);
  return { ...BEGINNING, sessionId, model, rest: { state: waitsForPrompt ? "idle" : "starting" } };
}

function begin({ sessionId, model, turn, said }: Life): Life {
  return { ...BEGINNING, sessionId, model, said, turn: turn + 1, running: true };
}

function endRun(life: Life, answer: Answer | undefined): Life {
  const outcome = answer ? outcomeOf(answer, life.said) : COMPLETED;
  const message = (answer && textOf(answer)) || life.message;
  return { ...life, running: false, outcome, message, waiting: undefined };
}

/** At rest: as the run ended or was cut off, else as it was before. */
function settle(life: Life): Life {
  return {
    ...life,
    rest: life.running ? INTERRUPTED : (life.outcome ?? life.rest),
    running: false,
    outcome: undefined,
    compacting: false,
    waiting: undefined,
  };
}

function wait(life: Life, note: string | undefined, at: number): Life {
  if (note === life.waiting?.note) return life;
  return { ...life, waiting: note === undefined ? undefined : { note, since: life.waiting?.since ?? at } };
}

/** `code` is undefined until it is known. */
function exit(life: Life, at: number, code: number | undefined): Life {
  const { rest, ...settled } = settle(life);
  return {
    ...settled,
    rest: rest.state === "starting" && code !== undefined ? withoutTurn(code) : rest,
    exit: { at: life.exit?.at ?? at, code: code ?? life.exit?.code },
  };
}

/** What stands in the status file, but for `changedAt` and where a long message is; times are in ms since the epoch. */
export type Content = ReturnType<typeof contentOf>;

/** What is known of the plan, where a model of Kimi's is selected. */
export interface Plan {
  readonly quota: ReturnType<typeof quotaOf> | null;
  readonly usage: ReturnType<typeof usageOf> | null;
}

export function contentOf(life: Life, pid: number, { quota, usage }: Plan = { quota: null, usage: null }) {
  const state = isBusy(life) ? "processing" : life.rest.state;
  const { rest, exit } = life;
  return {
    version: 1,
    pid,
    sessionId: life.sessionId ?? null,
    state,
    turn: life.turn,
    model: life.model ?? null,
    // What is said in the middle of a turn is no answer yet.
    message: state === "processing" ? null : (life.message ?? null),
    error: state === "error" && rest.state === "error" ? rest.error : null,
    waiting: life.waiting ?? null,
    quota,
    usage,
    exit: exit ? { at: exit.at, code: exit.code ?? null } : null,
  };
}

/** The plan's limits at `now` (ms since the epoch), as they were last asked for; what was reset since is not used. */
export function quotaOf(kept: KeptFigures, now: number) {
  return {
    plan: kept.figures.plan ?? null,
    fetchedAt: kept.fetchedAt,
    windows: windowsAt(kept, now).map(({ kind, label, usedPercent, resetsAt }) => ({
      kind,
      label,
      usedPercent,
      resetsAt: resetsAt ?? null,
    })),
  };
}

/** What the session has used. */
export function usageOf({ misses: _, ...use }: SessionUse) {
  return use;
}
