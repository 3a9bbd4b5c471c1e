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
  readonly description: string;
  /** The words that may follow the name. */
  readonly options: readonly string[];
  /** Whether there is a command `/kimi-<name>` too. */
  readonly alone?: boolean;
}

const SUBCOMMANDS = {
  status: { description: "The login in use, and what was really sent", options: ["--json"] },
  usage: {
    description: "How much of the plan is used, and when it renews",
    options: ["--json"],
    alone: true,
  },
  doctor: { description: "Checks all that can be wrong, and says what to do", options: ["--json"] },
} as const satisfies Readonly<Record<string, Subcommand>>;

export type Name = keyof typeof SUBCOMMANDS;

const named: readonly [name: string, subcommand: Subcommand][] = Object.entries(SUBCOMMANDS);

/** `load` loads what answers a subcommand. */
export function offerKimi(pi: ExtensionAPI, load: (name: Name) => Promise<Run>): void {
  const handle = async (argument: string, ctx: ExtensionCommandContext) => {
    const { answer } = await import("./answer.ts");
    await answer(SUBCOMMANDS, load, argument, ctx);
  };
  pi.registerCommand("kimi", {
    description: `Kimi Coder: ${named.map(([name]) => name).join(", ")}`,
    getArgumentCompletions: complete,
    handler: handle,
  });
  for (const [name, { description, alone }] of named) {
    if (!alone) continue;
    pi.registerCommand(`kimi-${name}`, {
      description,
      handler: (argument, ctx) => handle(`${name} ${argument}`, ctx),
    });
  }
}

/** What may be typed after `/kimi `; `value` is the whole argument, as pi replaces all of it. */
function complete(prefix: string) {
  const [wanted = "", ...words] = prefix.trimStart().split(/\s+/);
  if (words.length === 0) {
    return named
      .filter(([name]) => name.startsWith(wanted))
      .map(([name, { description }]) => ({ value: name, label: name, description }));
  }
  const last = words.at(-1) ?? wanted;
  const options = named.find(([name]) => name === wanted)?.[1].options ?? [];
  return options
    .filter((option) => option.startsWith(last) && !words.slice(0, -1).includes(option))
    .map((option) => ({ value: [wanted, ...words.slice(0, -1), option].join(" "), label: option }));
}
