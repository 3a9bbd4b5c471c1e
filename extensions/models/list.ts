/** The list of models: as the server gives it, as it is kept for the next start, offline too, and as pi offers it. */

import type { ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import type { Effort, ThinkingModel } from "../chat/payload/shape.ts";
import { FIRST_MODEL, isAtLeast, PROVIDER } from "../configuration.ts";
import { isJsonObject, type JsonObject, readJsonSync } from "../lib/json.ts";
import { fingerprint, oneLine } from "../lib/safe-text.ts";
import { hostsOf, parseRegion, type RegionsInUse, USUAL_REGION } from "../region.ts";

/** A model as the account has it. */
export interface ServerModel {
  /** As requests name it: printable ASCII without spaces. */
  readonly id: string;
  /** Safe to show on one line. */
  readonly name: string;
  /** In tokens. */
  readonly contextLength: number;
  readonly image: boolean;
  /** Whether it takes tools that a message brings in mid-session, which leave the cached prefix whole. */
  readonly lateTools: boolean;
  /** A toggle, always on, or no thinking at all. */
  readonly thinking: "both" | "only" | "none";
  /** What `effort` may say, weakest first; empty = the model takes none. */
  readonly efforts: readonly Effort[];
  readonly defaultEffort: Effort | undefined;
}

/** A longer list is cut. */
const MOST_MODELS = 64;
const LONGEST_NAME = 60;
/** What every model of the plan has had at least, in tokens; for an entry that does not say. */
const LEAST_CONTEXT = 262_144;
const LARGEST_CONTEXT = 100_000_000;

const EFFORTS: readonly Effort[] = ["low", "high", "max"];

/** Reads `{data: [{id, …}]}`. Never throws; empty when there is no model in it. The first of two equal ids counts. */
export function parseServerList(body: unknown): readonly ServerModel[] {
  const entries = isJsonObject(body) && Array.isArray(body.data) ? body.data : [];
  const models = new Map<string, ServerModel>();
  for (const entry of entries) {
    if (models.size >= MOST_MODELS) break;
    const model = parseEntry(entry);
    if (model && !models.has(model.id)) models.set(model.id, model);
  }
  return [...models.values()];
}

function parseEntry(entry: unknown): ServerModel | undefined {
  if (!isJsonObject(entry) || typeof entry.id !== "string" || !/^[\w./:@-]{1,100}$/.test(entry.id))
    return undefined;
  const thinking = readThinking(entry);
  const efforts = thinking === "none" ? [] : readEfforts(entry.think_efforts);
  return {
    id: entry.id,
    name:
      (typeof entry.display_name === "string" && oneLine(entry.display_name, LONGEST_NAME)) ||
      oneLine(entry.id, LONGEST_NAME),
    contextLength: readContext(entry.context_length),
    image: entry.supports_image_in === true,
    lateTools: entry.supports_dynamic_tools === true,
    thinking,
    efforts,
    defaultEffort: readDefault(entry.think_efforts, efforts),
  };
}

/** `supports_thinking_type` says it where it is given; entries of before that field say `supports_reasoning` alone. */
function readThinking({ supports_thinking_type: type, supports_reasoning: reasons }: JsonObject) {
  switch (type) {
    case "only":
    case "both":
      return type;
    case "no":
      return "none";
    default:
      return reasons === true ? "both" : "none";
  }
}

function readContext(value: unknown): number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= LARGEST_CONTEXT
    ? value
    : LEAST_CONTEXT;
}

function readEfforts(value: unknown): readonly Effort[] {
  if (!isJsonObject(value) || value.support !== true || !Array.isArray(value.valid_efforts)) return [];
  const declared: readonly unknown[] = value.valid_efforts;
  return EFFORTS.filter((effort) => declared.includes(effort));
}

function readDefault(value: unknown, efforts: readonly Effort[]): Effort | undefined {
  return isJsonObject(value) ? efforts.find((effort) => effort === value.default_effort) : undefined;
}

/** Whose list it is: a login by where it is kept, for access tokens change with every refresh, a key by its fingerprint. */
export interface ListOwner {
  readonly owner: string;
  readonly path: string;
}

export interface KeptList {
  readonly models: readonly ServerModel[];
  /** ms since the epoch. */
  readonly fetchedAt: number;
}

/**
 * The list kept in `path`, if it came from `baseUrl` and, where `account` is known, is that account's. Reads one small
 * file synchronously, for pi asks for the models while it loads extensions. Never throws.
 */
export function readKeptList(
  path: string,
  baseUrl: string,
  account: ListOwner | undefined,
): KeptList | undefined {
  const kept = readJsonSync(path);
  if (!isJsonObject(kept) || kept.baseUrl !== baseUrl) return undefined;
  if (account !== undefined && kept.account !== accountFingerprint(account)) return undefined;
  const models = parseServerList(kept);
  const { fetchedAt } = kept;
  return models.length > 0 && typeof fetchedAt === "number" && Number.isFinite(fetchedAt)
    ? { models, fetchedAt }
    : undefined;
}

/** With the address of the API, whose list a file holds. */
export function accountFingerprint({ owner, path }: ListOwner): string {
  return fingerprint(`${owner}\n${path}`);
}

/**
 * The list with which pi is to start: of the configured `key`, else of the login that pi's auth.json mirrors; empty where
 * none is kept. Reads two small files synchronously; never throws.
 */
