/** What can be typed: `/kimi` and its family, `/thinking`, `/login kimi-coder` and `/logout kimi-coder`. */

import { getSupportedThinkingLevels } from "@mariozechner/pi-ai";
import type {
  ExtensionAPI,
  ExtensionCommandContext,
  ExtensionContext,
  InputEventResult,
  Theme,
} from "@mariozechner/pi-coding-agent";
import { Text } from "@mariozechner/pi-tui";
import { type Configuration, isAtLeast, PROVIDER } from "./configuration.ts";
import type { Versions } from "./identity.ts";
import { isJsonObject } from "./lib/json.ts";
import { inTurn, type Lazy } from "./lib/lazy.ts";
import type { LoginPlaces } from "./login/dialog.ts";
import type { KeepAnswer, Run, Subcommand, Tone } from "./reply.ts";
import type { Runtime } from "./runtime.ts";
import type { Tools } from "./tools/offer.ts";

const SUBCOMMANDS = {
  status: { description: "The login in use, and what was really sent", options: ["--json"] },
  usage: {
    description: "How much of the plan is used, and when it renews",
    options: ["--json"],
    alone: true,
  },
  doctor: { description: "What is wrong, and what to do about it", options: ["--all", "--json"] },
  tools: {
    description: "Kimi's own web search and fetch for the model, on or off",
    options: ["on", "off", "search", "fetch", "--global"],
  },
} as const satisfies Readonly<Record<string, Subcommand>>;

/** "overview" answers `/kimi` alone. */
export type Name = keyof typeof SUBCOMMANDS | "overview";

const named: readonly [name: string, subcommand: Subcommand][] = Object.entries(SUBCOMMANDS);

export interface CommandParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly runtime: Lazy<Runtime>;
  readonly tools: Lazy<Tools>;
}

