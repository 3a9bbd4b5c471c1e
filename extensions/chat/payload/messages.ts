/**
 * The conversation as Kimi accepts it: canonical roles and contents, calls that have an id and a JSON object of arguments,
 * and every one of them followed by its one result. Texts are never walked.
 */
import { isBlank, isJsonObject as isObject, type JsonObject } from "../../lib/json.ts";
import { type Content, canonicalContent } from "./content.ts";
import type { ToolNames } from "./tools.ts";

type Message =
  | { readonly role: "system" | "user"; readonly sent: JsonObject }
  /** `sent` is without the calls, which get their ids later. */
  | { readonly role: "assistant"; readonly sent: JsonObject; readonly calls: readonly ToolCall[] }
  | { readonly role: "tool"; readonly content: Content; readonly callId: string };

interface ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

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

/** Tools that came in mid-session, by the message that brings them; see `lateTools`. */
export type LateTools = ReadonlyMap<unknown, readonly JsonObject[]>;

export function canonicalMessages(
  given: readonly unknown[],
  reasoning: Reasoning,
  names: ToolNames,
  late: LateTools,
): readonly unknown[] {
  const messages: Message[] = [];
  for (const entry of given) {
    const tools = late.get(entry);
    const message = tools === undefined ? canonicalMessage(entry, reasoning, names) : bringing(tools);
    if (message !== undefined) messages.push(message);
  }
  return paired(messages);
}

/**
 * The tools of a message that does nothing but bring further ones, as Kimi documents it for models with
 * `supports_dynamic_tools`: `{role: "system", tools}`, and no `content`, not even null. Of pi 0.87 and later.
 */
export function lateTools(entry: unknown): readonly unknown[] | undefined {
  if (!isObject(entry) || entry.role !== "system" || entry.content !== undefined) return undefined;
  return Array.isArray(entry.tools) ? entry.tools : undefined;
}

function bringing(tools: readonly JsonObject[]): Message | undefined {
  return tools.length === 0 ? undefined : { role: "system", sent: { role: "system", tools } };
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
  return content === undefined ? undefined : { role, sent: { role, content } };
}

function answered(entry: JsonObject, reasoning: Reasoning, names: ToolNames): Message | undefined {
  const content = canonicalContent(entry.content) ?? null;
  const calls = canonicalCalls(entry.tool_calls, names);
  if (content === null && calls.length === 0) return undefined;
  const thought = reasoningFor(entry, reasoning);
  const thinking = thought === undefined ? {} : { reasoning_content: thought };
  return { role: "assistant", sent: { role: "assistant", content, ...thinking }, calls };
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
  return { role: "tool", content, callId: idOf(entry.tool_call_id) };
}

/**
 * Puts each call's result right behind it, wherever before the next answer it stood. A call without one gets a
 * synthetic result, a result without a call (its call was in an aborted turn, which pi leaves out) is dropped, and of
 * two calls with one id the later gets another: the first keeps it, so the prefix stays.
 */
function paired(messages: readonly Message[]): readonly unknown[] {
  const sent: unknown[] = [];
  const taken = new Set<string>();
  for (const [index, message] of messages.entries()) {
    if (message.role === "tool") continue;
    if (message.role !== "assistant" || message.calls.length === 0) {
      sent.push(message.sent);
      continue;
    }
    const calls = message.calls.map((call) => ({ ...call, id: freeId(canonicalId(call.id), taken) }));
    sent.push({ ...message.sent, tool_calls: calls });
    const open = message.calls.map(({ id: asked }, position) => ({ asked, id: calls[position]?.id }));
    const { results, images } = resultsUntilNextAnswer(messages, index + 1);
    for (const one of results) {
      const position = open.findIndex((call) => call.asked === one.callId);
      const [call] = position < 0 ? [] : open.splice(position, 1);
      if (call === undefined) continue;
      const content = resultContent(one.content, results.length, images);
      sent.push({ role: "tool", content, tool_call_id: call.id });
    }
    for (const call of open) sent.push({ role: "tool", content: NO_RESULT, tool_call_id: call.id });
  }
  return sent;
}

function freeId(id: string, taken: Set<string>): string {
  let free = id;
  for (let number = 2; taken.has(free); number++) free = `${id}_${number}`;
  taken.add(free);
  return free;
}

function resultsUntilNextAnswer(messages: readonly Message[], start: number) {
  const results: Extract<Message, { role: "tool" }>[] = [];
  let images = false;
  for (let index = start; index < messages.length; index++) {
    const message = messages[index];
    if (message === undefined || message.role === "assistant") break;
    if (message.role === "tool") results.push(message);
    else if (message.role === "user" && attachesImages(message.sent.content)) images = true;
  }
  return { results, images };
}

function attachesImages(content: unknown): boolean {
  return Array.isArray(content) && isObject(content[0]) && content[0].text === ATTACHED;
}

/**
 * What a result says. The hosts differ where a tool gave no text; where one of several results had an image it cannot
 * be told which, so a sentence that is true for all of them stands in.
 */
function resultContent(content: Content, results: number, images: boolean): Content {
  if (content !== ONLY_IMAGE && content !== NO_OUTPUT) return content;
  if (!images) return NO_OUTPUT;
  return results > 1 ? NO_TEXT : content;
}

/** An id as a text; a host may have left it out, and `canonicalId` then gives it one. */
function idOf(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" ? String(value) : "";
}

/** Ids of OpenAI's Responses API, taken over from a session begun there: 0.73.1 keeps the call, 0.87.1 adds a hash. */
const RESPONSES_CALL = /^(call_[A-Za-z0-9]{24})_[A-Za-z0-9_]+$/;

/** The id both hosts' forms of the same call come down to. Kimi's own ids are left alone: the model continues them. */
function canonicalId(id: string): string {
  if (isBlank(id)) return "call";
  return id.startsWith("call_") ? (RESPONSES_CALL.exec(id)?.[1] ?? id) : id;
}

/** The calls in canonical form; those that name no tool are left out. */
function canonicalCalls(given: unknown, names: ToolNames): readonly ToolCall[] {
  if (!Array.isArray(given)) return [];
  return given.flatMap((entry: unknown) => {
    if (!isObject(entry) || !isObject(entry.function)) return [];
    const { name, arguments: given } = entry.function;
    if (typeof name !== "string") return [];
    const spoken = { name: names.toKimi(name), arguments: canonicalArguments(given) };
    return [{ id: idOf(entry.id), type: "function", function: spoken }];
  });
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
