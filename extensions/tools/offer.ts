/**
 * Kimi's own search and fetch as tools of pi: offered while a model of ours is selected, and not changed within a
 * session unless the user switches them, for with the tools the cached prefix would change. Loaded where one is
 * switched on, or asked about; what a call needs is loaded by the first one.
 */
import { type ExtensionAPI, type ExtensionContext, keyHint, type Theme } from "@mariozechner/pi-coding-agent";
import { Text } from "@mariozechner/pi-tui";
import {
  type Configuration,
  PROVIDER,
  readToolSwitches,
  TOOLS,
  type Tool,
  type ToolSwitch,
} from "../configuration.ts";
import { isJsonObject } from "../lib/json.ts";
import { inTurn, type Lazy, mustLoad } from "../lib/lazy.ts";
import { oneLine } from "../lib/safe-text.ts";
import type { CallParts } from "./call.ts";

export interface ToolsParts {
  readonly configuration: Configuration;
  /** What a request is sent with. */
  readonly runtime: Pick<Lazy<CallParts>, "load">;
}

/** How it stands with a tool in a session. */
export interface ToolState {
  readonly tool: Tool;
  readonly switch: ToolSwitch;
  /** Whether the model has it now. */
  readonly isActive: boolean;
  /** Another active tool that does the same. */
  readonly rival: string | undefined;
}

type Session = Pick<ExtensionContext, "cwd" | "model">;

export class Tools {
  private readonly pi: ExtensionAPI;
  private readonly parts: ToolsParts;
  private readonly registered = new Set<Tool>();
  /** Whether a model of ours was selected when this was looked at. */
  private isOurs = false;

  constructor(pi: ExtensionAPI, parts: ToolsParts) {
    this.pi = pi;
    this.parts = parts;
    pi.on("model_select", ({ model }, { cwd }) => {
      if ((model.provider === PROVIDER) !== this.isOurs) this.apply({ cwd, model });
    });
  }

  /** Gives the session the tools that are switched on, and takes away the others. */
  apply(session: Session): void {
    const { pi, registered } = this;
    this.isOurs = session.model?.provider === PROVIDER;
    const wanted = this.isOurs
      ? this.states(session)
          .filter(isWanted)
          .map(({ tool }) => tool)
      : [];
    for (const tool of wanted) {
      if (registered.has(tool)) continue;
      registered.add(tool);
      pi.registerTool(define(tool, this.parts));
    }
    const active = pi.getActiveTools();
    const others = active.filter((name) => !TOOLS.some((tool) => nameOf(tool) === name));
    const names = [...others, ...wanted.map(nameOf)];
    if (names.join() !== active.join()) pi.setActiveTools(names);
  }

  states({ cwd }: Session): readonly ToolState[] {
    const switches = readToolSwitches(this.parts.configuration, cwd);
    const active = this.pi.getActiveTools();
    const all = this.pi.getAllTools().filter(({ name }) => active.includes(name));
    return TOOLS.map((tool) => ({
      tool,
      switch: switches[tool],
      isActive: active.includes(nameOf(tool)),
      rival: all.find((other) => doesSame(tool, other))?.name,
    }));
  }
}

/** What the model calls it. */
export function nameOf(tool: Tool): string {
  return `kimi_${tool}`;
}

function isWanted({ switch: { is }, rival }: ToolState): boolean {
  return is === "always" || (is === "on" && rival === undefined);
}

const SAME: Readonly<Record<Tool, RegExp>> = {
  search:
    /\b(?:web|internet|online) ?search|\bsearch(?:es|ing)? (?:on |through )?(?:the )?(?:live )?(?:web|internet)\b|\b(?:brave|tavily|exa|kagi|google|bing|duckduckgo|searxng|serper|perplexity) search/i,
  fetch:
    /^fetch(?: content)?:|\bweb ?fetch|\b(?:fetch|read|scrap|crawl|extract|retriev)(?:e?s|e|ing)?\b.{0,40}\b(?:urls?|web ?pages?|web ?sites?)\b/i,
};
/** Of a description, in characters: what follows is about details. */
const FIRST_WORDS = 200;

/** Judged by its name and how it describes itself. */
export function doesSame(
  tool: Tool,
  { name, description }: { readonly name: string; readonly description: string },
): boolean {
  if (TOOLS.some((ours) => nameOf(ours) === name)) return false;
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[^A-Za-z0-9]+/g, " ");
  return SAME[tool].test(`${words}: ${description.slice(0, FIRST_WORDS)}`);
}

/** Plain JSON Schema, which both hosts check arguments by. */
const SCHEMA = {
  search: {
    type: "object",
    properties: {
      query: { type: "string", minLength: 1, description: "What to search for" },
      limit: { type: "integer", minimum: 1, maximum: 20, description: "How many results; 5 by default" },
    },
    required: ["query"],
  },
  fetch: {
    type: "object",
    properties: { url: { type: "string", description: "Begins with https:// or http://" } },
    required: ["url"],
  },
} as const;

const DESCRIPTION: Readonly<Record<Tool, string>> = {
  search: "Search the web. Gives titles, addresses, dates and snippets.",
  fetch:
    "Get a public web page as Markdown. Fetched by a remote server, so it reaches nothing on this machine or in a private network.",
};

/** Without a snippet for the system prompt, which then stays the same when a user switches the tools. */
function define(tool: Tool, { runtime }: ToolsParts): Parameters<ExtensionAPI["registerTool"]>[0] {
  return {
    name: nameOf(tool),
    label: nameOf(tool),
    description: DESCRIPTION[tool],
    parameters: SCHEMA[tool],
    async execute(callId, given, signal, _update, session) {
      const [{ call }, used] = await mustLoad(
        Promise.all([inTurn(() => import("./call.ts")), runtime.load()]),
      );
      const { text, ...details } = await call(used, { tool, given, callId, signal, session });
      return { content: [{ type: "text", text }], details };
    },
    renderCall: (given, theme) => drawCall(tool, given, theme),
    renderResult: ({ content, details }, { expanded }, theme, { isError }) => {
      const text = content.map((part) => (part.type === "text" ? part.text : "")).join("\n");
      if (isError) return new Text(theme.fg("error", text), 0, 0);
      return new Text(expanded ? theme.fg("toolOutput", text) : drawSummary(details, theme), 0, 0);
    },
  };
}

/** Characters of what was asked, on the screen. */
const LONGEST_SHOWN = 100;

/** `given` may be half of what the model says, or not what it should be. */
function drawCall(tool: Tool, given: unknown, theme: Theme): Text {
  const asked = oneLine(memberOf(given, tool === "search" ? "query" : "url"), LONGEST_SHOWN);
  return new Text(`${theme.fg("toolTitle", theme.bold(nameOf(tool)))} ${theme.fg("accent", asked)}`, 0, 0);
}

function drawSummary(details: unknown, theme: Theme): string {
  return `${theme.fg("toolOutput", memberOf(details, "summary"))} ${theme.fg("muted", "(")}${keyHint("app.tools.expand", "to expand")}${theme.fg("muted", ")")}`;
}

function memberOf(value: unknown, name: "summary" | "query" | "url"): string {
  const member = isJsonObject(value) ? value[name] : undefined;
  return typeof member === "string" ? member : "";
}
