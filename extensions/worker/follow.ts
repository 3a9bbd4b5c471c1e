/** The worker's listener: pi's events become the record, the record the status file. Loaded where one is asked for. */
import { constants } from "node:os";
import { join } from "node:path";
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "../configuration.ts";
import { isJsonObject } from "../lib/json.ts";
import { readKeptFigures, readKeptJson } from "../quota/kept.ts";
import { type Beginning, beginningOf, readBeginning, sessionUse } from "../quota/session-use.ts";
import { selectedModel, type Watcher } from "../screen.ts";
import { classOf, type Failure, NO_KEY, NO_MODEL } from "./failure.ts";
import { AFTER_ABORT, hearUntold, isOlder, longestRetryPause, silenceAfter } from "./older-pi.ts";
import {
  BEGINNING,
  contentOf,
  type Life,
  next,
  type Plan,
  quotaOf,
  usageOf,
  type WorkerEvent,
} from "./record.ts";
import { claim, openStatusFile, type Surroundings, statusPath } from "./status-file.ts";

/** Events that pi 0.73 does not have, and never fires. */
interface Later {
  on(event: string, handler: (event: unknown) => void): void;
}

/** The record of this process: pi builds the extension again for /new and /reload. The number changes with `Life`. */
const KEY = Symbol.for("pi-kimi-coder.worker.2");

function isLife(value: unknown): value is Life {
  return typeof value === "object" && value !== null && "rest" in value;
}

/**
 * Follows pi where `env` asks for it and no pi above this one has the file, and writes the first state at once; undefined
 * where nothing is written. Nothing of it throws into pi, or keeps the process alive.
 */
export function followWorker(
  pi: ExtensionAPI,
  env: Record<string, string | undefined>,
  surroundings: Surroundings,
  piVersion: string,
): Watcher | undefined {
  const path = statusPath(env, surroundings);
  if (path === undefined || !claim(env, path)) return undefined;
  const { agentDir } = surroundings;
  const { pid } = process;
  const now = Date.now;
  const older = isOlder(piVersion);
  const figures = join(agentDir, `${PROVIDER}-usage.json`);
  const write = openStatusFile(path);
  let context: ExtensionContext | undefined;
  let entries: () => readonly unknown[] = () => [];
  /** How much was used when the session began, or when the first figures of this account were known. */
  let beginning: Beginning | undefined;
  let hasWarned = false;
  let silence: NodeJS.Timeout | undefined;
  let replaced = false;
  const before: unknown = Reflect.get(globalThis, KEY);
  let life = isLife(before) ? before : BEGINNING;

  function publish(): void {
    const plan = life.model?.startsWith(`${PROVIDER}/`) ? readPlan() : undefined;
    const complaint = write(contentOf(life, pid, plan));
    if (complaint === undefined || !context || hasWarned) return;
    hasWarned = true;
    say(context, complaint);
  }

  /** The plan's limits as they were last fetched, and what the session has used of them. Fetches nothing. */
  function readPlan(): Plan {
    const kept = readKeptFigures(figures);
    const account = readKeptJson(figures)?.account;
    if (kept && typeof account === "string" && beginning?.account !== account) {
      beginning = readBeginning(entries(), account) ?? beginningOf(kept, account);
    }
    const quota = kept ? quotaOf(kept, now()) : null;
    return { quota, usage: usageOf(sessionUse(entries(), beginning, kept)) };
  }

  function hear(event: WorkerEvent): void {
    if (replaced) return;
    life = next(life, event);
    Reflect.set(globalThis, KEY, life);
    publish();
    const longestPause = () => longestRetryPause(context?.cwd ?? process.cwd(), agentDir);
    const patience = silenceAfter(event, life, older, longestPause);
    if (patience === "told") clearTimeout(silence);
    else if (patience !== "unchanged") waitForSilence(patience);
  }

  /** Takes pi for settled when nothing was heard for so many ms, unless it is still busy with what was aborted. */
  function waitForSilence(ms: number): void {
    clearTimeout(silence);
    if (replaced || life.exit) return;
    silence = setTimeout(() => {
      if (context?.isIdle() === false) waitForSilence(AFTER_ABORT);
      else hear({ type: "silence" });
    }, ms);
    silence.unref();
  }

  if (older) {
    hearUntold(
      pi,
      () => waitForSilence(AFTER_ABORT),
      () => hear({ type: "session_compact" }),
    );
  }
  pi.on("session_start", ({ reason }, ctx) => {
    context = ctx;
    const { hasUI, sessionManager } = ctx;
    entries = () => sessionManager.getEntries();
    hear({
      type: "session_start",
      reason,
      sessionId: sessionManager.getSessionId(),
      model: nameOf(selectedModel(ctx)),
      hasUI,
    });
  });
  pi.on("model_select", (selected) => hear({ type: "model_select", model: nameOf(selectedModel(selected)) }));
  pi.on("input", (_event, ctx) => hear({ type: "input", refusal: refusalOf(ctx) }));
  pi.on("before_agent_start", () => hear({ type: "before_agent_start" }));
  pi.on("agent_start", () => hear({ type: "agent_start" }));
  pi.on("agent_end", ({ messages }) => {
    const answer = messages.findLast(({ role }) => role === "assistant");
    hear({ type: "agent_end", answer: answer?.role === "assistant" ? answer : undefined });
  });
  pi.on("session_before_compact", () => hear({ type: "session_before_compact" }));
  pi.on("session_compact", () => hear({ type: "session_compact" }));
  const later: Later = pi;
  later.on("session_compact_failed", () => hear({ type: "session_compact" }));
  later.on("agent_settled", (event) => {
    hear({ type: "agent_settled", aborted: isJsonObject(event) && event.aborted === true });
  });
  const forget = onProcessEnd((code) => hear({ type: "exit", at: now(), code }));
  pi.on("session_shutdown", ({ reason }) => {
    hear({ type: "session_shutdown", reason, at: now() });
    if (life.exit) return;
    // The next session has listeners of its own.
    replaced = true;
    forget();
  });

  if (life === BEGINNING) publish();

  return {
    waiting: (note) => hear({ type: "request_waits", note, at: now() }),
    noteFailure: (sentence, why) => hear({ type: "request_fails", said: { sentence, class: classOf(why) } }),
  };
}

