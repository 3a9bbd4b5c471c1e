/** The status file of this process: what pi says happened becomes states, and states become files. */
import { join } from "node:path";
import { type ExtensionAPI, type ExtensionContext, SettingsManager } from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "../configuration.ts";
import { ABORTED, classOf, type Said, type Why } from "./failure.ts";
import { BEGINNING, isBusy, type LifeEvent, next } from "./lifecycle.ts";
import { COMPLETED, NO_KEY, NO_MODEL, outcomeOf, textOf } from "./outcome.ts";
import { onProcessEnd } from "./process-end.ts";
import { createPublisher } from "./publish.ts";
import { contentOf, readQuota } from "./record.ts";
import {
  AFTER_COMPACTION,
  BEFORE_PROMPT,
  LONGEST_COMPACTION,
  patienceAfter,
  type RetrySettings,
  saysSettled,
  USUAL_RETRIES,
} from "./repetition.ts";
import { readBefore } from "./restore.ts";
import { whenAborted } from "./unheard-end.ts";

export interface StatusFile {
  /** Says that a request waits, and for what; undefined = it goes on. Never throws. */
  readonly waiting: (note: string | undefined) => void;
  /** Says why a request fails, with the sentence that pi is about to show. */
  readonly noteFailure: (sentence: string, why: Why) => void;
}

export interface StatusFileParts {
  /** Absolute. */
  readonly path: string;
  /** Whether this process has followed another session there. */
  readonly goesOn: boolean;
  readonly agentDir: string;
  readonly piVersion: string;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** Events that pi 0.73 does not have; it never fires them. */
interface Later {
  on(event: string, handler: () => void): void;
}

/** Why a session ends that another one follows in the same process. */
const REPLACED: ReadonlySet<string> = new Set(["reload", "new", "resume", "fork"]);

/** Writes the first state at once. Nothing of it throws into pi, or keeps the process alive. */
export function followStatus(pi: ExtensionAPI, parts: StatusFileParts): StatusFile {
  const { path, now } = parts;
  const { pid } = process;
  const hearsEnd = saysSettled(parts.piVersion);
  const quotaPath = join(parts.agentDir, `${PROVIDER}-usage.json`);
  const before = readBefore(path, parts.goesOn ? pid : undefined);
  const restored = before.state === "ours" ? before.life : undefined;

  let life = restored ?? BEGINNING;
  let context: ExtensionContext | undefined;
  let said: Said | undefined;
  let unsaid: string | undefined;
  /** Failed runs one after another. */
  let attempts = 0;
  let timer: NodeJS.Timeout | undefined;
  let over = false;

  const warn = (sentence: string) => {
    try {
      if (!context) unsaid = sentence;
      else if (context.hasUI) context.ui.notify(sentence, "warning");
      else console.error(sentence);
    } catch {
      // The session was replaced meanwhile.
    }
  };
  const publish = createPublisher({ path, before, now, warn });
  const tell = (event: LifeEvent) => {
    if (over) return;
    life = next(life, event);
    const quota = life.model?.startsWith(`${PROVIDER}/`) ? readQuota(quotaPath) : null;
    publish(contentOf(life, pid, quota));
  };
  const settleIn = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => tell({ type: "settled" }), ms);
    timer.unref();
  };
  const go = (event: LifeEvent) => {
    clearTimeout(timer);
    tell(event);
  };

  pi.on("session_start", ({ reason }, ctx) => {
    context = ctx;
    if (unsaid !== undefined) warn(unsaid);
    unsaid = undefined;
    attempts = 0;
    const sessionId = ctx.sessionManager.getSessionId();
    const waits = ctx.hasUI || REPLACED.has(reason);
    go({ type: "opened", sessionId, model: nameOf(ctx.model), reloaded: reason === "reload", waits });
  });
  pi.on("model_select", ({ model }) => tell({ type: "model", model: `${model.provider}/${model.id}` }));

  pi.on("input", (_event, ctx) => {
    if (isBusy(life)) return;
    if (!ctx.model) return tell({ type: "refused", error: NO_MODEL });
    if (!ctx.modelRegistry.hasConfiguredAuth(ctx.model)) tell({ type: "refused", error: NO_KEY });
  });
  pi.on("before_agent_start", () => {
    attempts = 0;
    go({ type: "prompted" });
  });
  const endUnheard = () => {
    if (!hearsEnd && life.running) go({ type: "ended", outcome: { state: "error", error: ABORTED } });
  };
  pi.on("agent_start", (_event, ctx) => {
    go({ type: "running" });
    if (hearsEnd) return;
    const { turn } = life;
    whenAborted(ctx, () => {
      if (!life.running || life.turn !== turn) return;
      endUnheard();
      go({ type: "settled" });
    });
  });
  pi.on("message_end", ({ message }) => {
    if (message.role !== "assistant") return;
    if (message.stopReason !== "error") attempts = 0;
    tell({ type: "said", text: textOf(message), heard: outcomeOf(message, said) });
  });
  pi.on("agent_end", ({ messages }, ctx) => {
    const answer = messages.findLast(({ role }) => role === "assistant");
    const outcome = (answer?.role === "assistant" && outcomeOf(answer, said)) || COMPLETED;
    if (outcome.state === "error") attempts += 1;
    go({ type: "ended", outcome });
    if (hearsEnd) return;
    const settings = outcome.state === "error" ? retrySettings(ctx.cwd, parts.agentDir) : USUAL_RETRIES;
    settleIn(patienceAfter(outcome, attempts, settings));
  });
  const later: Later = pi;
  later.on("agent_settled", () => go({ type: "settled" }));

  const compactionOver = () => {
    if (!life.compacting) return;
    const isRest = !life.running && life.outcome === undefined;
    if (isRest || !hearsEnd) settleIn(isRest ? BEFORE_PROMPT : AFTER_COMPACTION);
    else go({ type: "compacted" });
  };
  pi.on("session_before_compact", ({ signal }) => {
    endUnheard();
    go({ type: "compacting" });
    signal.addEventListener("abort", compactionOver, { once: true });
    settleIn(LONGEST_COMPACTION);
  });
  pi.on("session_compact", compactionOver);
  later.on("session_compact_failed", compactionOver);

  const forget = onProcessEnd((code) => tell({ type: "exited", at: now(), code }));
  pi.on("session_shutdown", ({ reason }) => {
    go({ type: "closed" });
    if (!REPLACED.has(reason)) return tell({ type: "exited", at: now(), code: undefined });
    // The next session has hooks of its own.
    over = true;
    forget();
  });

  if (!restored) tell({ type: "settled" });

  return {
    waiting: (note) => tell({ type: "waiting", note, at: now() }),
    noteFailure(sentence, why) {
      said = { sentence, class: classOf(why) };
      // Only a compaction asks while no run is under way; before 0.84.3 pi does not say that it failed.
      if (!hearsEnd && life.compacting && !life.running) settleIn(AFTER_COMPACTION);
    },
  };
}

/** pi's setting, as pi reads it when it needs it. */
function retrySettings(cwd: string, agentDir: string): RetrySettings {
  try {
    return SettingsManager.create(cwd, agentDir).getRetrySettings();
  } catch {
    return USUAL_RETRIES;
  }
}

function nameOf(model: ExtensionContext["model"]): string | undefined {
  return model && `${model.provider}/${model.id}`;
}
