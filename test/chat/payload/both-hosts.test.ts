/** The same conversation through the real adapters of both hosts ends in the same bytes. */
import { beforeAll, describe, expect, test } from "vitest";
import { shapeRequest } from "../../../extensions/chat/payload/shape.ts";
import { checkChatRequest } from "../../support/kimi-service/chat-rules.ts";
import { defaultModels } from "../../support/kimi-service/defaults.ts";
import { adapterPayloads } from "./adapter-payload.ts";

const model = {
  id: "kimi-for-coding",
  name: "Kimi",
  api: "openai-completions",
  provider: "kimi-coder",
  baseUrl: "https://api.kimi.com/coding/v1",
  reasoning: true,
  input: ["text", "image"],
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  contextWindow: 262_144,
  maxTokens: 32_768,
  compat: {
    thinkingFormat: "zai",
    maxTokensField: "max_tokens",
    supportsDeveloperRole: false,
    supportsStore: false,
  },
};
/** With nothing said about what Kimi takes, the adapters take it for OpenAI. */
const { compat: _, ...bare } = model;

const usage = { input: 10, output: 5, cacheRead: 0, cacheWrite: 0, totalTokens: 15, cost: model.cost };
const text = (said: string) => ({ type: "text", text: said });
const thinking = (said: string) => ({
  type: "thinking",
  thinking: said,
  thinkingSignature: "reasoning_content",
});
const toolCall = (id: string, name = "bash") => ({
  type: "toolCall",
  id,
  name,
  arguments: { command: "ls" },
});
const image = { type: "image", data: "iVBORw0KGgo=", mimeType: "image/png" };
const user = (content: unknown) => ({ role: "user", content, timestamp: 1 });
const assistant = (content: unknown, others: object = {}) => ({
  role: "assistant",
  content,
  api: "openai-completions",
  provider: "kimi-coder",
  model: "kimi-for-coding",
  usage,
  stopReason: "stop",
  timestamp: 1,
  ...others,
});
const result = (toolCallId: string, content: unknown = [text("ok")]) => ({
  role: "toolResult",
  toolCallId,
  toolName: "bash",
  content,
  isError: false,
  timestamp: 1,
});
const elsewhere = { api: "openai-responses", provider: "openai", model: "gpt-5" };

const tools = [
  {
    name: "bash",
    description: "Run",
    parameters: { type: "object", properties: { command: { type: "string" } }, required: ["command"] },
  },
  { name: "mcp.server/find", description: "Find", parameters: { properties: { q: {} } } },
];

/** An answer of another model: what it thought, what it said, and a call whose id carries an item of its API. */
const foreign = (...thought: readonly unknown[]) => [
  user("x"),
  assistant([...thought, text("a"), toolCall(`call_${"a1b2".repeat(6)}|fc_${"0f".repeat(24)}`)], elsewhere),
  result(`call_${"a1b2".repeat(6)}|fc_${"0f".repeat(24)}`),
  assistant([text("done")], elsewhere),
  user("go on"),
];

const conversations: Record<string, readonly unknown[]> = {
  "one prompt": [user("hi")],
  "parts and an image": [user([text("look"), image])],
  "empty parts": [user([text(""), text("hi")])],
  "several turns with thinking": [
    user([text("hi")]),
    assistant([thinking("hm"), text("hello")]),
    user([text("and?")]),
    assistant([text("well")]),
    user([text("so")]),
  ],
  "tool calls, parallel and without text": [
    user([text("list")]),
    assistant([thinking("a"), toolCall("bash:0"), toolCall("bash:1", "mcp.server/find")], {
      stopReason: "toolUse",
    }),
    result("bash:0"),
    result("bash:1"),
    assistant([text("then"), toolCall("bash:2")], { stopReason: "toolUse" }),
    result("bash:2"),
  ],
  "a tool that said nothing": [user("x"), assistant([toolCall("bash:0")]), result("bash:0", [])],
  "a tool that answered with an image": [
    user("x"),
    assistant([toolCall("bash:0")]),
    result("bash:0", [image]),
  ],
  "two tools of which one answered with an image and one not at all": [
    user("x"),
    assistant([toolCall("bash:0"), toolCall("bash:1")]),
    result("bash:0", []),
    result("bash:1", [image]),
  ],
  "an aborted turn and its result": [
    user("x"),
    assistant([text("par"), toolCall("bash:0")], { stopReason: "aborted" }),
    result("bash:0"),
    user("again"),
  ],
  "a call that was never answered": [user("x"), assistant([toolCall("bash:0")]), user("never mind")],
  "an empty answer": [user("x"), assistant([]), user("?")],
  "a session begun with another provider": foreign(),
};

const levels = [undefined, "minimal", "high"];
const cases = Object.entries(conversations).flatMap(([name, messages]) =>
  levels.flatMap((level) =>
    [model, bare].map((asked) => ({
      name: `${name}, thinking ${level ?? "off"}${asked === bare ? ", as for OpenAI" : ""}`,
      level,
      request: {
        model: asked,
        context: { systemPrompt: "You are pi.", tools, messages },
        options: { sessionId: "s1", ...(level === undefined ? {} : { reasoning: level }) },
      },
    })),
  ),
);

describe("both hosts' adapters", () => {
  let old: readonly unknown[] = [];
  let fresh: readonly unknown[] = [];

  beforeAll(async () => {
    const requests = cases.map(({ request }) => request);
    [old, fresh] = await Promise.all([
      adapterPayloads("0.73.1", requests),
      adapterPayloads("1.6.0", requests),
    ]);
  });

  test("disagree before the payload is shaped", () => {
    expect(JSON.stringify(old)).not.toBe(JSON.stringify(fresh));
  });

  test.each(cases.map(({ name, level }, index) => ({ name, level, index })))(
    "$name",
    async ({ level, index }) => {
      const body = await shaped(old[index], level);
      expect(checkChatRequest(body, defaultModels)).toBeUndefined();
      expect(JSON.stringify(await shaped(fresh[index], level))).toBe(JSON.stringify(body));
    },
  );

  test("differ in what another model thought: text on 0.73.1, left out since 1.3.0", async () => {
    const context = {
      tools,
      messages: foreign({ type: "thinking", thinking: "hm", thinkingSignature: "{}" }),
    };
    const requests = [{ model, context, options: {} }];
    const [[first], [second]] = await Promise.all([
      adapterPayloads("0.73.1", requests),
      adapterPayloads("1.6.0", requests),
    ]);
    const bodies = await Promise.all([first, second].map((payload) => shaped(payload, undefined)));
    for (const body of bodies) expect(checkChatRequest(body, defaultModels)).toBeUndefined();
    expect(bodies.map((body) => JSON.stringify(body).includes("hm"))).toEqual([true, false]);
  });
});

async function shaped(payload: unknown, thinkingLevel: string | undefined) {
  const { id } = model;
  const { body } = await shapeRequest(payload, {
    model: { id, contextWindow: 262_144, maxTokens: 32_768, thinking: "both", efforts: ["low", "high"] },
    thinkingLevel,
    sessionId: "s1",
  });
  return body;
}
