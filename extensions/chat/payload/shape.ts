/**
 * The request Kimi gets: one canonical body, whichever pi built the payload. Only the fields named here are sent, so
 * what the service refuses or ignores (`enable_thinking`, `reasoning_effort`, `store`, `temperature`, `tool_choice`, …)
 * cannot slip in with the next version of pi.
 */
import { isJsonObject as isObject, objectsIn } from "../../lib/json.ts";
import { bringsTools, canonicalMessages, type Reasoning } from "./messages.ts";
import { canonicalTools, nameOf, type ToolNames, toolNames } from "./tools.ts";

export interface RequestModel extends ThinkingModel {
  /** As the server calls it. */
  readonly id: string;
  /** Both in tokens. */
  readonly contextWindow: number;
  readonly maxTokens: number;
}

export interface RequestOptions {
  readonly model: RequestModel;
  /** pi's level; "off" or undefined = thinking off. */
  readonly thinkingLevel: string | undefined;
  /** pi's session id, under which Kimi keeps the prompt cache. */
  readonly sessionId: string | undefined;
  /**
   * The cap that the caller of the stream asked for, in tokens (compaction does); undefined = as much as the model
   * gives. What stands in the payload is not it: 0.73.1 puts 32,000 there and 0.87.1 its own estimate of what is left.
   */
  readonly maxTokens?: number | undefined;
}

export interface ShapedRequest {
  /** A new object, or the payload itself where it was no chat request. */
  readonly body: unknown;
  /** Turns the names in Kimi's tool calls back into those of pi's tools. */
  readonly toolNames: ToolNames;
}

/**
 * Shapes what pi's `openai-completions` adapter produced, which is not changed. Fields of the cached prefix come first
 * (tools, then messages) in an order that never changes. A payload that is no chat request comes back as it is. Rejects
 * where a tool's schema needs a repair that cannot be loaded.
 */
export async function shapeRequest(payload: unknown, options: RequestOptions): Promise<ShapedRequest> {
  if (!isObject(payload) || !Array.isArray(payload.messages))
    return { body: payload, toolNames: toolNames([]) };
  const { model, thinkingLevel, sessionId } = options;
  const given = objectsIn(payload.messages);
  const declared = new Map([[payload, objectsIn(payload.tools)]]);
  for (const message of given) if (bringsTools(message)) declared.set(message, objectsIn(message.tools));
  // Tools that are gone by now were called by names that Kimi may refuse.
  const called = given.flatMap((message) => objectsIn(message.tool_calls));
  const names = toolNames([...declared.values(), called].flat().flatMap(nameOf));
  const canonical = await canonicalTools(declared, names);
  const tools = canonical.get(payload) ?? [];
  const thinking = thinkingFor(model, thinkingLevel);
  const messages = canonicalMessages(given, reasoningFor(thinking), names, canonical);
  const asked = Math.min(model.maxTokens, options.maxTokens ?? model.maxTokens);
  const body = {
    model: model.id,
    ...(tools.length > 0 ? { tools } : {}),
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: outputCap(asked, model.contextWindow, messages, [...canonical.values()]),
    ...(thinking === undefined ? {} : { thinking }),
    ...(sessionId === undefined || sessionId === "" ? {} : { prompt_cache_key: sessionId }),
  };
  return { body, toolNames: names };
}

function reasoningFor(thinking: Thinking | undefined): Reasoning {
  if (thinking === undefined) return "dropped";
  return thinking.type === "enabled" ? "required" : "kept";
}

/** pi's own measure (0.87.1): four characters a token; what is counted in bytes is worse for us, hence safer. */
const BYTES_PER_TOKEN = 4;
const IMAGE_TOKENS = 1_500;
const MESSAGE_TOKENS = 8;
/** What pi 0.87.1 leaves free for the estimate's error. */
const SAFETY_TOKENS = 4_096;
/** A long prompt that was merely estimated too high must not be cut down to an answer of one word. */
const SHORTEST_ANSWER = 1_024;

/**
 * The output cap in tokens: `asked`, or what `contextWindow` leaves of it. Counted without a tokenizer. Where the estimate
 * leaves next to nothing the service decides: it refuses what does not fit with the very error on which pi compacts.
 */
