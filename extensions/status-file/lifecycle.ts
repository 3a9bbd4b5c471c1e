/** What state an agent is in, told from what pi says happened. Pure; follow.ts is told by pi, publish.ts writes. */

export interface Failure {
  /** See failure.ts. */
  readonly class: string;
  /** One sentence. */
  readonly message: string;
  readonly nextAction: string;
}

/** How a run, or one attempt at it, ended. */
export type Outcome = { readonly state: "completed" } | { readonly state: "error"; readonly error: Failure };

type Rest = { readonly state: "starting" } | { readonly state: "idle" } | Outcome;

export interface Lifecycle {
  readonly sessionId: string | undefined;
  /** `provider/id`. */
  readonly model: string | undefined;
  /** Prompts of this session: runs begun, and what was refused. */
  readonly turn: number;
  /** What the agent is when it does nothing. */
  readonly rest: Rest;
  readonly running: boolean;
  /** The run has ended like this, but pi may yet repeat it or compact. */
  readonly outcome: Outcome | undefined;
  readonly compacting: boolean;
  /** Text of the turn's last assistant message that has any. */
  readonly message: string | undefined;
  /** What that message makes of the run, should nothing more be heard of it. */
  readonly heard: Outcome | undefined;
  /** Why a request is not sent yet, and since when (ms). */
  readonly waiting: { readonly note: string; readonly since: number } | undefined;
  readonly exit: { readonly at: number; readonly code: number | undefined } | undefined;
}

export type LifeEvent =
  | {
      readonly type: "opened";
      readonly sessionId: string;
      readonly model: string | undefined;
      /** Whether the session goes on as it was. */
      readonly reloaded: boolean;
      /** Whether it waits for prompts; print mode has its prompt already. */
      readonly waits: boolean;
    }
  | { readonly type: "prompted" }
  | { readonly type: "running" }
  | { readonly type: "said"; readonly text: string; readonly heard: Outcome | undefined }
  | { readonly type: "ended"; readonly outcome: Outcome }
  /** pi does nothing more by itself. */
  | { readonly type: "settled" }
  /** A prompt that pi refused before it became a run: a turn without one. */
  | { readonly type: "refused"; readonly error: Failure }
  | { readonly type: "compacting" }
  | { readonly type: "compacted" }
  | { readonly type: "model"; readonly model: string }
  | { readonly type: "waiting"; readonly note: string | undefined; readonly at: number }
  /** The session's end: whatever it still did is cut off. */
  | { readonly type: "closed" }
  /** The process's end; `code` is undefined until it is known. */
  | { readonly type: "exited"; readonly at: number; readonly code: number | undefined };

export const BEGINNING: Lifecycle = {
  sessionId: undefined,
  model: undefined,
  turn: 0,
  rest: { state: "starting" },
  running: false,
  outcome: undefined,
  compacting: false,
  message: undefined,
  heard: undefined,
  waiting: undefined,
  exit: undefined,
};

export const INTERRUPTED: Failure = {
  class: "interrupted",
  message: "pi ended before the turn did.",
  nextAction: "start pi again with the same session and send the prompt again",
};

export type State = "starting" | "idle" | "processing" | "completed" | "error";

export function isBusy({ running, outcome, compacting }: Lifecycle): boolean {
  return running || outcome !== undefined || compacting;
}

export function stateOf(life: Lifecycle): State {
  return isBusy(life) ? "processing" : life.rest.state;
}

/** The state after `event`. Any event may come at any time; after the process's end only its exit code, or a new session, counts. */
export function next(life: Lifecycle, event: LifeEvent): Lifecycle {
  if (life.exit && event.type !== "exited" && event.type !== "opened") return life;
  switch (event.type) {
    case "opened":
      return opened(life, event);
    case "prompted":
      return begin(life);
    case "running":
      if (life.running) return life;
      // A repetition, or what comes after a compaction, belongs to the same turn.
      return life.outcome ? { ...life, running: true, outcome: undefined, compacting: false } : begin(life);
    case "said":
      return { ...life, message: event.text === "" ? life.message : event.text, heard: event.heard };
    case "ended":
      return { ...life, running: false, outcome: event.outcome, waiting: undefined };
    case "settled":
      return life.running ? life : settle(life);
    case "refused":
      return isBusy(life)
        ? life
        : { ...begin(life), running: false, rest: { state: "error", error: event.error } };
    case "compacting":
      return { ...life, compacting: true };
    case "compacted":
      return { ...life, compacting: false };
    case "model":
      return { ...life, model: event.model };
    case "waiting":
      return waiting(life, event.note, event.at);
    case "closed":
      return settle(life);
    case "exited":
      return exited(life, event.at, event.code);
  }
}

function opened(
  life: Lifecycle,
  { sessionId, model, reloaded, waits }: Extract<LifeEvent, { type: "opened" }>,
): Lifecycle {
  if (reloaded && life.sessionId === sessionId && life.rest.state !== "starting") return { ...life, model };
  return { ...BEGINNING, sessionId, model, rest: { state: waits ? "idle" : "starting" } };
}

function begin(life: Lifecycle): Lifecycle {
  const { sessionId, model, turn } = life;
  return { ...BEGINNING, sessionId, model, turn: turn + 1, running: true };
}

/** At rest: as the run ended, or was cut off, or as it was before it. */
function settle(life: Lifecycle): Lifecycle {
  const cutOff: Outcome | undefined = life.running
    ? (life.heard ?? { state: "error", error: INTERRUPTED })
    : undefined;
  return {
    ...life,
    rest: cutOff ?? life.outcome ?? life.rest,
    running: false,
    outcome: undefined,
    compacting: false,
    waiting: undefined,
  };
}

function waiting(life: Lifecycle, note: string | undefined, at: number): Lifecycle {
  if (note === life.waiting?.note) return life;
  return { ...life, waiting: note === undefined ? undefined : { note, since: life.waiting?.since ?? at } };
}

function exited(life: Lifecycle, at: number, code: number | undefined): Lifecycle {
  const rested = settle(life);
  const exit = { at: life.exit?.at ?? at, code: code ?? life.exit?.code };
  // A command alone was all that print mode was asked, or pi said on stderr why there was no turn.
  const early = rested.rest.state === "starting";
  if (!early || code === undefined) return { ...rested, exit };
  return {
    ...rested,
    rest:
      code === 0
        ? { state: "idle" }
        : {
            state: "error",
            error: {
              class: "not-started",
              message: `pi ended with exit code ${code} before a turn began.`,
              nextAction: "read what pi wrote to stderr",
            },
          },
    exit,
  };
}
