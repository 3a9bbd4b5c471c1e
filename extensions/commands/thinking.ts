/** `/thinking <level>` for the pi versions that have no such command of their own. */
import { getSupportedThinkingLevels } from "@mariozechner/pi-ai";
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";

/** The first pi with a `/thinking` of its own; there an extension's is hidden behind it and reported as a conflict. */
const BUILT_IN_SINCE = [0, 84, 3];

export function offerThinking(pi: ExtensionAPI, piVersion: string): void {
  if (isAtLeast(piVersion, BUILT_IN_SINCE)) return;
  let context: ExtensionContext | undefined;
  pi.on("session_start", (_event, ctx) => {
    context = ctx;
  });
  pi.on("model_select", (_event, ctx) => {
    context = ctx;
  });
  const levels = () => (context?.model ? getSupportedThinkingLevels(context.model) : []);

  pi.registerCommand("thinking", {
    description: "Set the thinking level of the model",
    getArgumentCompletions: (prefix) =>
      levels()
        .filter((level) => level.startsWith(prefix.trim()))
        .map((level) => ({ value: level, label: level })),
    handler: async (argument, ctx) => {
      context = ctx;
      const wanted = argument.trim().toLowerCase();
      const offered = levels();
      const level = offered.find((candidate) => candidate === wanted);
      if (level) pi.setThinkingLevel(level);
      const now = `Thinking is ${level || wanted === "" ? "" : "still "}${pi.getThinkingLevel()}`;
      const choice =
        offered.length > 0 ? `; choose one of ${offered.join(", ")}.` : "; select a model first.";
      const text = level ? `${now}.` : `${now}${choice}`;
      if (ctx.hasUI) ctx.ui.notify(text, level || wanted === "" ? "info" : "warning");
      else console.error(text);
    },
  });
}

/** Compares the numbers of a version; what cannot be read counts as old. */
export function isAtLeast(version: string, wanted: readonly number[]): boolean {
  const numbers = version.split(/[.\-+]/).map(Number);
  for (const [index, want] of wanted.entries()) {
    const have = numbers[index] ?? 0;
    if (Number.isNaN(have) || have < want) return false;
    if (have > want) return true;
  }
  return true;
}
