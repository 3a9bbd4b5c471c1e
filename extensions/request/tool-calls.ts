/** The calls inside an assistant message: each with an id, a name Kimi takes, and arguments that are a JSON object. */
import type { JsonObject } from "./json.ts";
import * as json from "./json.ts";
import type { ToolNames } from "./tool-names.ts";

// Taken out once: see json.ts.
const { isBlank, isInOrder, isObject } = json;

export interface ToolCall extends JsonObject {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

const NONE: readonly ToolCall[] = [];
const CALL_KEYS = ["id", "type", "function"];
const FUNCTION_KEYS = ["name", "arguments"];

/** An id as a text; a host may have left it out, and `canonicalId` then gives it one. */
export function idOf(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" ? String(value) : "";
}

/** Ids of OpenAI's Responses API, taken over from a session begun there: 0.73.1 keeps the call, 0.87.1 adds a hash. */
const RESPONSES_CALL = /^(call_[A-Za-z0-9]{24})_[A-Za-z0-9_]+$/;

/** The id both hosts' forms of the same call come down to. Kimi's own ids are left alone: the model continues them. */
export function canonicalId(id: string): string {
  if (isBlank(id)) return "call";
  return id.startsWith("call_") ? (RESPONSES_CALL.exec(id)?.[1] ?? id) : id;
}

/** The calls in canonical form, the same array when it already is; calls that name no tool are left out. */
export function canonicalCalls(given: unknown, names: ToolNames): readonly ToolCall[] {
  if (!Array.isArray(given)) return NONE;
  let changed = false;
  const calls: ToolCall[] = [];
  for (const entry of given) {
    const call = canonicalCall(entry, names);
    if (call !== entry) changed = true;
    if (call !== undefined) calls.push(call);
  }
  return changed ? calls : given;
}

function canonicalCall(entry: unknown, names: ToolNames): ToolCall | undefined {
  if (!isObject(entry) || !isObject(entry.function) || typeof entry.function.name !== "string")
    return undefined;
  const name = names.toKimi(entry.function.name);
  const text = canonicalArguments(entry.function.arguments);
  if (isCanonical(entry, name, text)) return entry;
  return { id: idOf(entry.id), type: "function", function: { name, arguments: text } };
}

function isCanonical(entry: JsonObject, name: string, text: string): entry is ToolCall {
  return (
    typeof entry.id === "string" &&
    entry.type === "function" &&
    isObject(entry.function) &&
    entry.function.name === name &&
    entry.function.arguments === text &&
    isInOrder(entry, CALL_KEYS) &&
    isInOrder(entry.function, FUNCTION_KEYS)
  );
}

/**
 * Arguments as the text of a JSON object. Both adapters write them with `JSON.stringify`, so a text in braces is one
 * and is not parsed again (the calls of a long session are megabytes); anything else is wrapped, so that nothing is lost.
 */
function canonicalArguments(given: unknown): string {
  if (typeof given !== "string") return isObject(given) ? JSON.stringify(given) : "{}";
  if (given.startsWith("{") && given.endsWith("}")) return given;
  if (isBlank(given)) return "{}";
  const value = parsed(given);
  if (value === null) return "{}";
  return JSON.stringify(isObject(value) ? value : { value });
}

/** The value, or the text itself where it is no JSON; a text that holds JSON once more is opened too. */
function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" && value.startsWith("{") ? parsed(value) : value;
  } catch {
    return text;
  }
}
