/** What becomes of the thinking of earlier answers, by what the model does now. */
import { expect, test } from "vitest";
import { shapeRequest } from "../../extensions/request/shape.ts";

const earlier = [
  { role: "user", content: "q" },
  { role: "assistant", content: "with", reasoning_content: "thought" },
  { role: "assistant", content: "without" },
];

test.each([
  { thinking: "both", level: "high", sent: ["thought", ""] },
  { thinking: "both", level: "off", sent: ["thought", undefined] },
  { thinking: "only", level: "off", sent: ["thought", ""] },
  { thinking: "none", level: "high", sent: [undefined, undefined] },
] as const)("$sent goes to a model that thinks: $thinking, at level $level", ({ thinking, level, sent }) => {
  const model = { id: "m", contextWindow: 262_144, maxTokens: 1000, thinking };
  const { body } = shapeRequest({ messages: earlier }, { model, thinkingLevel: level, sessionId: "s" });
  const answer = (content: string, thought: string | undefined) =>
    thought === undefined
      ? { role: "assistant", content }
      : { role: "assistant", content, reasoning_content: thought };
  expect(body).toHaveProperty("messages", [
    { role: "user", content: "q" },
    answer("with", sent[0]),
    answer("without", sent[1]),
  ]);
});
