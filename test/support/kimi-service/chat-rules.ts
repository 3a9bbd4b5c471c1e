/** Kimi's rules for `POST /chat/completions`: everything in the body that the service answers with 400. */
import { refusals } from "./answers.ts";
import { isObject } from "./json.ts";
import { checkMessages, isBringingTools, TOOL_NAME, TOOL_NAME_RULE } from "./message-rules.ts";
import { countTokens, promptText } from "./prompt.ts";
import { checkThinking, isThinkingOn } from "./thinking-rules.ts";
import { checkToolSchema } from "./tool-schema-rules.ts";
import type { JsonObject, ModelEntry } from "./types.ts";

/** Fields the official clients never send; the service refuses the first ones and ignores the others, we refuse all. */
const FORBIDDEN: readonly (readonly [field: string, message: string])[] = [
  ["temperature", "invalid temperature: only 1 is allowed for this model"],
  ["top_p", "invalid top_p: only 0.95 is allowed for this model"],
  ["tool_choice", "tool_choice is not supported with thinking"],
  ["store", "store is not supported"],
  ["enable_thinking", "enable_thinking is not supported"],
  ["clear_thinking", "clear_thinking is not supported"],
  ["strict", "strict is not supported"],
];

/**
 * What the service finds wrong with a chat request, in its words, or undefined where it is fine.
 * `outputCap` "free" lets the cap be larger than what the prompt leaves of the context: the real service must,
 * because kimi-code 2.1.0 asks for the whole context in the first request of a session (seen on the wire).
 */
export function checkChatRequest(
  body: unknown,
  models: readonly ModelEntry[],
  outputCap: "fitting" | "free" = "fitting",
): string | undefined {
  if (!isObject(body)) return "the request body must be a JSON object";
  const model = models.find(({ id }) => id === body.model);
  if (!model) return `Not found the model ${String(body.model)} or Permission denied`;
  const forbidden = FORBIDDEN.find(([field]) => field in body);
  if (forbidden) return forbidden[1];
  return (
    checkStream(body) ??
    checkThinking(body, model) ??
    checkTools(declaredTools(body)) ??
    checkMessages(body.messages, model, isThinkingOn(body, model)) ??
    checkCacheKey(body.prompt_cache_key) ??
    checkLength(body, model, outputCap)
  );
}

function checkStream({ stream, stream_options }: JsonObject): string | undefined {
  if (stream !== true) return "stream must be true";
  const usage = isObject(stream_options) && stream_options.include_usage === true;
  return usage ? undefined : "stream_options.include_usage must be true";
}

/** The tools at the front, and those that messages bring. */
function declaredTools({ tools, messages }: JsonObject): readonly unknown[] {
  const bringing = Array.isArray(messages) ? messages.filter(isObject).filter(isBringingTools) : [];
  return [tools ?? [], ...bringing.map((message) => message.tools)];
}

function checkTools(lists: readonly unknown[]): string | undefined {
  if (!lists.every((list) => Array.isArray(list))) return "tools must be an array";
  const tools: unknown[] = lists.flat();
  const names = new Set<string>();
  for (const tool of tools) {
    if (!isObject(tool) || tool.type !== "function" || !isObject(tool.function)) {
      return "tool type must be function";
    }
    const { name, parameters, description } = tool.function;
    if (typeof name !== "string" || !TOOL_NAME.test(name))
      return `function name is invalid, ${TOOL_NAME_RULE}`;
    if (names.has(name)) return `function name ${name} is duplicated`;
    names.add(name);
    if ("strict" in tool || "strict" in tool.function) return `strict is not supported in tool ${name}`;
    if (description !== undefined && typeof description !== "string") return "description must be a string";
    const problem = parameters === undefined ? undefined : checkToolSchema(parameters);
    if (problem) {
      return `tools.function.parameters is not a valid moonshot flavored json schema, details: <${problem}>`;
    }
  }
  return undefined;
}

function checkCacheKey(key: unknown): string | undefined {
  return key === undefined || (typeof key === "string" && key !== "")
    ? undefined
    : "prompt_cache_key must be a non-empty string";
}

/** How much of our rough count is certainly in the prompt; clients count roughly too. */
const CERTAIN = 0.8;

/** Prompt and output share the context. */
function checkLength(body: JsonObject, model: ModelEntry, outputCap: "fitting" | "free"): string | undefined {
  const caps = [body.max_tokens, body.max_completion_tokens].filter((cap) => cap !== undefined);
  if (!caps.every((cap) => typeof cap === "number" && Number.isSafeInteger(cap) && cap > 0)) {
    return "max_tokens must be a positive integer";
  }
  const limit = model.context_length;
  const prompt = countTokens(promptText(body));
  const output = outputCap === "free" ? 0 : Math.max(0, ...caps.map(Number));
  const tooLong = prompt > limit || prompt * CERTAIN + output > limit;
  return tooLong ? refusals.overflow(limit).body.error.message : undefined;
}