function outputCap(
  asked: number,
  contextWindow: number,
  messages: readonly unknown[],
  tools: readonly unknown[],
): number {
  const bytes = Buffer.byteLength(JSON.stringify(tools));
  const left = contextWindow - SAFETY_TOKENS - Math.ceil(bytes / BYTES_PER_TOKEN) - tokensOf(messages);
  return Math.max(1, Math.floor(Math.min(asked, Math.max(SHORTEST_ANSWER, left))));
}

function tokensOf(messages: readonly unknown[]): number {
  let bytes = 0;
  let tokens = messages.length * MESSAGE_TOKENS;
  const add = (value: unknown) => {
    if (typeof value === "string") bytes += Buffer.byteLength(value);
  };
  for (const { content, reasoning_content, tool_calls } of objectsIn(messages)) {
    add(content);
    add(reasoning_content);
    for (const part of objectsIn(content)) {
      if (part.type === "text") add(part.text);
      else tokens += IMAGE_TOKENS;
    }
    if (Array.isArray(tool_calls)) add(JSON.stringify(tool_calls));
  }
  return tokens + Math.ceil(bytes / BYTES_PER_TOKEN);
}

export interface CacheOptions {
  readonly sessionId?: string | undefined;
  /** "none" = pi wants nothing kept. */
  readonly cacheRetention?: string | undefined;
}

/**
 * The session under which Kimi keeps what a request begins with: for summaries the conversation's own. pi 0.73.1 asks
 * for summaries without one, and its successor under one that it makes up each time (with `cacheRetention: "none"`);
 * both get `open`, the id of the session that is open.
 */
export function cacheSession(
  { sessionId, cacheRetention }: CacheOptions = {},
  open: () => string | undefined,
): string | undefined {
  return sessionId === undefined || cacheRetention === "none" ? (open() ?? sessionId) : sessionId;
}

/**
 * How pi's thinking level is said to Kimi: `thinking: {type, effort, keep}` and no other field.
 * kimi-code 2.1.0 sends exactly this; `reasoning_effort` and `enable_thinking` are ignored or refused by the service.
 */
export type Effort = "low" | "high" | "max";

export interface ThinkingModel {
  /** `supports_thinking_type` of the server's list: a toggle, always on, or no thinking at all. */
  readonly thinking: "both" | "only" | "none";
  /** What `think_efforts` declares; undefined or empty = the model takes no `effort`. */
  readonly efforts?: readonly Effort[] | undefined;
  readonly defaultEffort?: Effort | undefined;
}

export type Thinking =
  | { readonly type: "disabled" }
  /** `keep: "all"` lets the model see the reasoning of every earlier turn, which we send anyway. */
  | { readonly type: "enabled"; readonly effort?: Effort; readonly keep: "all" };

const SCALE: readonly Effort[] = ["low", "high", "max"];

/** Kimi's documented mapping from the wider scales of its clients; pi's levels but off. */
const EFFORT_OF_LEVEL: ReadonlyMap<string, Effort> = new Map([
  ["minimal", "low"],
  ["low", "low"],
  ["medium", "high"],
  ["high", "high"],
  ["xhigh", "max"],
  ["max", "max"],
] as const);

/**
 * What to send for pi's `level` ("off" or undefined = thinking off); undefined for a model that cannot think.
 * A model that cannot stop thinking is always enabled, then with the server's own default effort.
 */
export function thinkingFor(model: ThinkingModel, level: string | undefined): Thinking | undefined {
  if (model.thinking === "none") return undefined;
  const off = level === undefined || level === "off";
  if (off && model.thinking === "both") return { type: "disabled" };
  const effort = effortFor(model, off ? undefined : level);
  return effort === undefined ? { type: "enabled", keep: "all" } : { type: "enabled", effort, keep: "all" };
}

/** The declared effort nearest to what the level asks for; between two, the higher one, as pi clamps its levels. */
function effortFor(model: ThinkingModel, level: string | undefined): Effort | undefined {
  const declared = SCALE.filter((effort) => model.efforts?.includes(effort) === true);
  const asked = level === undefined ? undefined : EFFORT_OF_LEVEL.get(level);
  const wanted = asked ?? model.defaultEffort ?? "low";
  const distance = (effort: Effort) => Math.abs(SCALE.indexOf(effort) - SCALE.indexOf(wanted));
  return declared.reduce<Effort | undefined>(
    (best, effort) => (best === undefined || distance(effort) <= distance(best) ? effort : best),
    undefined,
  );
}
