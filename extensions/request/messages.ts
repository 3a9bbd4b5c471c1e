/**
 * The conversation as Kimi accepts it: canonical roles and contents, and every tool call followed by its one result.
 * Messages that need nothing stay the same objects; texts are never walked.
 */
import * as contents from "./content.ts";
import type { JsonObject } from "./json.ts";
import * as json from "./json.ts";
import type { ToolCall } from "./tool-calls.ts";
import * as toolCalls from "./tool-calls.ts";
import type { ToolNames } from "./tool-names.ts";

// Taken out once: see json.ts.
const { canonicalContent } = contents;
const { isInOrder, isObject } = json;
const { canonicalCalls, canonicalId, idOf } = toolCalls;

type Message =
  | { readonly role: "system" | "user"; readonly sent: JsonObject }
  | { readonly role: "assistant"; readonly sent: JsonObject; readonly calls: readonly ToolCall[] }
  | { readonly role: "tool"; readonly sent: JsonObject; readonly callId: string };

const SAID_KEYS = ["role", "content"];
const ASSISTANT_KEYS = ["role", "content", "reasoning_content", "tool_calls"];
const RESULT_KEYS = ["role", "content", "tool_call_id"];

/** What both hosts say for a call that was never answered. */
const NO_RESULT = "No result provided";
/** What 0.87.1 says for a result without text; 0.73.1 says the other also where there is no image. */
const NO_OUTPUT = "(no tool output)";
const ONLY_IMAGE = "(see attached image)";
const NO_TEXT = "(no text output; images of the tools called together follow)";
const ATTACHED = "Attached image(s) from tool result:";

/**
 * What becomes of the reasoning of earlier answers. With thinking on every assistant message must carry
 * `reasoning_content`, be it empty. With thinking off what is there stays, as kimi-code does it: the cached prefix is the
 * same after switching off and on. A model that cannot think gets none.
 */
export type Reasoning = "required" | "kept" | "dropped";

export function canonicalMessages(
  given: readonly unknown[],
  reasoning: Reasoning,
  names: ToolNames,
): readonly unknown[] {
  const messages: Message[] = [];
  for (const entry of given) {
    const message = canonicalMessage(entry, reasoning, names);
    if (message !== undefined) messages.push(message);
  }
  return paired(messages);
}

function canonicalMessage(entry: unknown, reasoning: Reasoning, names: ToolNames): Message | undefined {
  if (!isObject(entry)) return undefined;
  switch (entry.role) {
    case "developer":
    case "system":
      return said("system", entry);
    case "user":
      return said("user", entry);
    case "assistant":
      return answered(entry, reasoning, names);
    case "tool":
      return result(entry);
    default:
      return undefined;
  }
}

function said(role: "system" | "user", entry: JsonObject): Message | undefined {
  const content = canonicalContent(entry.content);
  if (content === undefined) return undefined;
  const same = entry.role === role && entry.content === content && isInOrder(entry, SAID_KEYS);
  return { role, sent: same ? entry : { role, content } };
}

function answered(entry: JsonObject, reasoning: Reasoning, names: ToolNames): Message | undefined {
  const content = canonicalContent(entry.content) ?? null;
  const calls = canonicalCalls(entry.tool_calls, names);
  if (content === null && calls.length === 0) return undefined;
  const thought = reasoningFor(entry, reasoning);
  const same =
    entry.content === content &&
    entry.reasoning_content === thought &&
    entry.tool_calls === (calls.length > 0 ? calls : undefined) &&
    isInOrder(entry, ASSISTANT_KEYS);
  if (same) return { role: "assistant", sent: entry, calls };
  const sent: JsonObject = { role: "assistant", content };
  if (thought !== undefined) sent.reasoning_content = thought;
  if (calls.length > 0) sent.tool_calls = calls;
  return { role: "assistant", sent, calls };
}

function reasoningFor(entry: JsonObject, reasoning: Reasoning): string | undefined {
  if (reasoning === "dropped") return undefined;
  return reasoningOf(entry) ?? (reasoning === "required" ? "" : undefined);
}

/** pi replays thinking under the name of the field it came in; Kimi knows this one name. */
function reasoningOf(entry: JsonObject): string | undefined {
  if (typeof entry.reasoning_content === "string") return entry.reasoning_content;
  for (const field of [entry.reasoning, entry.reasoning_text]) {
    if (typeof field === "string") return field;
  }
  return undefined;
}