export function offerKimi(pi: ExtensionAPI, parts: CommandParts): void {
  const keep = keepAnswers(pi);
  const load = async (name: Name) => {
    const runtime = await parts.runtime.load();
    return loadSubcommand(name, { ...parts, pi, runtime });
  };
  const handle = async (argument: string, ctx: ExtensionCommandContext) => {
    const { answer } = await inTurn(() => import("./reply.ts"));
    await answer({ subcommands: SUBCOMMANDS, load, keep }, argument, ctx);
  };
  pi.registerCommand("kimi", {
    description: `Kimi Coder: an overview; ${named.map(([name]) => name).join(", ")}`,
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

/** What answers a subcommand, loaded when it is called. */
async function loadSubcommand(
  name: Name,
  parts: Omit<CommandParts, "runtime"> & { readonly pi: ExtensionAPI; readonly runtime: Runtime },
): Promise<Run> {
  switch (name) {
    case "status":
      return (await inTurn(() => import("./status/command.ts"))).status(parts);
    case "overview":
      return (await inTurn(() => import("./status/command.ts"))).overview(parts);
    case "usage": {
      const { usage, clock } = parts.runtime;
      const { usage: command } = await inTurn(() => import("./quota/command.ts"));
      return command({ usage: await usage.load(), clock, columns: process.stdout.columns });
    }
    case "doctor":
      return (await inTurn(() => import("./doctor/command.ts"))).doctor(parts);
    case "tools": {
      const { tools } = await inTurn(() => import("./tools/command.ts"));
      return tools({ ...parts, tools: await parts.tools.load() });
    }
  }
}

/**
 * What may be typed after `/kimi `; `value` is the whole argument, as pi replaces all of it. Without what is typed in
 * full: while pi offers a completion, Enter takes that and does not yet send the command.
 */
export function complete(prefix: string) {
  const [wanted = "", ...words] = prefix.trimStart().split(/\s+/);
  if (words.length === 0) {
    return named
      .filter(([name]) => name.startsWith(wanted) && name !== wanted)
      .map(([name, { description }]) => ({ value: name, label: name, description }));
  }
  const last = words.at(-1) ?? wanted;
  const options = named.find(([name]) => name === wanted)?.[1].options ?? [];
  return options
    .filter((option) => option.startsWith(last) && !words.includes(option))
    .map((option) => ({ value: [wanted, ...words.slice(0, -1), option].join(" "), label: option }));
}

/** The type of the entries in a session that hold an answer. */
const ANSWER = "kimi-coder-answer";

/**
 * Draws the answers in a session, also in one that is resumed, and gives what puts them there; a notice would be gone
 * with the next one. The model gets nothing of them: an entry (pi 0.87 and later) is not sent, and a message without
 * content is left out of requests and compactions.
 */
function keepAnswers(pi: ExtensionAPI): KeepAnswer {
  if (drawsEntries(pi)) {
    pi.registerEntryRenderer(ANSWER, ({ data }, _options, theme) => draw(data, theme));
    return (lines) => {
      pi.appendEntry(ANSWER, { lines });
      return true;
    };
  }
  pi.registerMessageRenderer(ANSWER, ({ details }, _options, theme) => draw(details, theme));
  return (lines, isIdle) => {
    // During a turn it would make pi ask the model once more.
    if (isIdle) pi.sendMessage({ customType: ANSWER, content: [], display: true, details: { lines } });
    return isIdle;
  };
}

type DrawEntry = (entry: { readonly data?: unknown }, options: unknown, theme: Theme) => Text;

function drawsEntries(pi: object): pi is { registerEntryRenderer: (type: string, draw: DrawEntry) => void } {
  return "registerEntryRenderer" in pi && typeof pi.registerEntryRenderer === "function";
}

const COLOURS = { title: "accent", plain: "text", quiet: "dim", bad: "error", fix: "warning" } as const;

/** `data` is `{lines}`, as the session's file has kept it. */
function draw(data: unknown, theme: Theme): Text {
  const lines = isJsonObject(data) && Array.isArray(data.lines) ? data.lines : [];
  const painted = lines.flatMap((line: unknown) =>
    isJsonObject(line) && typeof line.text === "string"
      ? [theme.fg(COLOURS[isTone(line.tone) ? line.tone : "plain"], line.text)]
      : [],
  );
  return new Text(painted.join("\n"), 1, 0);
}

function isTone(tone: unknown): tone is Tone {
  return typeof tone === "string" && Object.hasOwn(COLOURS, tone);
}

/** The first pi with a `/thinking` of its own, behind which an extension's would be hidden and reported as a conflict. */
const BUILT_IN_SINCE = [0, 84, 3];

/** pi's levels of any version; what a pi without `/thinking` knows for each. */
const LEVELS = {
  off: "off",
  minimal: "minimal",
  low: "low",
  medium: "medium",
  high: "high",
  xhigh: "xhigh",
  max: "xhigh",
} as const;

/** `/thinking <level>` where pi has no such command, and where pi's own refuses a level that equals one it offers. */
export function offerThinking(pi: ExtensionAPI, piVersion: string): void {
  let context: ExtensionContext | undefined;
  const levels = (): readonly string[] => (context?.model ? getSupportedThinkingLevels(context.model) : []);
  pi.on("model_select", (_event, ctx) => {
    context = ctx;
  });
  if (isAtLeast(piVersion, BUILT_IN_SINCE)) {
    pi.on("session_start", (_event, ctx) => {
      context = ctx;
      if (ctx.hasUI) ctx.ui.onTerminalInput((data) => answerTyped(pi, ctx, data, levels));
    });
    return;
  }
  pi.on("session_start", (_event, ctx) => {
    context = ctx;
  });
  pi.registerCommand("thinking", {
    description: "Set the thinking level of the model",
    getArgumentCompletions: (prefix) =>
      levels()
        .filter((level) => level.startsWith(prefix.trim()) && level !== prefix.trim())
        .map((level) => ({ value: level, label: level })),
    handler: async (argument, ctx) => {
      context = ctx;
      const wanted = argument.trim().toLowerCase();
      const offered = levels();
      const known = isLevel(wanted) && offered.length > 0;
      if (known) pi.setThinkingLevel(LEVELS[wanted]);
      const now = pi.getThinkingLevel();
      const text = `Thinking is ${known || wanted === "" ? "" : "still "}${now}${why(wanted, known, now, offered)}.`;
      if (ctx.hasUI) ctx.ui.notify(text, known || wanted === "" ? "info" : "warning");
      else console.error(text);
    },
  });
}

/** Enter, plain and as the keyboard protocol of newer terminals reports it. */
const ENTER = /^(?:\r|\n|\u001b\[13(?:;1(?::1)?)?u)$/;

/** pi's own command is told nothing of a level that it would refuse; like it, pi is given the level, and takes its equal. */
function answerTyped(
  pi: ExtensionAPI,
  { model, ui }: ExtensionContext,
  data: string,
  levels: () => readonly string[],
): { consume: true } | undefined {
  if (!ENTER.test(data) || model?.provider !== PROVIDER) return undefined;
  const wanted = /^\/thinking\s+(\w+)\s*$/.exec(ui.getEditorText())?.[1]?.toLowerCase();
  if (wanted === undefined || !isLevel(wanted) || levels().includes(wanted)) return undefined;
  ui.setEditorText("");
  pi.setThinkingLevel(LEVELS[wanted]);
  ui.notify(`Thinking is ${pi.getThinkingLevel()}, which is what this model has for ${wanted}.`, "info");
  return { consume: true };
}

function isLevel(word: string): word is keyof typeof LEVELS {
  return Object.hasOwn(LEVELS, word);
}

function why(wanted: string, known: boolean, now: string, offered: readonly string[]): string {
  if (known) return wanted === now ? "" : `, which is what this model has for ${wanted}`;
  return offered.length > 0 ? `; choose one of ${offered.join(", ")}` : "; select a model first";
}

const TYPED = /^\/login\s+kimi-coder(?:\s+(\S+))?\s*$/;

/** `refusal`: the sentence that answers where no person can log in. */
export function offerLogin(pi: ExtensionAPI, places: Lazy<LoginPlaces>, refusal: string | undefined): void {
  pi.on("input", async (event, ctx): Promise<InputEventResult> => {
    if (/^\/logout\s+kimi-coder\s*$/.test(event.text)) {
      const [{ answerLogout }, loaded] = await Promise.all([
        inTurn(() => import("./login/dialog.ts")),
        places.load(),
      ]);
      await answerLogout(loaded, ctx);
      return { action: "handled" };
    }
    const typed = TYPED.exec(event.text);
    if (!typed) return { action: "continue" };
    const [{ answerLogin }, loaded] = await Promise.all([
      inTurn(() => import("./login/dialog.ts")),
      places.load(),
    ]);
    await answerLogin(pi, loaded, { ctx, region: typed[1], source: event.source, refusal });
    return { action: "handled" };
  });
}
