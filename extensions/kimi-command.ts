/** The command `/kimi`: a family of subcommands that each answer with lines of text. */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { oneLine } from "./server-text.ts";

export interface Subcommand {
  readonly name: string;
  readonly description: string;
  /** Its answer. */
  readonly run: (ctx: ExtensionContext) => Promise<string>;
}

export function offerKimi(pi: ExtensionAPI, subcommands: readonly Subcommand[]): void {
  const offered = subcommands.map(({ name }) => `/kimi ${name}`).join(", ");
  pi.registerCommand("kimi", {
    description: `Kimi Coder: ${subcommands.map(({ name }) => name).join(", ")}`,
    getArgumentCompletions: (prefix) =>
      subcommands
        .filter(({ name }) => name.startsWith(prefix.trim()))
        .map(({ name, description }) => ({ value: name, label: name, description })),
    handler: async (argument, ctx) => {
      const wanted = argument.trim();
      const subcommand = subcommands.find(({ name }) => name === wanted.toLowerCase());
      if (subcommand) return say(ctx, await subcommand.run(ctx), "info");
      const there = `there is ${offered}.`;
      const text = wanted === "" ? there : `there is no /kimi ${oneLine(wanted, 40)}; ${there}`;
      say(ctx, `Kimi Coder: ${text}`, "warning");
    },
  });
}

/** In print mode pi leaves only stderr to a command. */
function say(ctx: ExtensionContext, text: string, type: "info" | "warning"): void {
  if (ctx.hasUI) ctx.ui.notify(text, type);
  else console.error(text);
}
