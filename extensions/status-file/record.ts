/** The content of the status file; `status.schema.json` describes it for others. */
import { usedPercentAt } from "../usage/figures.ts";
import { type KeptFigures, readKeptFigures } from "../usage/kept.ts";
import { type Failure, type Lifecycle, type State, stateOf } from "./lifecycle.ts";

export interface StatusRecord {
  readonly version: 1;
  readonly pid: number;
  readonly sessionId: string | null;
  readonly state: State;
  readonly turn: number;
  /** ms since the epoch. */
  readonly changedAt: number;
  readonly model: string | null;
  readonly message: string | null;
  /** Where the message is, if it is long. */
  readonly messageFile: string | null;
  readonly error: Failure | null;
  readonly waiting: { readonly note: string; readonly since: number } | null;
  readonly quota: Quota | null;
  readonly exit: { readonly at: number; readonly code: number | null } | null;
}

interface Quota {
  readonly plan: string | null;
  readonly fetchedAt: number;
  readonly windows: readonly {
    readonly kind: string;
    readonly label: string;
    readonly usedPercent: number;
    readonly resetsAt: number | null;
  }[];
}

/** All of it but the time, and where a long message is. */
export type Content = Omit<StatusRecord, "changedAt" | "messageFile">;

export function contentOf(life: Lifecycle, pid: number, quota: Quota | null): Content {
  const state = stateOf(life);
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
    exit: exit ? { at: exit.at, code: exit.code ?? null } : null,
  };
}

/**
 * What is known of the plan's limits at `now` (ms): what was reset since is not used; null where nothing is known. Reads
 * one small file; never throws.
 */
export function readQuota(path: string, now: number = Date.now()): Quota | null {
  const kept = readKeptFigures(path);
  return kept ? quotaOf(kept, now) : null;
}

function quotaOf({ figures, fetchedAt }: KeptFigures, now: number): Quota {
  return {
    plan: figures.plan ?? null,
    fetchedAt,
    windows: figures.windows.map((window) => ({
      kind: window.kind,
      label: window.label,
      usedPercent: usedPercentAt(window, now, fetchedAt),
      resetsAt: window.resetsAt ?? null,
    })),
  };
}
