/** Where a command's answer goes: to the screen, to the RPC client, or to the shell that started pi. */
import { writeSync } from "node:fs";
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";

export interface Reply {
  /** The answer: a notice in a session, stdout from the shell. */
  readonly say: (text: string) => void;
  /** The same as one JSON value. */
  readonly json: (value: unknown) => void;
  /** What was wrong with the call, or stands in the way of an answer; the shell sees a failure. */
  readonly complain: (text: string) => void;
  /** The answer is a bad one: the shell sees exit code 1. */
  readonly fail: () => void;
}

/** `arguments_` are those of the process. */
export function replyIn(
  ctx: Pick<ExtensionContext, "hasUI" | "ui">,
  arguments_: readonly string[] = process.argv,
): Reply {
  const { hasUI, ui } = ctx;
  // In JSON mode stdout belongs to pi's events.
  const print = isJsonMode(arguments_) ? (text: string) => console.error(text) : printLine;
  const fail = () => {
    if (!hasUI) process.exitCode = 1;
  };
  const say = (text: string) => (hasUI ? ui.notify(text, "info") : print(text));
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
