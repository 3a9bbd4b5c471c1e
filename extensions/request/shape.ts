/**
 * The request Kimi gets: one canonical body, whichever pi built the payload. Only the fields named here are sent, so
 * what the service refuses or ignores (`enable_thinking`, `reasoning_effort`, `store`, `temperature`, `tool_choice`, …)
 * cannot slip in with the next version of pi.
 */
import * as json from "./json.ts";
import { canonicalMessages, type Reasoning } from "./messages.ts";
import { outputCap } from "./prompt-size.ts";
import { type Thinking, type ThinkingModel, thinkingFor } from "./thinking.ts";
import { type ToolNames, toolNames } from "./tool-names.ts";
import { canonicalTools, declaredNames, toolsLength } from "./tools.ts";

// Taken out once: see json.ts.
const { isObject } = json;

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
 * Shapes what pi's `openai-completions` adapter produced. The payload is not changed, and its parts that need nothing
 * are sent as the same objects. Fields of the cached prefix come first (tools, then messages) in an order that never
 * changes. Never throws; a payload that is no chat request comes back as it is.
 */
export function shapeRequest(payload: unknown, options: RequestOptions): ShapedRequest {
  if (!isObject(payload) || !Array.isArray(payload.messages))
    return { body: payload, toolNames: toolNames([]) };
  const { model, thinkingLevel, sessionId } = options;
  const given = Array.isArray(payload.tools) ? payload.tools : [];
  const names = toolNames(new Set([...declaredNames(given), ...calledNames(payload.messages)]));
  const tools = canonicalTools(given, names);
  const thinking = thinkingFor(model, thinkingLevel);
  const messages = canonicalMessages(payload.messages, reasoningFor(thinking), names);
  const asked = Math.min(model.maxTokens, options.maxTokens ?? model.maxTokens);
  const body = {
    model: model.id,
    ...(tools.length > 0 ? { tools } : {}),
    messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: outputCap(asked, model.contextWindow, messages, toolsLength(tools)),
    ...(thinking === undefined ? {} : { thinking }),
    ...(sessionId === undefined || sessionId === "" ? {} : { prompt_cache_key: sessionId }),
  };
  return { body, toolNames: names };
}

function reasoningFor(thinking: Thinking | undefined): Reasoning {
  if (thinking === undefined) return "dropped";
  return thinking.type === "enabled" ? "required" : "kept";
}

/** The names in the history: tools that are gone by now were called by names that Kimi may refuse. */
function calledNames(messages: readonly unknown[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const message of messages) {
    if (!isObject(message) || !Array.isArray(message.tool_calls)) continue;
    for (const call of message.tool_calls) {
      if (isObject(call) && isObject(call.function) && typeof call.function.name === "string") {
        names.add(call.function.name);
      }
    }
  }
  return names;
}
