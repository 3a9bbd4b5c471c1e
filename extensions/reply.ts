/** Finds the subcommand of `/kimi` that was typed, and is the one place that shows what it answers. */
import { writeSync } from "node:fs";
import type { ExtensionCommandContext, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { oneLine } from "./lib/safe-text.ts";

/** One call of a subcommand. */
export interface Call {
  readonly ctx: ExtensionCommandContext;
  /** Of its options, those that were given. */
  readonly options: ReadonlySet<string>;
  readonly reply: Reply;
}

export type Run = (call: Call) => Promise<void>;

export interface Subcommand {
  readonly description: string;
  /** The words that may follow the name. */
  readonly options: readonly string[];
  /** Whether there is a command `/kimi-<name>` too. */
  readonly alone?: boolean;
}

export interface Reply {
  /** The answer: lines that stay in a session, a notice by RPC, stdout from the shell. */
  readonly say: (answer: string | readonly Line[]) => void;
  /** The same as one JSON value. */
  readonly json: (value: unknown) => void;
  /** What was wrong with the call, or stands in the way of an answer; the shell sees a failure. */
  readonly complain: (text: string) => void;
  /** The answer is a bad one: the shell sees exit code 1. */
  readonly fail: () => void;
}

/** One line of an answer. */
export interface Line {
  readonly text: string;
  readonly tone: Tone;
}

/** What a line is, for its colour on the screen. */
export type Tone = "title" | "plain" | "quiet" | "bad" | "fix";

/** Puts an answer into the session of pi's own screen; false where it cannot be put there now. */
export type KeepAnswer = (lines: readonly Line[], isIdle: boolean) => boolean;

interface AnswerParts<Name extends string> {
  readonly subcommands: Readonly<Record<Name, Subcommand>>;
  readonly load: (name: Name | "overview") => Promise<Run>;
  readonly keep: KeepAnswer;
}

/** `argument` is what was typed after `/kimi`. */
export async function answer<Name extends string>(
  { subcommands, load, keep }: AnswerParts<Name>,
  argument: string,
  ctx: ExtensionCommandContext,
): Promise<void> {
  const reply = replyIn(ctx, keep);
  const [typed = "", ...words] = argument.trim().split(/\s+/);
  const name = typed.toLowerCase();
  if (name === "") return (await load("overview"))({ ctx, options: new Set(), reply });
  if (!isIn(subcommands, name)) {
    const there = Object.keys(subcommands).map((one) => `/kimi ${one}`);
    const what = `there is no /kimi ${oneLine(typed, 40)}; there is ${there.join(", ")}.`;
    return reply.complain(`Kimi Coder: ${what}`);
  }
  const { options } = subcommands[name];
  const stranger = words.find((word) => !options.includes(word));
  if (stranger !== undefined) {
    return reply.complain(
      `Kimi Coder: /kimi ${name} takes ${options.join(", ")}, not ${oneLine(stranger, 40)}.`,
    );
  }
  return (await load(name))({ ctx, options: new Set(words), reply });
}

function isIn<Name extends string>(record: Readonly<Record<Name, unknown>>, name: string): name is Name {
  return Object.hasOwn(record, name);
}

/** `arguments_` are those of the process. */
function replyIn(
  ctx: ExtensionCommandContext,
  keep: KeepAnswer,
  arguments_: readonly string[] = process.argv,
): Reply {
  // Asked before anything is waited for: pi throws where the session was replaced meanwhile.
  const { hasUI, ui } = ctx;
  const onScreen = isTerminal(ctx, arguments_);
  // In JSON mode stdout belongs to pi's events.
  const print = isJsonMode(arguments_) ? (text: string) => console.error(text) : printLine;
  const fail = () => {
    if (!hasUI) process.exitCode = 1;
  };
  const isKept = (lines: readonly Line[]) => {
    try {
      return keep(lines, ctx.isIdle());
    } catch {
      // The session that has asked was replaced meanwhile.
      return true;
    }
  };
  const say: Reply["say"] = (given) => {
    const lines = typeof given === "string" ? plain(given) : given;
    if (onScreen && isKept(lines)) return;
    const text = lines.map((line) => line.text).join("\n");
    if (hasUI) ui.notify(text, "info");
    else print(text);
  };
  return {
    say,
    json: (value) => say(JSON.stringify(value, null, 2)),
    complain(text) {
      if (hasUI) return ui.notify(text, "warning");
      console.error(text);
      fail();
    },
    fail,
  };
}

function plain(text: string): readonly Line[] {
  return text.split("\n").map((line) => ({ text: line, tone: "plain" }));
}

function isJsonMode(arguments_: readonly string[]): boolean {
  return arguments_.some((word, index) => word === "--mode" && arguments_[index + 1] === "json");
}

/** In print mode pi turns `process.stdout` into stderr, so that only answers come out of the real one. */
function printLine(text: string): void {
  let rest = Buffer.from(`${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      // A pipe that is full for the moment.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** `arguments_` are those of the process; pi 0.73 tells extensions nothing about its mode. */
export function isTerminal(
  ctx: Pick<ExtensionContext, "hasUI">,
  arguments_: readonly string[] = process.argv,
): boolean {
  if ("mode" in ctx && typeof ctx.mode === "string") return ctx.mode === "tui";
  return ctx.hasUI && !arguments_.some((word, index) => word === "--mode" && arguments_[index + 1] === "rpc");
}
