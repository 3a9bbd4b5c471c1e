/** `/kimi tools`: which of Kimi's own tools the model has and why, and the switch. */
import { existsSync } from "node:fs";
import { type Configuration, ownFiles, type Switch, TOOLS, type Tool } from "../configuration.ts";
import { isJsonObject, type JsonObject, readJsonSync } from "../lib/json.ts";
import { keepJson } from "../lib/replace-file.ts";
import type { Line, Run } from "../reply.ts";
import { nameOf, type ToolState, type Tools } from "./offer.ts";

export interface ToolsCommandParts {
  readonly configuration: Configuration;
  readonly tools: Tools;
}

export function tools({ configuration, tools }: ToolsCommandParts): Run {
  return async ({ ctx, options, reply }) => {
    const { cwd, model } = ctx;
    const named = TOOLS.filter((tool) => options.has(tool));
    const [to, ...more] = (["on", "off"] as const).filter((word) => options.has(word));
    if (more.length > 0 || (to === undefined && (named.length > 0 || options.has("--global"))))
      return reply.complain(
        "Kimi Coder: say /kimi tools on or /kimi tools off, with search or fetch for one of them.",
      );
    if (to !== undefined) {
      if (configuration.tools)
        return reply.complain(
          "Kimi Coder: KIMI_CODER_TOOLS says which tools are on; unset it and start pi again.",
        );
      const states = tools.states({ cwd, model });
      // Naming a tool chooses it, whatever else does the same.
      const choose = ({ tool, rival }: ToolState): Switch =>
        to === "on" && rival !== undefined && named.includes(tool) ? "always" : to;
      const chosen = states.filter(({ tool }) => named.length === 0 || named.includes(tool));
      const switches = Object.fromEntries(chosen.map((state) => [state.tool, choose(state)]));
      const problem = await keep(ownFiles(configuration.agentDir).settings, switches, {
        project: cwd,
        global: options.has("--global"),
      });
      if (problem !== undefined) return reply.complain(`Kimi Coder: ${problem}`);
      tools.apply({ cwd, model });
    }
    reply.say(toolLines(tools.states({ cwd, model })));
  };
}

const JOB: Readonly<Record<Tool, string>> = {
  search: "searches the web; what is searched for goes to Kimi",
  fetch: "reads web pages; their addresses go to Kimi",
};

function toolLines(states: readonly ToolState[]): readonly Line[] {
  return [
    { text: "Kimi's own tools for the model, part of the plan", tone: "title" },
    ...states.flatMap((state): readonly Line[] => {
      const { tool } = state;
      return [
        { text: `${nameOf(tool)}: ${sayState(state)}`, tone: "plain" },
        { text: `  ${JOB[tool]}`, tone: "quiet" },
      ];
    }),
    { text: "/kimi tools on|off [search|fetch] for this project, with --global for all", tone: "quiet" },
  ];
}

const BY: Readonly<Record<ToolState["switch"]["by"], string>> = {
  variable: " by KIMI_CODER_TOOLS",
  project: " for this project",
  global: " for all projects",
  nobody: "",
};

function sayState({ tool, switch: { is, by }, isActive, rival }: ToolState): string {
  const other = rival === undefined ? "" : `; ${rival} does the same`;
  if (isActive) return `on${BY[by]}${other}`;
  if (is === "off") return `off${BY[by]}${other}`;
  if (is === "on" && rival !== undefined)
    return `on${BY[by]}, but left out, because ${rival} does the same; /kimi tools on ${tool} takes both`;
  return `on${BY[by]}, but not in use: pi 0.55.4 or later has it with a model of Kimi Coder, unless its options keep it out`;
}

/**
 * Keeps the switches for a project, or for all; this project's own then go. What else the file has stays. Says in half a
 * sentence what is in the way.
 */
async function keep(
  path: string,
  switches: Readonly<Record<string, Switch>>,
  { project, global }: { readonly project: string; readonly global: boolean },
): Promise<string | undefined> {
  const settings = existsSync(path) ? readJsonSync(path) : {};
  if (!isJsonObject(settings)) return `${path} cannot be read as JSON; correct it or remove it.`;
  const projects = objectIn(settings, "projects");
  const own = objectIn(projects, project);
  const before = Object.entries(objectIn(own, "tools"));
  const tools = global
    ? Object.fromEntries(before.filter(([tool]) => !Object.hasOwn(switches, tool)))
    : { ...Object.fromEntries(before), ...switches };
  const outcome = keepJson(path, {
    ...settings,
    ...(global ? { tools: { ...objectIn(settings, "tools"), ...switches } } : {}),
    projects: { ...projects, [project]: { ...own, tools } },
  });
  return outcome.state === "written"
    ? undefined
    : `${path} cannot be written (${outcome.code}); free the disk or make it writable.`;
}

function objectIn(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return isJsonObject(value) ? value : {};
}
