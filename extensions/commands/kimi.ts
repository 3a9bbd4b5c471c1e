/** The command `/kimi`: a family of subcommands, each loaded when it is first called. */
import type { ExtensionAPI, ExtensionCommandContext } from "@mariozechner/pi-coding-agent";
import type { Reply } from "./reply.ts";

/** One call of a subcommand. */
export interface Call {
  readonly ctx: ExtensionCommandContext;
  /** Of its options, those that were given. */
  readonly options: ReadonlySet<string>;
  readonly reply: Reply;
}

export type Run = (call: Call) => Promise<void>;

export interface Subcommand {
  readonly name: string;
  readonly description: string;
  /** The words that may follow the name, such as `--json`. */
  readonly options: readonly string[];
  readonly load: () => Promise<Run>;
}

export function offerKimi(pi: ExtensionAPI, subcommands: readonly Subcommand[]): void {
  const names = subcommands.map(({ name }) => name);
  pi.registerCommand("kimi", {
    description: `Kimi Coder: ${names.join(", ")}`,
    getArgumentCompletions: (prefix) => complete(subcommands, prefix),
    async handler(argument, ctx) {
      const { answer } = await import("./answer.ts");
      await answer(subcommands, argument, ctx);
    },
  });
}

/** What may be typed after `/kimi `; `value` is the whole argument, as pi replaces all of it. */
function complete(subcommands: readonly Subcommand[], prefix: string) {
  const [name = "", ...words] = prefix.trimStart().split(/\s+/);
  if (words.length === 0) {
    return subcommands
      .filter((subcommand) => subcommand.name.startsWith(name))
      .map(({ name: value, description }) => ({ value, label: value, description }));
  }
  const last = words.at(-1) ?? name;
  const options = subcommands.find((subcommand) => subcommand.name === name)?.options ?? [];
  return options
    .filter((option) => option.startsWith(last) && !words.slice(0, -1).includes(option))
    .map((option) => ({ value: [name, ...words.slice(0, -1), option].join(" "), label: option }));
}
