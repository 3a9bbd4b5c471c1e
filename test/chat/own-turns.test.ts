import type { Api, AssistantMessage, Context, Model } from "@mariozechner/pi-ai";
import { expect, test } from "vitest";
import { withOwnTurns } from "../../extensions/chat/own-turns.ts";

const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
const model: Model<Api> = {
  id: "k3",
  name: "K3",
  api: "kimi-coder",
  provider: "kimi-coder",
  baseUrl: "https://api.kimi.com/coding/v1",
  reasoning: true,
  input: ["text"],
  cost,
  contextWindow: 1000,
  maxTokens: 10,
};
const answer = (provider: string, id: string): AssistantMessage => ({
  role: "assistant",
  content: [{ type: "text", text: "a" }],
  api: "openai-completions",
  provider,
  model: id,
  usage: { ...cost, totalTokens: 0, cost: { ...cost, total: 0 } },
  stopReason: "stop",
  timestamp: 1,
});
const asked = { role: "user", content: "q", timestamp: 1 } as const;

test("the answers of our other models are signed with the one that is asked, those of other providers are not", () => {
  const others = answer("openai", "kimi-for-coding");
  const before: Context = { systemPrompt: "s", messages: [asked, answer("kimi-coder", "kimi-k2.6"), others] };
  const copy = structuredClone(before);

  const after = withOwnTurns(before, model);

  expect(after).toEqual({ systemPrompt: "s", messages: [asked, answer("kimi-coder", "k3"), others] });
  expect(after.messages[0]).toBe(asked);
  expect(after.messages[2]).toBe(others);
  expect(before).toEqual(copy);
});

test("a context in which nothing is another model's is the same object", () => {
  const context: Context = { messages: [asked, answer("kimi-coder", "k3"), answer("openai", "gpt")] };
  expect(withOwnTurns(context, model)).toBe(context);
});
