/**
 * The conversation as Kimi accepts it: canonical roles and contents, calls that have an id and a JSON object of arguments,
 * and every one of them followed by its one result. Texts are never walked.
 */
import { isBlank, isJsonObject as isObject, type JsonObject, objectsIn } from "../../lib/json.ts";
import { type Content, canonicalContent } from "./content.ts";
import { nameOf, type ToolNames } from "./tools.ts";

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
/** What pi 0.87.1 says for a result without text. */
const NO_OUTPUT = "(no tool output)";

/**
 * What becomes of the reasoning of earlier answers. With thinking on every assistant message must carry
 * `reasoning_content`, be it empty. With thinking off what is there stays, as kimi-code does it: the cached prefix is the
 * same after switching off and on. A model that cannot think gets none.
 */
export type Reasoning = "required" | "kept" | "dropped";

/** `late`: what is sent of the tools that a message brings, see `bringsTools`. */
export function canonicalMessages(
  given: readonly JsonObject[],
  reasoning: Reasoning,
  names: ToolNames,
  late: ReadonlyMap<JsonObject, readonly JsonObject[]>,
): readonly unknown[] {
  const messages = given.map((entry) => {
    const tools = late.get(entry);
    return tools === undefined ? canonicalMessage(entry, reasoning, names) : bringing(tools);
  });
  return paired(messages.filter((message) => message !== undefined));
}

/**
 * Whether a message does nothing but bring further tools, as Kimi documents it for models with `supports_dynamic_tools`:
 * `{role: "system", tools}`, and no `content`, not even null. Of pi 0.87 and later.
 */
export function bringsTools({ role, content, tools }: JsonObject): boolean {
  return role === "system" && content === undefined && Array.isArray(tools);
}

function bringing(tools: readonly JsonObject[]): Message | undefined {
  return tools.length === 0 ? undefined : { role: "system", sent: { role: "system", tools } };
}

function canonicalMessage(entry: JsonObject, reasoning: Reasoning, names: ToolNames): Message | undefined {
  const content = canonicalContent(entry.content);
  switch (entry.role) {
    case "developer":
    case "system":
      return content === undefined ? undefined : { role: "system", sent: { role: "system", content } };
    case "user":
      return content === undefined ? undefined : { role: "user", sent: { role: "user", content } };
    case "assistant": {
      const calls = objectsIn(entry.tool_calls).flatMap((call) => canonicalCall(call, names));
      if (content === undefined && calls.length === 0) return undefined;
      const sent = { role: "assistant", content: content ?? null, ...thinking(entry, reasoning) };
      return { role: "assistant", sent, calls };
    }
    case "tool":
      return { role: "tool", content: content ?? NO_OUTPUT, callId: text(entry.tool_call_id) };
    default:
      return undefined;
  }
}

function thinking({ reasoning_content: thought }: JsonObject, reasoning: Reasoning): JsonObject {
  if (reasoning === "dropped") return {};
  if (typeof thought === "string") return { reasoning_content: thought };
  return reasoning === "required" ? { reasoning_content: "" } : {};
}

/** A call in canonical form; none where it names no tool. */
function canonicalCall(call: JsonObject, names: ToolNames): readonly ToolCall[] {
  const given = isObject(call.function) ? text(call.function.arguments) : "";
  return nameOf(call).map((name) => {
    const spoken = { name: names.toKimi(name), arguments: canonicalArguments(given) };
    return { id: text(call.id), type: "function", function: spoken };
  });
}

/**
 * Arguments as the text of a JSON object. Both adapters write them with `JSON.stringify`, so a text in braces is one
 * and is not parsed again (the calls of a long session are megabytes); anything else is wrapped, so that nothing is lost.
 */
function canonicalArguments(given: string): string {
  if (given.startsWith("{") && given.endsWith("}")) return given;
  return isBlank(given) ? "{}" : JSON.stringify({ value: given });
}

/**
 * Puts each call's result right behind it, wherever before the next answer it stood. A call without one gets a
 * synthetic result, a result without a call (its call was in an aborted turn, which pi leaves out) is dropped, and of
 * two calls with one id the later gets another: the first keeps it, so the prefix stays.
 */
function paired(messages: readonly Message[]): readonly unknown[] {
  const sent: unknown[] = [];
  const taken = new Set<string>();
  /** The latest calls that have no result yet, by the id that they came with. */
  let open: { readonly asked: string; readonly call: ToolCall }[] = [];
  /** Where the next result goes. */
  let place = 0;
  const answer = ({ id }: ToolCall, content: Content) => {
    sent.splice(place, 0, { role: "tool", content, tool_call_id: id });
    place += 1;
  };
  const answerOpen = () => {
    for (const { call } of open) answer(call, NO_RESULT);
  };
  for (const message of messages) {
    if (message.role === "tool") {
      const position = open.findIndex(({ asked }) => asked === message.callId);
      const [found] = position < 0 ? [] : open.splice(position, 1);
      if (found) answer(found.call, message.content);
    } else if (message.role === "assistant") {
      answerOpen();
      open = message.calls.map((call) => ({ asked: call.id, call: { ...call, id: freeId(call.id, taken) } }));
      const calls = open.map(({ call }) => call);
      sent.push(calls.length > 0 ? { ...message.sent, tool_calls: calls } : message.sent);
      place = sent.length;
    } else sent.push(message.sent);
  }
  answerOpen();
  return sent;
}

function freeId(given: string, taken: Set<string>): string {
  const id = isBlank(given) ? "call" : given;
  let free = id;
  for (let number = 2; taken.has(free); number++) free = `${id}_${number}`;
  taken.add(free);
  return free;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
