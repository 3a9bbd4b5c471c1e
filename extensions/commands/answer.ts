/** Finds the subcommand that was typed and lets it answer, or says what there is. */
import type { ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import { oneLine } from "../server-text.ts";
import { type Name, type Run, SUBCOMMANDS, type Subcommand } from "./kimi.ts";
import { replyIn } from "./reply.ts";

/** `argument` is what was typed after `/kimi`. */
export async function answer(
  load: (name: Name) => Promise<Run>,
  argument: string,
  ctx: ExtensionCommandContext,
): Promise<void> {
  const reply = replyIn(ctx);
  const [typed = "", ...words] = argument.trim().split(/\s+/);
  const name = typed.toLowerCase();
  if (!isName(name)) {
    const there = `there is ${Object.keys(SUBCOMMANDS)
      .map((one) => `/kimi ${one}`)
      .join(", ")}.`;
    return reply.complain(
      typed === "" ? `Kimi Coder: ${there}` : `Kimi Coder: there is no /kimi ${oneLine(typed, 40)}; ${there}`,
    );
  }
  const { options }: Subcommand = SUBCOMMANDS[name];
  const stranger = words.find((word) => !options.includes(word));
  if (stranger !== undefined) {
    return reply.complain(
      `Kimi Coder: /kimi ${name} takes ${options.join(", ")}, not ${oneLine(stranger, 40)}.`,
    );
  }
  const run = await load(name);
  return run({ ctx, options: new Set(words), reply });
}

function isName(name: string): name is Name {
  return Object.hasOwn(SUBCOMMANDS, name);
}