function result(entry: JsonObject): Message {
  const content = canonicalContent(entry.content) ?? NO_OUTPUT;
  const callId = idOf(entry.tool_call_id);
  const same = entry.content === content && entry.tool_call_id === callId && isInOrder(entry, RESULT_KEYS);
  return { role: "tool", sent: same ? entry : { role: "tool", content, tool_call_id: callId }, callId };
}

/**
 * Puts each call's result right behind it, wherever before the next answer it stood. A call without one gets a
 * synthetic result, a result without a call (its call was in an aborted turn, which pi leaves out) is dropped, and of
 * two calls with one id the later gets another: the first keeps it, so the prefix stays.
 */
function paired(messages: readonly Message[]): readonly unknown[] {
  const sent: unknown[] = [];
  const taken = new Set<string>();
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index];
    if (message === undefined || message.role === "tool") continue;
    if (message.role !== "assistant" || message.calls.length === 0) {
      sent.push(message.sent);
      continue;
    }
    const simple = onlyResult(messages, index, message.calls, taken);
    if (simple !== undefined) {
      sent.push(message.sent, simple);
      continue;
    }
    const ids = message.calls.map((call) => freeId(canonicalId(call.id), taken));
    sent.push(withIds(message.sent, message.calls, ids));
    const open = message.calls.map((call, position) => ({ asked: call.id, id: ids[position] ?? call.id }));
    const results = resultsUntilNextAnswer(messages, index + 1);
    for (const one of results.found) {
      const position = open.findIndex((call) => call.asked === one.callId);
      const [call] = position < 0 ? [] : open.splice(position, 1);
      if (call !== undefined) sent.push(resultFor(one.sent, call.id, results.found.length, results.images));
    }
    for (const call of open) sent.push({ role: "tool", content: NO_RESULT, tool_call_id: call.id });
  }
  return sent;
}

/** The usual turn, without a look around: one call, then its one result, and the next answer or nothing. */
function onlyResult(
  messages: readonly Message[],
  index: number,
  calls: readonly ToolCall[],
  taken: Set<string>,
): JsonObject | undefined {
  const call = calls[0];
  const next = messages[index + 1];
  const after = messages[index + 2];
  if (call === undefined || calls.length > 1 || next?.role !== "tool" || next.callId !== call.id)
    return undefined;
  if (after !== undefined && after.role !== "assistant") return undefined;
  if (taken.has(call.id) || canonicalId(call.id) !== call.id) return undefined;
  taken.add(call.id);
  return resultFor(next.sent, call.id, 1, false);
}

function freeId(id: string, taken: Set<string>): string {
  let free = id;
  for (let number = 2; taken.has(free); number++) free = `${id}_${number}`;
  taken.add(free);
  return free;
}

function withIds(sent: JsonObject, calls: readonly ToolCall[], ids: readonly string[]): JsonObject {
  if (calls.every((call, position) => call.id === ids[position])) return sent;
  return { ...sent, tool_calls: calls.map((call, position) => ({ ...call, id: ids[position] })) };
}

function resultsUntilNextAnswer(messages: readonly Message[], start: number) {
  const found: Extract<Message, { role: "tool" }>[] = [];
  let images = false;
  for (let index = start; index < messages.length; index++) {
    const message = messages[index];
    if (message === undefined || message.role === "assistant") break;
    if (message.role === "tool") found.push(message);
    else if (message.role === "user" && attachesImages(message.sent.content)) images = true;
  }
  return { found, images };
}

function attachesImages(content: unknown): boolean {
  return Array.isArray(content) && isObject(content[0]) && content[0].text === ATTACHED;
}

/**
 * The result under the id its call is sent with. The hosts differ in what they say where a tool gave no text; where
 * one of several results had an image it cannot be told which, so a sentence that is true for all of them stands in.
 */
function resultFor(sent: JsonObject, id: string, results: number, images: boolean): JsonObject {
  let content = sent.content;
  if (content === ONLY_IMAGE || content === NO_OUTPUT) {
    if (!images) content = NO_OUTPUT;
    else if (results > 1) content = NO_TEXT;
  }
  if (content === sent.content && sent.tool_call_id === id) return sent;
  return { role: "tool", content, tool_call_id: id };
}