export function readListAtStart(
  files: { readonly auth: string; readonly models: string },
  regions: RegionsInUse,
  key: string | undefined,
): readonly ServerModel[] {
  const entries = readJsonSync(files.auth);
  const entry = isJsonObject(entries) ? entries[PROVIDER] : undefined;
  const mirrored =
    isJsonObject(entry) && typeof entry.owner === "string" && typeof entry.source === "string"
      ? { owner: entry.owner, path: entry.source, region: parseRegion(entry.region) ?? USUAL_REGION }
      : undefined;
  const account =
    key === undefined ? mirrored : { owner: "key", path: fingerprint(key), region: regions[0].region };
  const { baseUrl } = account ? hostsOf(regions, account.region) : regions[0];
  return readKeptList(files.models, baseUrl, account)?.models ?? [];
}

/** Those of the documentation; their efforts are not known. */
const DOCUMENTED: readonly ServerModel[] = [
  documented(FIRST_MODEL, "Kimi for Coding (K2.6)"),
  documented("kimi-k2.6", "Kimi K2.6"),
  documented("kimi-k2-thinking", "Kimi K2 Thinking"),
];

function documented(id: string, name: string): ServerModel {
  return {
    id,
    name,
    contextLength: LEAST_CONTEXT,
    image: true,
    lateTools: false,
    thinking: "both",
    efforts: [],
    defaultEffort: undefined,
  };
}

/** How pi is told what the service takes, so that its own adapter comes close on every version. */
const COMPAT = {
  thinkingFormat: "zai",
  maxTokensField: "max_tokens",
  supportsDeveloperRole: false,
  supportsStore: false,
  supportsStrictMode: false,
  supportsReasoningEffort: false,
  requiresReasoningContentOnAssistantMessages: true,
} satisfies ProviderModelConfig["compat"];

/** Of pi 0.87 and later: tools that come in mid-session are sent where they came in, not at the front. */
const LATE_TOOLS = { supportsMidConvoSystemMessages: true, supportsMidConvoToolAdditions: true };

/** pi's levels. */
type Level = "off" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max";
type LevelMap = Partial<Record<Level, string | null>>;
/** The first pi that has `max`; what is older looks past it, and has `xhigh` as its largest level. */
const MAX_SINCE = [0, 80, 6];

/**
 * The models for pi. Without a list, or with an empty one, the documented table: there every level is offered, because
 * what the models lack is not known. A documented id that is not in the list has what its substitute has.
 */
export function piModels(list: readonly ServerModel[], piVersion: string): ProviderModelConfig[] {
  if (list.length === 0) return DOCUMENTED.map((model) => entry(model, model.id));
  const missing = DOCUMENTED.flatMap(({ id, name }) => {
    const sent = modelFor(list, id);
    return sent && sent.id !== id
      ? [{ ...sent, id, name: `${name}, now ${sent.name}`, sentAs: sent.id }]
      : [];
  });
  const largest = isAtLeast(piVersion, MAX_SINCE) ? "max" : "xhigh";
  return [...list.map((model) => ({ ...model, sentAs: model.id })), ...missing].map((model) => {
    const thinkingLevelMap = levelMap(model, largest);
    return { ...entry(model, model.sentAs), ...(thinkingLevelMap && { thinkingLevelMap }) };
  });
}

/** Costs are 0: the plan is paid by the month. */
function entry(model: ServerModel, sentAs: string): ProviderModelConfig {
  const { id, name, contextLength, image, thinking, lateTools } = model;
  return {
    id,
    name,
    reasoning: thinking !== "none",
    input: image ? ["text", "image"] : ["text"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: contextLength,
    maxTokens: Math.min(largestOutput(sentAs), contextLength),
    compat: lateTools ? { ...COMPAT, ...LATE_TOOLS } : COMPAT,
  };
}

/** In tokens, from the catalogues of September 2026; the list of the server does not say it. */
function largestOutput(id: string): number {
  return /(?:^|[^a-z0-9])k3(?![0-9])/i.test(id) ? 131_072 : 32_768;
}

/**
 * Of the levels that the service takes for the same effort one is offered. null hides a level; xhigh and max are offered
 * only where the map names them. pi takes a hidden one for the next higher one that is offered, else for the next lower:
 * minimal for low, medium for high, xhigh for max, as Kimi documents it.
 */
function levelMap({ thinking, efforts }: ServerModel, largest: "xhigh" | "max"): LevelMap | undefined {
  if (thinking === "none") return undefined;
  const one = (effort: Effort) => (efforts.includes(effort) ? effort : null);
  const levels = { minimal: null, low: one("low"), medium: null, xhigh: null, max: null };
  const high = efforts.length === 0 ? {} : { high: one("high"), [largest]: one("max") };
  return { ...(thinking === "only" ? { off: null } : {}), ...levels, ...high };
}

/**
 * What pi's model `id` is sent as: itself, or where a documented one is not listed any more kimi-for-coding, else the
 * first of the list. Undefined for an unknown id (models.json), and where there is no list.
 */
function modelFor(list: readonly ServerModel[], id: string): ServerModel | undefined {
  const own = list.find((model) => model.id === id);
  if (own || !DOCUMENTED.some((model) => model.id === id)) return own;
  return list.find((model) => model.id === FIRST_MODEL) ?? list[0];
}

/** What a request for pi's model `id` says; one that is not known is sent as it is. */
export function wireModel(list: readonly ServerModel[], id: string): ThinkingModel & { readonly id: string } {
  const model = modelFor(list, id);
  if (model === undefined) return { id, thinking: "both" };
  const { thinking, efforts, defaultEffort } = model;
  return { id: model.id, thinking, efforts, defaultEffort };
}
