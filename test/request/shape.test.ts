import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RequestOptions, shapeRequest } from "../../extensions/request/shape.ts";
import { checkChatRequest } from "../support/kimi-service/chat-rules.ts";
import { defaultModels } from "../support/kimi-service/defaults.ts";

const model = {
  id: "kimi-for-coding",
  contextWindow: 262_144,
  maxTokens: 32_768,
  thinking: "both",
  efforts: ["low", "high", "max"],
} as const;
const high: RequestOptions = { model, thinkingLevel: "high", sessionId: "s1" };
const off: RequestOptions = { ...high, thinkingLevel: "off" };

function payload(messages: readonly unknown[], others: object = {}) {
  return { model: "kimi-for-coding", messages, stream: true, ...others };
}

function body(given: unknown, options = high): Record<string, unknown> {
  const shaped = shapeRequest(given, options).body;
  if (typeof shaped !== "object" || shaped === null) throw new Error("no body");
  return { ...shaped };
}

function messagesOf(messages: readonly unknown[], options = off): unknown {
  return body(payload(messages), options).messages;
}

const user = { role: "user", content: "hi" };
const call = (id: string, name = "bash", args: unknown = "{}") => ({
  id,
  type: "function",
  function: { name, arguments: args },
});
const calling = (...calls: object[]) => ({ role: "assistant", content: null, tool_calls: calls });
const result = (id: string, content: unknown = "ok") => ({ role: "tool", content, tool_call_id: id });

describe("the body", () => {
  test("has the fields Kimi knows, in one order, and no others", () => {
    const tool = {
      type: "function",
      function: { name: "t", description: "d", parameters: { type: "object" }, strict: false },
    };
    const shaped = body(
      payload([{ role: "developer", content: "be brief" }, user], {
        tools: [tool],
        store: false,
        enable_thinking: true,
        thinking: { type: "enabled", clear_thinking: false },
        reasoning_effort: "high",
        reasoning: { effort: "high" },
        temperature: 0.5,
        top_p: 1,
        tool_choice: "auto",
        tool_stream: true,
        prompt_cache_retention: "24h",
        max_completion_tokens: 32_000,
      }),
    );
    expect(JSON.stringify(shaped)).toBe(
      JSON.stringify({
        model: "kimi-for-coding",
        tools: [
          { type: "function", function: { name: "t", description: "d", parameters: { type: "object" } } },
        ],
        messages: [{ role: "system", content: "be brief" }, user],
        stream: true,
        stream_options: { include_usage: true },
        max_tokens: 32_768,
        thinking: { type: "enabled", effort: "high", keep: "all" },
        prompt_cache_key: "s1",
      }),
    );
  });

  test("has no tools field without tools, and no cache key without a session", () => {
    const shaped = body(payload([user], { tools: [] }), { ...high, sessionId: undefined });
    expect(shaped).not.toHaveProperty("tools");
    expect(shaped).not.toHaveProperty("prompt_cache_key");
  });

  test("is the payload itself where that is no chat request", () => {
    for (const given of [undefined, null, "text", 1, [], { input: "x" }]) {
      expect(shapeRequest(given, high).body).toBe(given);
    }
  });
});

describe("the output cap", () => {
  const asked = (maxTokens: number | undefined, text: string, contextWindow = 262_144) =>
    body(payload([{ role: "user", content: text }], { max_tokens: 5 }), {
      ...high,
      maxTokens,
      model: { ...model, contextWindow },
    }).max_tokens;

  test("is the model's, or what the caller asked for where that is less", () => {
    expect(asked(undefined, "hi")).toBe(32_768);
    expect(asked(13_107.2, "hi")).toBe(13_107);
    expect(asked(99_999, "hi")).toBe(32_768);
  });

  test("is what the context leaves", () => {
    // 240,000 tokens of text, 8 for the message, 4,096 to be safe.
    expect(asked(undefined, "word".repeat(240_000))).toBe(262_144 - 240_000 - 8 - 4_096);
  });

  test("counts bytes, for a language that writes more into a character", () => {
    expect(asked(undefined, "語言".repeat(160_000))).toBe(262_144 - 240_000 - 8 - 4_096);
  });

  test("stays positive, and long enough for an answer, where the estimate leaves nothing", () => {
    expect(asked(undefined, "word".repeat(300_000))).toBe(1_024);
    expect(asked(0, "hi")).toBe(1);
    expect(asked(undefined, "hi", 100)).toBe(100);
  });
});

