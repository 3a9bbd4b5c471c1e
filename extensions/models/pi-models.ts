/** Which models pi offers, and as what each is sent: the server's list, and the documented ids always among them. */
import type { ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import { EFFORTS_OF_LEVELS, type ThinkingModel } from "../request/thinking.ts";
import { DOCUMENTED } from "./documented.ts";
import type { ServerModel } from "./server-list.ts";

/** How pi is told what the service takes, so that its own adapter comes close on every version. */
const COMPAT: ProviderModelConfig["compat"] = {
  thinkingFormat: "zai",
  maxTokensField: "max_tokens",
  supportsDeveloperRole: false,
  supportsStore: false,
  supportsStrictMode: false,
  supportsReasoningEffort: false,
  requiresReasoningContentOnAssistantMessages: true,
};

/** pi's levels; 0.73.1 has no `max` and looks past it. */
type Level = "off" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
type LevelMap = Partial<Record<Level, string | null>>;

/** The only level besides off of a model that takes no effort; pi's default, medium, is clamped up to it. */
const ON = "high";

/**
 * The models for pi. Without a list, or with an empty one, the documented table: there every level is offered, because
 * nobody knows what the models lack. A documented id that is not in the list has what its substitute has.
 */
export function piModels(list: readonly ServerModel[]): ProviderModelConfig[] {
  const [first] = list;
  if (first === undefined) {
    return DOCUMENTED.map((model) => entry({ ...model, reasoning: true }, model.id));
  }
  const listed = new Set(list.map(({ id }) => id));
  const missing = DOCUMENTED.filter(({ id }) => !listed.has(id)).map(({ id, name }) => {
    const substitute = substituteIn(list, first);
    return { ...substitute, id, name: `${name}, now ${substitute.name}`, sentAs: substitute.id };
  });
  return [...list.map((model) => ({ ...model, sentAs: model.id })), ...missing].map((model) => {
    const thinkingLevelMap = levelMap(model);
    const known = entry({ ...model, reasoning: model.thinking !== "none" }, model.sentAs);
    return thinkingLevelMap === undefined ? known : { ...known, thinkingLevelMap };
  });
}

interface Offered {
  readonly id: string;
  readonly name: string;
  readonly contextLength: number;
  readonly image: boolean;
  readonly reasoning: boolean;
}

/** Costs are 0: the plan is paid by the month. */
function entry({ id, name, contextLength, image, reasoning }: Offered, sentAs: string): ProviderModelConfig {
  return {
    id,
    name,
    reasoning,
    input: image ? ["text", "image"] : ["text"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: contextLength,
    maxTokens: Math.min(largestOutput(sentAs), contextLength),
    compat: COMPAT,
  };
}

/** In tokens, from the catalogues of September 2026; the list of the server does not say it. */
function largestOutput(id: string): number {
  return /(?:^|[^a-z0-9])k3(?![0-9])/i.test(id) ? 131_072 : 32_768;
}

/**
 * null hides a level on both hosts; xhigh, and max where the host knows it, are offered only where the map names them.
 * A hidden level that is asked for is clamped to the next higher one, else to the next lower.
 */
function levelMap({ thinking, efforts }: ServerModel): LevelMap | undefined {
  if (thinking === "none") return undefined;
  const map: LevelMap = thinking === "only" ? { off: null } : {};
  for (const [level, effort] of EFFORTS_OF_LEVELS) {
    if (efforts.length > 0) map[level] = efforts.includes(effort) ? effort : null;
    else if (level !== ON) map[level] = null;
  }
  return map;
}

function substituteIn(list: readonly ServerModel[], first: ServerModel): ServerModel {
  return list.find(({ id }) => id === DOCUMENTED[0].id) ?? first;
}

/** What a request for pi's model `id` says; an id that nobody knows (models.json) is sent as it is. */
export function wireModel(list: readonly ServerModel[], id: string): ThinkingModel & { readonly id: string } {
  const [first] = list;
  const own = list.find((model) => model.id === id);
  const documented = DOCUMENTED.some((model) => model.id === id);
  const model = own ?? (first && documented ? substituteIn(list, first) : undefined);
  if (model === undefined) return { id, thinking: "both" };
  const { thinking, efforts, defaultEffort } = model;
  return { id: model.id, thinking, efforts, defaultEffort };
}
