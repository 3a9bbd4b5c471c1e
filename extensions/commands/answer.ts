/** Finds the subcommand that was typed and lets it answer, or says what there is. */
import type { ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import { oneLine } from "../server-text.ts";
import type { Run, Subcommand } from "./kimi.ts";
import { replyIn } from "./reply.ts";

/** `argument` is what was typed after `/kimi`. */
export async function answer<Name extends string>(
  subcommands: Readonly<Record<Name, Subcommand>>,
  load: (name: Name) => Promise<Run>,
  argument: string,
  ctx: ExtensionCommandContext,
): Promise<void> {
  const reply = replyIn(ctx);
  const [typed = "", ...words] = argument.trim().split(/\s+/);
  const name = typed.toLowerCase();
  if (!isIn(subcommands, name)) {
    const there = `there is ${Object.keys(subcommands)
      .map((one) => `/kimi ${one}`)
      .join(", ")}.`;
    return reply.complain(
      typed === "" ? `Kimi Coder: ${there}` : `Kimi Coder: there is no /kimi ${oneLine(typed, 40)}; ${there}`,
    );
  }
  const { options } = subcommands[name];
  const stranger = words.find((word) => !options.includes(word));
  if (stranger !== undefined) {
    return reply.complain(
      `Kimi Coder: /kimi ${name} takes ${options.join(", ")}, not ${oneLine(stranger, 40)}.`,
    );
  }
  const run = await load(name);
  return run({ ctx, options: new Set(words), reply });
}

function isIn<Name extends string>(record: Readonly<Record<Name, unknown>>, name: string): name is Name {
  return Object.hasOwn(record, name);
}
