/** Finds the subcommand that was typed and lets it answer, or says what there is. */
import type { ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import { oneLine } from "../server-text.ts";
import type { Subcommand } from "./kimi.ts";
import { replyIn } from "./reply.ts";

/** `argument` is what was typed after `/kimi`. */
export async function answer(
  subcommands: readonly Subcommand[],
  argument: string,
  ctx: ExtensionCommandContext,
): Promise<void> {
  const reply = replyIn(ctx);
  const [name = "", ...words] = argument.trim().split(/\s+/);
  const subcommand = subcommands.find((candidate) => candidate.name === name.toLowerCase());
  const stranger = subcommand && words.find((word) => !subcommand.options.includes(word));
  if (subcommand && stranger === undefined) {
    const run = await subcommand.load();
    return run({ ctx, options: new Set(words), reply });
  }
  const there = `there is ${subcommands.map((one) => `/kimi ${one.name}`).join(", ")}.`;
  if (name === "") return reply.complain(`Kimi Coder: ${there}`);
  if (!subcommand) return reply.complain(`Kimi Coder: there is no /kimi ${oneLine(name, 40)}; ${there}`);
  const offered = subcommand.options.length > 0 ? subcommand.options.join(", ") : "no options";
  reply.complain(`Kimi Coder: /kimi ${subcommand.name} takes ${offered}, not ${oneLine(`${stranger}`, 40)}.`);
}