/** Shows a sentence on the screen, else on stderr; nothing once the session is over. */
function say(context: ExtensionContext, sentence: string): void {
  try {
    if (context.hasUI) context.ui.notify(sentence, "warning");
    else console.error(sentence);
  } catch {
    // pi refuses a context that is no longer the session's.
  }
}

function nameOf(model: ExtensionContext["model"]): string | undefined {
  return model && `${model.provider}/${model.id}`;
}

function refusalOf(ctx: ExtensionContext): Failure | undefined {
  const model = selectedModel(ctx);
  if (!model) return NO_MODEL;
  const { modelRegistry } = ctx;
  // An old pi, 0.58.4 for one, leaves that to its store.
  const hasAuth =
    modelRegistry.hasConfiguredAuth?.(model) ?? modelRegistry.authStorage.hasAuth(model.provider);
  return hasAuth ? undefined : NO_KEY;
}

/** The signals that pi ends by in every mode. */
const SIGNALS = ["SIGTERM", "SIGHUP"] as const;

/**
 * Calls `ended` with the exit code, for a signal 128 and its number; returns what ends that. What becomes of the process
 * is what would have become of it without this: signal-exit, which all hosts have loaded, kills it at once where it
 * finds no listener but its own, and pi 0.87 and later remove their own as the first thing that they do.
 */
function onProcessEnd(ended: (code: number) => void): () => void {
  // Taken off the list before it is called, so that it is counted once.
  const endedBy = (signal: NodeJS.Signals) => {
    ended(128 + constants.signals[signal]);
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  process.on("exit", ended);
  for (const signal of SIGNALS) process.prependOnceListener(signal, endedBy);
  return () => {
    process.off("exit", ended);
    for (const signal of SIGNALS) process.off(signal, endedBy);
  };
}
