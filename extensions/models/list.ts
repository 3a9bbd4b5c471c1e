/** The list of models: as the server gives it, as it is kept for the next start, offline too, and as pi offers it. */

import { createHash } from "node:crypto";
import type { ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import type { Effort, ThinkingModel } from "../chat/payload/shape.ts";
import { isAtLeast, PROVIDER } from "../configuration.ts";
import { isJsonObject, type JsonObject, readJsonSync } from "../lib/json.ts";
import { inTurn } from "../lib/lazy.ts";
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

/** The models in the service's own form, which `parseServerList` reads back as they are. */
export function toServerList(models: readonly ServerModel[]): { readonly data: readonly JsonObject[] } {
  return {
    data: models.map(({ id, name, contextLength, image, lateTools, thinking, efforts, defaultEffort }) => ({
      id,
      display_name: name,
      context_length: contextLength,
      supports_image_in: image,
      supports_dynamic_tools: lateTools,
      supports_thinking_type: thinking === "none" ? "no" : thinking,
      think_efforts: { support: efforts.length > 0, valid_efforts: efforts, default_effort: defaultEffort },
    })),
  };
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

/** Many times what 64 models need. */
const LARGEST_FILE = 256 * 1024;

/**
 * The list kept in `path`, if it came from `baseUrl` and, where `account` is known, is that account's. Reads one small
 * file synchronously, for pi asks for the models while it loads extensions. Never throws.
 */
export function readKeptList(
  path: string,
  baseUrl: string,
  account: ListOwner | undefined,
): KeptList | undefined {
  const kept = readJsonSync(path, { limit: LARGEST_FILE });
  if (!isJsonObject(kept) || kept.baseUrl !== baseUrl) return undefined;
  if (account !== undefined && kept.account !== accountFingerprint(account)) return undefined;
  const models = parseServerList(kept);
  const { fetchedAt } = kept;
  return models.length > 0 && typeof fetchedAt === "number" && Number.isFinite(fetchedAt)
    ? { models, fetchedAt }
    : undefined;
}

/** Replaces the kept list (0600, atomic). Never throws; where it cannot be written the next start has the old one. */
export async function keepList(
  path: string,
  account: ListOwner & { readonly baseUrl: string },
  list: KeptList,
): Promise<void> {
  const { models, fetchedAt } = list;
  const { baseUrl } = account;
  const kept = { fetchedAt, baseUrl, account: accountFingerprint(account), ...toServerList(models) };
  const { keepJson } = await inTurn(() => import("../lib/replace-file.ts")); // not at pi's start
  await keepJson(path, kept);
}

function accountFingerprint({ owner, path }: ListOwner): string {
  return createHash("sha256").update(`${owner}\n${path}`).digest("hex").slice(0, 16);
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

/** A model of the documentation; its efforts are not known. */
export type DocumentedModel = Pick<ServerModel, "id" | "name" | "contextLength" | "image">;

/** The first is the one that the others are sent as when the server no longer lists them. */
export const DOCUMENTED: readonly [DocumentedModel, ...DocumentedModel[]] = [
  documented("kimi-for-coding", "Kimi for Coding (K2.6)"),
  documented("kimi-k2.6", "Kimi K2.6"),
  documented("kimi-k2-thinking", "Kimi K2 Thinking"),
];

function documented(id: string, name: string): DocumentedModel {
  return { id, name, contextLength: 262_144, image: true };
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
  const [first] = list;
  if (first === undefined) {
    return DOCUMENTED.map((model) => entry({ ...model, reasoning: true, lateTools: false }, model.id));
  }
  const listed = new Set(list.map(({ id }) => id));
  const missing = DOCUMENTED.filter(({ id }) => !listed.has(id)).map(({ id, name }) => {
    const substitute = substituteIn(list, first);
    return { ...substitute, id, name: `${name}, now ${substitute.name}`, sentAs: substitute.id };
  });
  return [...list.map((model) => ({ ...model, sentAs: model.id })), ...missing].map((model) => {
    const thinkingLevelMap = levelMap(model, isAtLeast(piVersion, MAX_SINCE) ? "max" : "xhigh");
    const known = entry({ ...model, reasoning: model.thinking !== "none" }, model.sentAs);
    return thinkingLevelMap === undefined ? known : { ...known, thinkingLevelMap };
  });
}

interface Offered extends DocumentedModel {
  readonly reasoning: boolean;
  readonly lateTools: boolean;
}

/** Costs are 0: the plan is paid by the month. */
function entry(offered: Offered, sentAs: string): ProviderModelConfig {
  const { id, name, contextLength, image, reasoning, lateTools } = offered;
  return {
    id,
    name,
    reasoning,
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

function substituteIn(list: readonly ServerModel[], first: ServerModel): ServerModel {
  return list.find(({ id }) => id === DOCUMENTED[0].id) ?? first;
}

/** What a request for pi's model `id` says; an unknown id (models.json) is sent as it is. */
export function wireModel(list: readonly ServerModel[], id: string): ThinkingModel & { readonly id: string } {
  const [first] = list;
  const own = list.find((model) => model.id === id);
  const documented = DOCUMENTED.some((model) => model.id === id);
  const model = own ?? (first && documented ? substituteIn(list, first) : undefined);
  if (model === undefined) return { id, thinking: "both" };
  const { thinking, efforts, defaultEffort } = model;
  return { id: model.id, thinking, efforts, defaultEffort };
}
