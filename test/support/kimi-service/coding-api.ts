/** The coding API: who may call it, and what it answers to chats, models, usages, me, searches and fetches. */
import { randomBytes } from "node:crypto";
import { type Answer, ok, refusals, refuse } from "./answers.ts";
import { checkChatRequest } from "./chat-rules.ts";
import { completionEvents } from "./completion-stream.ts";
import { isObject } from "./json.ts";
import type { Logins } from "./logins.ts";
import { countTokens, createPromptCache, promptText } from "./prompt.ts";
import { isThinkingOn } from "./thinking-rules.ts";
import type { Completion, JsonObject, LogEntry, ModelEntry, Usage } from "./types.ts";
import { answerFetch, answerSearch, type WebState } from "./web-tools.ts";

/** The gate admits by prefix; pi's own since 2026-08-01 (kimi-code#2185). */
const ADMITTED_AGENTS = ["KimiCLI/", "kimi-code-cli/", "claude-code/", "pi/"];

/** What tests may change while the service runs. */
export interface ApiState extends WebState {
  readonly apiKeys: Set<string>;
  readonly replies: Completion[];
  models: readonly ModelEntry[];
  usages: unknown;
  me: unknown;
  parallelLimit: number;
}

export function createCodingApi(state: ApiState, now: () => number, logins: Logins) {
  const cache = createPromptCache();

  const refuseCaller = ({ accessToken }: LogEntry): Answer | undefined => {
    const known =
      accessToken !== undefined &&
      (state.apiKeys.has(accessToken) || logins.accountOf(accessToken) !== undefined);
    return known ? undefined : refuse(refusals.unauthorized);
  };
  const refuseAgent = ({ headers }: LogEntry): Answer | undefined => {
    const agent = headers["user-agent"] ?? "";
    const admitted = ADMITTED_AGENTS.some((prefix) => agent.startsWith(prefix));
    return admitted ? undefined : refuse(refusals.unknownAgent);
  };

  const complete = (body: JsonObject, model: ModelEntry): Answer => {
    const completion = state.replies.shift() ?? echo(body);
    const thinking = isThinkingOn(body, model);
    const prompt = promptText(body);
    const key = typeof body.prompt_cache_key === "string" ? body.prompt_cache_key : undefined;
    const cached = cache.enter(key, prompt);
    const usage = count(completion, thinking, countTokens(prompt), cached);
    const events = completionEvents(completion, {
      id: `chatcmpl-${randomBytes(8).toString("hex")}`,
      model: model.id,
      created: Math.floor(now() / 1000),
      thinking,
      callsBefore: countCalls(body),
      usage,
    });
    return { ...ok(undefined), usage, events };
  };

  return {
    chat(entry: LogEntry, running: number): Answer {
      const refused = refuseAgent(entry) ?? refuseCaller(entry);
      if (refused) return refused;
      if (running >= state.parallelLimit) return refuse(refusals.concurrency);
      const { body } = entry;
      const official = entry.headers["user-agent"]?.startsWith("kimi-code-cli/");
      const problem = checkChatRequest(body, state.models, official ? "free" : "fitting");
      const model = isObject(body) ? state.models.find(({ id }) => id === body.model) : undefined;
      if (problem !== undefined || !isObject(body) || !model) {
        return refuse(refusals.badRequest(problem ?? "the request body must be a JSON object"));
      }
      return complete(body, model);
    },
    models: (entry: LogEntry) => refuseCaller(entry) ?? ok({ object: "list", data: state.models }),
    search: (entry: LogEntry) => refuseAgent(entry) ?? refuseCaller(entry) ?? answerSearch(entry, state),
    fetch: (entry: LogEntry) => refuseAgent(entry) ?? refuseCaller(entry) ?? answerFetch(entry, state),
    usages: (entry: LogEntry) => refuseCaller(entry) ?? ok(state.usages),
    me(entry: LogEntry) {
      const account = logins.accountOf(entry.accessToken ?? "") ?? "someone";
      return (
        refuseCaller(entry) ??
        ok(state.me ?? { nickname: account, user_level_name: "Moderato", region: "REGION_CN" })
      );
    },
  };
}

function countCalls({ messages }: JsonObject): number {
  const all: unknown[] = Array.isArray(messages) ? messages : [];
  return all.reduce<number>((sum, message) => {
    const calls = isObject(message) ? message.tool_calls : undefined;
    return sum + (Array.isArray(calls) ? calls.length : 0);
  }, 0);
}

/** Says back what was said last, so that a test sees what has arrived. */
function echo(body: JsonObject): Completion {
  const last: unknown = Array.isArray(body.messages) ? body.messages.at(-1) : undefined;
  const content = isObject(last) ? last.content : undefined;
  const parts: unknown[] = Array.isArray(content) ? content : [{ text: content }];
  const heard = parts
    .map((part) => (isObject(part) && typeof part.text === "string" ? part.text : "[attachment]"))
    .join(" ");
  return { thinking: "The user wants to hear it again.", text: `You said: ${heard.slice(-400)}` };
}

function count(completion: Completion, thinking: boolean, prompt: number, cached: number): Usage {
  const said = [
    thinking ? (completion.thinking ?? "") : "",
    completion.text ?? "",
    ...(completion.toolCalls ?? []).map((call) => JSON.stringify(call)),
  ];
  const counts = {
    prompt_tokens: prompt,
    completion_tokens: countTokens(said.join("")),
    cached_tokens: cached,
    ...completion.usage,
  };
  const total_tokens = completion.usage?.total_tokens ?? counts.prompt_tokens + counts.completion_tokens;
  return { ...counts, total_tokens };
}