describe("messages", () => {
  test("that need nothing stay the same objects", () => {
    const given = [
      { role: "system", content: "s" },
      user,
      {
        role: "user",
        content: [
          { type: "text", text: "see" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
        ],
      },
      { role: "assistant", content: "a", reasoning_content: "r" },
      {
        role: "assistant",
        content: null,
        reasoning_content: "",
        tool_calls: [call("bash:0"), call("bash:1")],
      },
      result("bash:0"),
      result("bash:1"),
    ];
    const sent = messagesOf(given, high);
    if (!Array.isArray(sent)) throw new Error("no messages");
    expect(sent).toHaveLength(given.length);
    for (const [index, message] of sent.entries()) expect(message).toBe(given[index]);
  });

  const table: readonly (readonly [what: string, given: readonly unknown[], sent: readonly unknown[]])[] = [
    ["a single text part is a string", [{ role: "user", content: [{ type: "text", text: "hi" }] }], [user]],
    [
      "cache marks go",
      [
        {
          role: "user",
          content: [
            { type: "text", text: "a", cache_control: {} },
            { type: "text", text: "b" },
          ],
        },
      ],
      [
        {
          role: "user",
          content: [
            { type: "text", text: "a" },
            { type: "text", text: "b" },
          ],
        },
      ],
    ],
    [
      "empty parts go",
      [
        {
          role: "user",
          content: [
            { type: "text", text: "" },
            { type: "text", text: " \n" },
            { type: "text", text: "hi" },
          ],
        },
      ],
      [user],
    ],
    [
      "an image without data is named as left out",
      [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64," } }] }],
      [{ role: "user", content: "(an image that cannot be sent was left out)" }],
    ],
    [
      "empty messages go",
      [
        user,
        { role: "user", content: "" },
        { role: "assistant", content: null, reasoning_content: "x" },
        { role: "system", content: [] },
      ],
      [user],
    ],
    ["unknown roles go", [{ role: "function", content: "x" }, null, "x", user], [user]],
    [
      "thinking that was turned into text stays text",
      [
        {
          role: "assistant",
          content: [
            { type: "text", text: "hm" },
            { type: "text", text: "a" },
          ],
        },
      ],
      [
        {
          role: "assistant",
          content: [
            { type: "text", text: "hm" },
            { type: "text", text: "a" },
          ],
        },
      ],
    ],
    [
      "thinking off keeps the reasoning there is",
      [
        { role: "assistant", content: "a", reasoning: "r" },
        { role: "assistant", content: "b" },
      ],
      [
        { role: "assistant", content: "a", reasoning_content: "r" },
        { role: "assistant", content: "b" },
      ],
    ],
    [
      "other fields go",
      [{ role: "assistant", content: "a", reasoning_details: [], refusal: null }],
      [{ role: "assistant", content: "a" }],
    ],
    [
      "a call without text has null content",
      [{ role: "assistant", content: "", tool_calls: [call("a")] }, result("a")],
      [calling(call("a")), result("a")],
    ],
    [
      "no calls is no field",
      [{ role: "assistant", content: "a", tool_calls: [] }],
      [{ role: "assistant", content: "a" }],
    ],
    [
      "a call without a result gets one",
      [calling(call("a")), user],
      [calling(call("a")), result("a", "No result provided"), user],
    ],
    [
      "a result without a call goes",
      [result("x"), user, calling(call("a")), result("a"), result("a", "again")],
      [user, calling(call("a")), result("a")],
    ],
    [
      "a late result is put behind its call",
      [calling(call("a"), call("b")), result("a"), user, result("b")],
      [calling(call("a"), call("b")), result("a"), result("b"), user],
    ],
    [
      "an empty answer between call and result is no answer",
      [calling(call("a")), { role: "assistant", content: "" }, result("a")],
      [calling(call("a")), result("a")],
    ],
    [
      "an id used again is renamed with its result",
      [calling(call("a")), result("a"), calling(call("a")), result("a", "2")],
      [calling(call("a")), result("a"), calling(call("a_2")), result("a_2", "2")],
    ],
    [
      "two calls under one id get their results in turn",
      [calling(call("a"), call("a")), result("a", "1"), result("a", "2")],
      [calling(call("a"), call("a_2")), result("a", "1"), result("a_2", "2")],
    ],
    [
      "a call without an id gets one",
      [calling({ type: "function", function: { name: "t", arguments: "{}" } }), result("")],
      [calling(call("call", "t")), result("call")],
    ],
    [
      "a call that names no tool goes",
      [{ role: "assistant", content: "a", tool_calls: [{ id: "x" }, null] }, result("x")],
      [{ role: "assistant", content: "a" }],
    ],
    [
      "a tool that said nothing says so",
      [calling(call("a")), result("a", "")],
      [calling(call("a")), result("a", "(no tool output)")],
    ],
  ];
  test.each(table)("%s", (_what, given, sent) => {
    expect(messagesOf(given)).toEqual(sent);
  });

  test("with thinking on each answer carries its reasoning, be it empty, in one order of fields", () => {
    const sent = messagesOf(
      [{ ...calling(call("a")) }, result("a"), { role: "assistant", content: "b", reasoning_text: "r" }],
      high,
    );
    expect(JSON.stringify(sent)).toBe(
      JSON.stringify([
        { role: "assistant", content: null, reasoning_content: "", tool_calls: [call("a")] },
        result("a"),
        { role: "assistant", content: "b", reasoning_content: "r" },
      ]),
    );
  });

  test.each([
    ['{"a":1}', '{"a":1}'],
    ["", "{}"],
    ["null", "{}"],
    [undefined, "{}"],
    [{ a: 1 }, '{"a":1}'],
    ["[1]", '{"value":[1]}'],
    ['"{\\"a\\":1}"', '{"a":1}'],
    ['{"a":', '{"value":"{\\"a\\":"}'],
  ])("arguments %j are sent as %j", (given, sent) => {
    expect(messagesOf([calling(call("a", "t", given)), result("a")])).toEqual([
      calling(call("a", "t", sent)),
      result("a"),
    ]);
  });

  test("a later turn sends what an earlier one sent, and more", () => {
    const conversation = [
      user,
      calling(call("a")),
      result("a"),
      calling(call("a")),
      result("a"),
      { role: "assistant", content: "b" },
      user,
    ];
    const whole = messagesOf(conversation, high);
    for (const turn of [1, 3, 5]) {
      const earlier = messagesOf(conversation.slice(0, turn), high);
      if (!Array.isArray(earlier) || !Array.isArray(whole)) throw new Error("no messages");
      expect(whole.slice(0, earlier.length)).toEqual(earlier);
    }
  });
});

const text = fc.constantFrom<unknown>("", " ", "a", "語", undefined, null, 1, "(see attached image)");
const id = fc.constantFrom<unknown>("a", "a_2", "b", "", undefined, 7, "call_123456789012345678901234_fc_1");
const name = fc.constantFrom<unknown>("bash", "mcp.server/tool", "", "9", "语", "x".repeat(99), undefined);
const part = fc.oneof(
  fc.record({ type: fc.constant("text"), text }),
  fc.constantFrom<unknown>(
    null,
    "x",
    { type: "file" },
    { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
    { type: "image_url", image_url: {} },
  ),
);
const content = fc.oneof(text, fc.array(part, { maxLength: 3 }));
const message = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      role: fc.constantFrom<unknown>("user", "system", "developer", "other", undefined),
      content,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ role: fc.constant("tool"), tool_call_id: id, content }),
  },
  {
    weight: 3,
    arbitrary: fc.record(
      {
        role: fc.constant("assistant"),
        content,
        reasoning_content: text,
        reasoning: text,
        tool_calls: fc.oneof(
          fc.constant(null),
          fc.array(
            fc.record({
              id,
              type: fc.constantFrom("function", "custom"),
              function: fc.record({
                name,
                arguments: fc.oneof(
                  text,
                  fc.jsonValue().map((value) => JSON.stringify(value)),
                ),
              }),
            }),
            { maxLength: 3 },
          ),
        ),
      },
      { requiredKeys: ["role"] },
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(null, 1, {}, []) },
);
const conversation = fc.array(message, { maxLength: 10 });
const tools = fc.array(
  fc.oneof(
    fc.constantFrom<unknown>(null, {}),
    fc.record({
      type: fc.constant("function"),
      function: fc.record({ name, description: text, parameters: fc.object() }),
    }),
  ),
  { maxLength: 4 },
);
const options = fc.record({
  model: fc.constantFrom<RequestOptions["model"]>(
    model,
    { ...model, id: "kimi-k2.6", efforts: undefined },
    { ...model, id: "kimi-k2-thinking", thinking: "only", efforts: [] },
  ),
  thinkingLevel: fc.constantFrom(undefined, "off", "minimal", "medium", "xhigh", "max", "odd"),
  sessionId: fc.constantFrom(undefined, "", "s1"),
});

describe("any conversation", () => {
  test("is accepted by Kimi, is not changed, and needs nothing the second time", () => {
    fc.assert(
      fc.property(conversation, tools, options, (messages, declared, chosen) => {
        const given = payload([...messages, user], { tools: declared });
        const before = structuredClone(given);
        const shaped = shapeRequest(given, chosen);
        expect(given).toEqual(before);
        expect(checkChatRequest(shaped.body, defaultModels)).toBeUndefined();
        expect(JSON.stringify(shapeRequest(shaped.body, chosen).body)).toBe(JSON.stringify(shaped.body));
      }),
      { numRuns: 1_000 },
    );
  });

  test("has arguments that are JSON objects", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const sent = JSON.stringify(
          messagesOf([calling(call("a", "t", JSON.stringify(value))), result("a")]),
        );
        const found: unknown = JSON.parse(sent)[0].tool_calls[0].function.arguments;
        expect(typeof found).toBe("string");
        const parsed: unknown = JSON.parse(String(found));
        expect(typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)).toBe(true);
      }),
    );
  });
});
