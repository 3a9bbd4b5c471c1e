/** The one place that shows what a subcommand of `/kimi` answers. */
import { writeSync } from "node:fs";
import type { ExtensionCommandContext, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { modeArgument } from "./configuration.ts";
import { systemCode } from "./lib/json.ts";

/** One call of a subcommand. */
export interface Call {
  readonly ctx: ExtensionCommandContext;
  /** Of its options, those that were given. */
  readonly options: ReadonlySet<string>;
  readonly reply: Reply;
}

export type Run = (call: Call) => Promise<void>;

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

export function createReply(ctx: ExtensionCommandContext, keep: KeepAnswer): Reply {
  // Asked before anything is waited for: pi throws where the session was replaced meanwhile.
  const { hasUI, ui } = ctx;
  const onScreen = isTerminal(ctx);
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

/** In print mode pi turns `process.stdout` into stderr; the real one is for answers. In JSON mode it is for pi's events. */
function print(text: string): void {
  const file = modeArgument(process.argv) === "json" ? 2 : 1;
  let rest = Buffer.from(`${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(file, rest));
    } catch (error) {
      if (systemCode(error) !== "EAGAIN") return;
      // A pipe that is full for the moment.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** Whether this is pi's own screen: without one, and by RPC, an answer is text. */
export function isTerminal({ hasUI }: Pick<ExtensionContext, "hasUI">): boolean {
  return hasUI && modeArgument(process.argv) !== "rpc";
}
