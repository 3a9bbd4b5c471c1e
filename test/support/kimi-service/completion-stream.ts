/** A chat completion as the events of Kimi's stream: thinking, then text, then tool calls, then usage twice. */
import type { Completion, JsonObject, Usage } from "./types.ts";

export interface StreamFacts {
  readonly id: string;
  readonly model: string;
  /** s since the epoch. */
  readonly created: number;
  readonly thinking: boolean;
  /** Tool calls made earlier in the conversation; Kimi numbers them through. */
  readonly callsBefore: number;
  readonly usage: Usage;
}

/** The data of each SSE event, in order, `[DONE]` included. */
export function completionEvents(completion: Completion, facts: StreamFacts): string[] {
  const chunk = (choices: readonly JsonObject[], usage?: JsonObject) =>
    JSON.stringify({
      id: facts.id,
      object: "chat.completion.chunk",
      created: facts.created,
      model: facts.model,
      choices,
      ...(usage ? { usage } : {}),
    });
  const delta = (part: JsonObject) => chunk([{ index: 0, delta: part, finish_reason: null }]);
  const thought = facts.thinking ? pieces(completion.thinking) : [];
  const calls = completion.toolCalls ?? [];
  const usage = usageObject(facts.usage, completion.cachedTokensAt);
  const { finishReason: finish_reason = calls.length > 0 ? "tool_calls" : "stop", deltas } = completion;
  const said = deltas?.map(delta) ?? [
    ...thought.map((piece) => delta({ reasoning_content: piece })),
    ...pieces(completion.text).map((piece) => delta({ content: piece })),
    ...calls.flatMap((call, index) => callParts(call, index, facts.callsBefore).map(delta)),
  ];
  const begun = [delta({ role: "assistant", content: "" }), ...said];
  if (finish_reason === null) return begun;
  return [...begun, chunk([{ index: 0, delta: {}, finish_reason, usage }]), chunk([], usage), "[DONE]"];
}

type Call = NonNullable<Completion["toolCalls"]>[number];

/** The id and name first, then the arguments bit by bit. */
function callParts(call: Call, index: number, before: number): JsonObject[] {
  const { name } = call;
  const id = call.id ?? `${name}:${before + index}`;
  const head = { index, id, type: "function", function: { name, arguments: "" } };
  const rest = pieces(JSON.stringify(call.arguments)).map((part) => ({
    index,
    function: { arguments: part },
  }));
  return [head, ...rest].map((part) => ({ tool_calls: [part] }));
}

const PIECE = 12;

/** Never cuts a character in two. */
function pieces(text = ""): string[] {
  const characters = Array.from(text);
  const count = Math.ceil(characters.length / PIECE);
  return Array.from({ length: count }, (_, at) => characters.slice(at * PIECE, (at + 1) * PIECE).join(""));
}

function usageObject({ cached_tokens, ...counts }: Usage, place: Completion["cachedTokensAt"]): JsonObject {
  return place === "top"
    ? { ...counts, cached_tokens }
    : { ...counts, prompt_tokens_details: { cached_tokens } };
}
