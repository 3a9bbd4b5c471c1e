/** Kimi's rules for the messages of a chat request: roles, what may be empty, and the pairing of tool calls. */
import { isObject } from "./json.ts";
import type { JsonObject, ModelEntry } from "./types.ts";

export const TOOL_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;
export const TOOL_NAME_RULE =
  "must start with a letter and can contain letters, numbers, underscores, and dashes";

/** `{role: "system", tools}`, and not even `content: null`: Kimi's form of tools that come in mid-session. */
export function isBringingTools(message: unknown): boolean {
  return isObject(message) && message.role === "system" && "tools" in message && !("content" in message);
}

/** What is wrong with the messages, or undefined. `thinking`: whether this request leaves it on. */
export function checkMessages(messages: unknown, model: ModelEntry, thinking: boolean): string | undefined {
  if (!Array.isArray(messages) || messages.length === 0) return "messages must not be empty";
  /** Tool calls of the last assistant message that wait for their result. */
  let open = new Set<string>();
  for (const [index, message] of messages.entries()) {
    if (!isObject(message)) return `the message at position ${index} must be an object`;
    if (message.role === "tool") {
      const id = message.tool_call_id;
      if (typeof id !== "string" || !open.delete(id)) return "tool_call_id is not found";
    } else if (open.size > 0) {
      return unanswered(open);
    }
    const problem = checkMessage(message, index, model, thinking);
    if (problem) return problem;
    if (message.role === "assistant") open = new Set(calls(message).map((call) => String(call.id)));
  }
  return open.size > 0 ? unanswered(open) : undefined;
}

function unanswered(ids: ReadonlySet<string>): string {
  return `an assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${[...ids].join(", ")}`;
}

function checkMessage(
  message: JsonObject,
  index: number,
  model: ModelEntry,
  thinking: boolean,
): string | undefined {
  // Its tools are judged with the others.
  if (isBringingTools(message)) return model.supports_dynamic_tools ? undefined : "tokenization failed";
  switch (message.role) {
    case "system":
    case "user":
    case "tool":
      return isEmpty(message.content) ? empty(index, message.role) : checkContent(message.content, model);
    case "assistant":
      return checkAssistant(message, index, model, thinking);
    default:
      return `role '${String(message.role)}' is not allowed`;
  }
}

function checkAssistant(
  message: JsonObject,
  index: number,
  model: ModelEntry,
  thinking: boolean,
): string | undefined {
  const { content, reasoning_content, tool_calls } = message;
  const absent = content === undefined || content === null;
  const called = calls(message);
  if (tool_calls !== undefined && !Array.isArray(tool_calls)) return "tool_calls must be an array";
  if (Array.isArray(tool_calls) && called.length < tool_calls.length) return "tool_calls must be objects";
  if (isEmpty(content) && !(absent && called.length > 0)) return empty(index, "assistant");
  if (reasoning_content !== undefined && typeof reasoning_content !== "string") {
    return `reasoning_content must be a string at index ${index}`;
  }
  if (thinking && reasoning_content === undefined) {
    const which = called.length > 0 ? "assistant tool call message" : "assistant message";
    return `thinking is enabled but reasoning_content is missing in ${which} at index ${index}`;
  }
  return (absent ? undefined : checkContent(content, model)) ?? checkCalls(called);
}

function calls(message: JsonObject): JsonObject[] {
  return Array.isArray(message.tool_calls) ? message.tool_calls.filter(isObject) : [];
}

function checkCalls(called: readonly JsonObject[]): string | undefined {
  const ids = new Set<unknown>();
  for (const { id, type, function: target } of called) {
    if (typeof id !== "string" || id === "" || ids.has(id)) return "tool_call_id is missing or duplicated";
    ids.add(id);
    if (type !== "function" || !isObject(target)) return "tool call type must be function";
    if (typeof target.name !== "string" || !TOOL_NAME.test(target.name)) {
      return `function name is invalid, ${TOOL_NAME_RULE}`;
    }
    if (typeof target.arguments !== "string") return "function arguments must be a string";
  }
  return undefined;
}

function isEmpty(content: unknown): boolean {
  return (
    content === undefined ||
    content === null ||
    content === "" ||
    (Array.isArray(content) && content.length === 0)
  );
}

function empty(index: number, role: string): string {
  return `the message at position ${index} with role '${role}' must not be empty`;
}

function checkContent(content: unknown, model: ModelEntry): string | undefined {
  if (typeof content === "string") return undefined;
  if (!Array.isArray(content)) return "content must be a string or an array of parts";
  for (const part of content) {
    const problem = checkPart(part, model);
    if (problem) return problem;
  }
  return undefined;
}

function checkPart(part: unknown, model: ModelEntry): string | undefined {
  if (!isObject(part)) return "a content part must be an object";
  switch (part.type) {
    case "text":
      if (typeof part.text !== "string") return "text content must be a string";
      return part.text === "" ? "text content is empty" : undefined;
    case "image_url":
      if (!model.supports_image_in) return `image input is not supported by ${model.id}`;
      return checkPicture(isObject(part.image_url) ? String(part.image_url.url) : "");
    default:
      return `content type '${String(part.type)}' is not supported`;
  }
}

/** The pictures that kimi-code sends, and how they begin; others end in this answer (MoonshotAI/kimi-cli#2017). */
const PICTURES: Readonly<Record<string, RegExp>> = {
  png: /^89504e470d0a1a0a/,
  jpeg: /^ffd8ff/,
  gif: /^47494638(37|39)61/,
  webp: /^52494646.{8}57454250/,
};

function checkPicture(url: string): string | undefined {
  // The service fetches nothing from elsewhere.
  if (!url.startsWith("data:")) return "invalid image_url";
  const [, type = "", data = ""] = /^data:image\/([a-z]+);base64,([A-Za-z0-9+/]+={0,2})$/.exec(url) ?? [];
  const bytes = Buffer.from(data.slice(0, 32), "base64").toString("hex");
  return PICTURES[type]?.test(bytes) ? undefined : "unsupported image format";
}
