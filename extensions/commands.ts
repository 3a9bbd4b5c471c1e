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
import { oneLine } from "./lib/safe-text.ts";
import type { LoginPlaces } from "./login/dialog.ts";
import type { KeepAnswer, Run, Tone } from "./reply.ts";
import type { Runtime } from "./runtime.ts";
import type { Screen } from "./screen.ts";
import type { Tools } from "./tools/offer.ts";

interface Subcommand {
  readonly description: string;
  /** The words that may follow the name. */
  readonly options: readonly string[];
}

const SUBCOMMANDS = {
  status: { description: "The login in use, and what was really sent", options: ["--json"] },
  usage: { description: "How much of the plan is used, and when it renews", options: ["--json"] },
  doctor: { description: "What is wrong, and what to do about it", options: ["--all", "--json"] },
  tools: {
    description: "Kimi's own web search and fetch for the model, on or off",
    options: ["on", "off", "search", "fetch", "--global"],
  },
} as const satisfies Readonly<Record<string, Subcommand>>;

/** "overview" answers `/kimi` alone. */
type Name = keyof typeof SUBCOMMANDS | "overview";

const named: readonly [name: string, subcommand: Subcommand][] = Object.entries(SUBCOMMANDS);

export interface CommandParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly runtime: Lazy<Runtime>;
  readonly tools: Lazy<Tools>;
}

export function offerKimi(pi: ExtensionAPI, parts: CommandParts): void {
  const keep = keepAnswers(pi);
  const handle = async (argument: string, ctx: ExtensionCommandContext) => {
    const { createReply } = await inTurn(() => import("./reply.ts"));
    const reply = createReply(ctx, keep);
    const typed = parseTyped(argument);
    if (typeof typed === "string") return reply.complain(`Kimi Coder: ${typed}`);
    const { name, options } = typed;
    const run = await loadSubcommand(name, { ...parts, pi, runtime: await parts.runtime.load() });
    return run({ ctx, options, reply });
  };
  pi.registerCommand("kimi", {
    description: `Kimi Coder: an overview; ${named.map(([name]) => name).join(", ")}`,
    getArgumentCompletions: complete,
    handler: handle,
  });
  // So it was called in version 1.
  pi.registerCommand("kimi-usage", {
    description: SUBCOMMANDS.usage.description,
    handler: (argument, ctx) => handle(`usage ${argument}`, ctx),
  });
}

/** What was typed after `/kimi`; half a sentence where there is no such thing. */
function parseTyped(
  argument: string,
): { readonly name: Name; readonly options: ReadonlySet<string> } | string {
  const [typed = "", ...words] = argument.trim().split(/\s+/);
  const name = typed.toLowerCase();
  if (name === "") return { name: "overview", options: new Set() };
  if (!isSubcommand(name)) {
    const there = named.map(([one]) => `/kimi ${one}`).join(", ");
    return `there is no /kimi ${oneLine(typed, 40)}; there is ${there}.`;
  }
  const options: readonly string[] = SUBCOMMANDS[name].options;
  const stranger = words.find((word) => !options.includes(word));
  return stranger === undefined
    ? { name, options: new Set(words) }
    : `/kimi ${name} takes ${options.join(", ")}, not ${oneLine(stranger, 40)}.`;
}

function isSubcommand(name: string): name is keyof typeof SUBCOMMANDS {
  return Object.hasOwn(SUBCOMMANDS, name);
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
      return command({ usage: await usage.load(), clock });
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

/** pi's levels of any version. */
const LEVELS = ["off", "minimal", "low", "medium", "high", "xhigh", "max"] as const;

/** As pi 0.73 can be given it; its successor takes xhigh for `max` where a model has that alone. */
function parseLevel(word: string) {
  const level = LEVELS.find((one) => one === word);
  return level === "max" ? "xhigh" : level;
}

/** `/thinking <level>` where pi has no such command, and where pi's own refuses a level that equals one it offers. */
export function offerThinking(pi: ExtensionAPI, piVersion: string, screen: Screen): void {
  if (isAtLeast(piVersion, BUILT_IN_SINCE)) {
    pi.on("session_start", (_event, ctx) => {
      if (ctx.hasUI) ctx.ui.onTerminalInput((data) => answerTyped(pi, ctx, data));
    });
    return;
  }
  const offered = (): readonly string[] =>
    screen.ask(({ model }) => model && getSupportedThinkingLevels(model)) ?? [];
  pi.registerCommand("thinking", {
    description: "Set the thinking level of the model",
    getArgumentCompletions: (prefix) =>
      offered()
        .filter((level) => level.startsWith(prefix.trim()) && level !== prefix.trim())
        .map((level) => ({ value: level, label: level })),
    handler: async (argument, { hasUI, ui }) => {
      const wanted = argument.trim().toLowerCase();
      const levels = offered();
      const level = levels.length === 0 ? undefined : parseLevel(wanted);
      if (level !== undefined) pi.setThinkingLevel(level);
      const isRefused = level === undefined && wanted !== "";
      const now = pi.getThinkingLevel();
      const hint = levels.length > 0 ? `choose one of ${levels.join(", ")}` : "select a model first";
      const more = level === undefined ? `; ${hint}` : sayEqual(wanted, now);
      const text = `Thinking is ${isRefused ? "still " : ""}${now}${more}.`;
      if (hasUI) ui.notify(text, isRefused ? "warning" : "info");
      else console.error(text);
    },
  });
}

function sayEqual(wanted: string, now: string): string {
  return wanted === now ? "" : `, which is what this model has for ${wanted}`;
}

/** Enter, plain and as the keyboard protocol of newer terminals reports it. */
const ENTER = /^(?:\r|\n|\u001b\[13(?:;1(?::1)?)?u)$/;

/** pi's own command is told nothing of a level that it would refuse; like it, pi is given the level, and takes its equal. */
function answerTyped(
  pi: ExtensionAPI,
  { model, ui }: ExtensionContext,
  data: string,
): { consume: true } | undefined {
  if (!ENTER.test(data) || model?.provider !== PROVIDER) return undefined;
  const wanted = /^\/thinking\s+(\w+)\s*$/.exec(ui.getEditorText())?.[1]?.toLowerCase() ?? "";
  const level = parseLevel(wanted);
  const levels: readonly string[] = getSupportedThinkingLevels(model);
  if (level === undefined || levels.includes(wanted)) return undefined;
  ui.setEditorText("");
  pi.setThinkingLevel(level);
  ui.notify(`Thinking is ${pi.getThinkingLevel()}${sayEqual(wanted, pi.getThinkingLevel())}.`, "info");
  return { consume: true };
}

const LOGIN = /^\/login\s+kimi-coder(?:\s+(\S+))?\s*$/;
const LOGOUT = /^\/logout\s+kimi-coder\s*$/;

/** `refusal`: the answer to /login where a variable is wrong, or no person is there to log in. */
export function offerLogin(pi: ExtensionAPI, places: Lazy<LoginPlaces>, refusal: string | undefined): void {
  pi.on("input", async ({ text, source }, ctx): Promise<InputEventResult> => {
    const login = LOGIN.exec(text);
    if (!login && !LOGOUT.test(text)) return { action: "continue" };
    const [{ answerLogin, answerLogout }, loaded] = await Promise.all([
      inTurn(() => import("./login/dialog.ts")),
      places.load(),
    ]);
    if (login) await answerLogin(pi, loaded, { ctx, region: login[1], source, refusal });
    else await answerLogout(loaded, ctx);
    return { action: "handled" };
  });
}
