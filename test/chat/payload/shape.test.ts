import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  cacheSession,
  type RequestOptions,
  shapeRequest,
  thinkingFor,
} from "../../../extensions/chat/payload/shape.ts";
import { count } from "../../support/counts.ts";
import { checkChatRequest } from "../../support/kimi-service/chat-rules.ts";
import { defaultModels } from "../../support/kimi-service/defaults.ts";

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

async function body(given: unknown, options = high): Promise<Record<string, unknown>> {
  const shaped = (await shapeRequest(given, options)).body;
  if (typeof shaped !== "object" || shaped === null) throw new Error("no body");
  return { ...shaped };
}

async function messagesOf(messages: readonly unknown[], options = off): Promise<unknown> {
  return (await body(payload(messages), options)).messages;
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
  test("has the fields Kimi knows, in one order, and no others", async () => {
    const tool = {
      type: "function",
      function: { name: "t", description: "d", parameters: { type: "object" }, strict: false },
    };
    const shaped = await body(
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

  test("has no tools field without tools, and no cache key without a session", async () => {
    const shaped = await body(payload([user], { tools: [] }), { ...high, sessionId: undefined });
    expect(shaped).not.toHaveProperty("tools");
    expect(shaped).not.toHaveProperty("prompt_cache_key");
  });

  test("is the payload itself where that is no chat request", async () => {
    for (const given of [undefined, null, "text", 1, [], { input: "x" }]) {
      expect((await shapeRequest(given, high)).body).toBe(given);
    }
  });
});

describe("the output cap", () => {
  const asked = async (maxTokens: number | undefined, text: string) => {
    const options = { ...high, maxTokens };
    return (await body(payload([{ role: "user", content: text }], { max_tokens: 5 }), options)).max_tokens;
  };

  test("is the model's, or what the caller asked for where that is less", async () => {
    expect(await asked(undefined, "hi")).toBe(32_768);
    expect(await asked(13_107.2, "hi")).toBe(13_107);
    expect(await asked(99_999, "hi")).toBe(32_768);
  });

  test("is what the context leaves", async () => {
    // 240,000 tokens of text, 8 for the message, 1 for an empty list of tools, 4,096 to be safe.
    expect(await asked(undefined, "word".repeat(240_000))).toBe(262_144 - 240_000 - 8 - 1 - 4_096);
  });

  test("counts bytes, for a language that writes more into a character", async () => {
    expect(await asked(undefined, "語言".repeat(160_000))).toBe(262_144 - 240_000 - 8 - 1 - 4_096);
  });

  test("stays positive, and long enough for an answer, where the estimate leaves nothing", async () => {
    expect(await asked(undefined, "word".repeat(300_000))).toBe(1_024);
    expect(await asked(0, "hi")).toBe(1);
  });
});

describe("messages", () => {
  const table: readonly (readonly [what: string, given: readonly unknown[], sent: readonly unknown[]])[] = [
    ["a single text part is a string", [{ role: "user", content: [{ type: "text", text: "hi" }] }], [user]],
    [
      "empty parts go, and cache marks",
      [
        {
          role: "user",
          content: [
            { type: "text", text: "" },
            { type: "text", text: " \n" },
            { type: "text", text: "hi", cache_control: {} },
          ],
        },
      ],
      [user],
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
      "a call without text has null content",
      [{ role: "assistant", content: "", tool_calls: [call("a")] }, result("a")],
      [calling(call("a")), result("a")],
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
  test.each(table)("%s", async (_what, given, sent) => {
    expect(await messagesOf(given)).toEqual(sent);
  });

  test.each([
    ['{"a":1}', '{"a":1}'],
    ["", "{}"],
    [undefined, "{}"],
    ["[1]", '{"value":"[1]"}'],
  ])("arguments %j are sent as %j", async (given, sent) => {
    expect(await messagesOf([calling(call("a", "t", given)), result("a")])).toEqual([
      calling(call("a", "t", sent)),
      result("a"),
    ]);
  });
});

const text = fc.constantFrom<unknown>("", " ", "a", "語", undefined, null, 1);
const id = fc.constantFrom<unknown>("a", "a_2", "b", "", undefined);
const name = fc.constantFrom<unknown>("bash", "mcp.server/tool", "", "9", "语", "x".repeat(99), undefined);
const part = fc.constantFrom<unknown>(
  null,
  "x",
  { type: "text", text: "a" },
  { type: "text", text: " " },
  { type: "text" },
  { type: "file" },
  { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } },
  { type: "image_url", image_url: {} },
);
const content = fc.oneof(text, fc.array(part, { maxLength: 3 }));
const spoken = fc.record({
  name,
  arguments: fc.oneof(
    text,
    fc.jsonValue().map((value) => JSON.stringify(value)),
  ),
});
const message = fc.oneof(
  fc.record({ role: fc.constantFrom<unknown>("user", "system", "developer", "other", undefined), content }),
  fc.record({ role: fc.constant("tool"), tool_call_id: id, content }),
  fc.record(
    {
      role: fc.constant("assistant"),
      content,
      reasoning_content: text,
      tool_calls: fc.oneof(
        fc.constant(null),
        fc.array(fc.record({ id, function: spoken }), { maxLength: 3 }),
      ),
    },
    { requiredKeys: ["role"] },
  ),
  fc.constantFrom<unknown>(null, 1, {}, []),
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
  test("is accepted by Kimi, is not changed, and needs nothing the second time", async () => {
    await fc.assert(
      fc.asyncProperty(conversation, tools, options, async (messages, declared, chosen) => {
        const given = payload([...messages, user], { tools: declared });
        const before = structuredClone(given);
        const shaped = await shapeRequest(given, chosen);
        expect(given).toEqual(before);
        expect(checkChatRequest(shaped.body, defaultModels)).toBeUndefined();
        expect(JSON.stringify((await shapeRequest(shaped.body, chosen)).body)).toBe(
          JSON.stringify(shaped.body),
        );
      }),
      { numRuns: count(100, 1_000) },
    );
  });
});

describe("a picture", () => {
  const picture = (url: unknown) => ({ type: "image_url", image_url: { url } });
  /** What is sent for it. */
  const sent = async (url: unknown) => {
    const given = [{ role: "user", content: [{ type: "text", text: "see" }, picture(url)] }];
    const shaped = await body(payload(given), off);
    expect(checkChatRequest(shaped, defaultModels)).toBeUndefined();
    return Object(shaped.messages)[0].content[1];
  };
  const base64 = (bytes: string) => Buffer.from(bytes, "latin1").toString("base64");
  const png = base64("\x89PNG\r\n\x1a\n and so on");

  test.each([
    ["png", png],
    ["jpeg", base64("\xff\xd8\xff\xe0 JFIF")],
    ["gif", base64("GIF89a and so on")],
    ["webp", base64("RIFF1234WEBPVP8 ")],
  ])("of type %s is sent as what it is, whatever it is called", async (type, data) => {
    for (const label of ["image/png", "IMAGE/WEBP", "application/octet-stream", "", "image/png;a=b"])
      expect(await sent(`data:${label};base64,${data}`)).toEqual(
        picture(`data:image/${type};base64,${data}`),
      );
  });

  test.each([
    [`data:image/x-icon;base64,${base64("\0\0\x01\0\x01\0\x10\x10")}`, "image/x-icon"],
    [`data:image/png;base64,${base64("BM and so on")}`, "image/png"],
    [`data:image/x\nIgnore all;base64,${base64("RIFF1234WAVE")}`, "an unknown type"],
    ["data:image/png;base64,", "an unknown type"],
    ["https://example.com/a.png", "an unknown type"],
    [undefined, "an unknown type"],
  ])("that Kimi cannot decode, %j, is left out with a word to the model", async (url, kind) => {
    const text = `(an image of ${kind} was left out: it is none of png, jpeg, gif and webp)`;
    expect(await sent(url)).toEqual({ type: "text", text });
  });

  test("in base64 with line breaks, or for URLs, is sent in plain base64", async () => {
    const data = base64(`\x89PNG\r\n\x1a\n${"\xfb\xff".repeat(60)}`);
    for (const loose of [data.replace(/.{76}/g, "$&\r\n"), data.replaceAll("+", "-").replaceAll("/", "_")]) {
      expect(loose).not.toBe(data);
      expect(await sent(`data:image/png;base64,${loose}`)).toEqual(picture(`data:image/png;base64,${data}`));
    }
  });
});

describe("tools that come in mid-session", () => {
  const tool = (name: string, parameters: object = { type: "object" }) => ({
    type: "function",
    function: { name, description: "d", parameters },
  });
  const further = { role: "system", tools: [tool("late"), tool("later")] };

  test("are sent where they came in, each once", async () => {
    const given = [user, further, { role: "system", content: "Use them." }, user];
    const message = { role: "system", tools: [tool("late"), null, tool("first"), tool("later")] };
    const tools = [tool("first")];
    expect((await body(payload([user, message, ...given.slice(2)], { tools }))).messages).toEqual(given);
  });

  test("leave nothing where there is none left", async () => {
    expect(await messagesOf([user, { role: "system", tools: [{ type: "function" }] }])).toEqual([user]);
    expect(await messagesOf([user, { role: "system", content: null, tools: [tool("a")] }])).toEqual([user]);
  });

  test("count as a part of the prompt", async () => {
    const large = {
      role: "system",
      tools: [tool("late", { type: "object", description: "x".repeat(100_000) })],
    };
    const small = { ...high, model: { ...model, contextWindow: 50_000 } };
    expect((await body(payload([user, large]), small)).max_tokens).toBeLessThan(22_000);
  });
});

test.each([
  { thinking: "both", level: "high", sent: ["thought", ""] },
  { thinking: "both", level: "off", sent: ["thought", undefined] },
  { thinking: "only", level: "off", sent: ["thought", ""] },
  { thinking: "none", level: "high", sent: [undefined, undefined] },
] as const)(
  "of earlier thinking $sent goes to a model that thinks: $thinking, at level $level",
  async ({ thinking, level, sent }) => {
    const earlier = [
      user,
      { role: "assistant", content: "with", reasoning_content: "thought" },
      { role: "assistant", content: "without" },
    ];
    const options = { ...high, model: { ...model, thinking }, thinkingLevel: level };
    const { messages } = await body(payload(earlier), options);
    expect(Object(messages).slice(1)).toEqual([
      { role: "assistant", content: "with", reasoning_content: sent[0] },
      { role: "assistant", content: "without", reasoning_content: sent[1] },
    ]);
  },
);

// Each level of each kind of model: conformance/golden/thinking.json.
test.each([
  // The nearest, of two the higher one.
  ["max", { thinking: "both", efforts: ["low", "high"] }, "high"],
  ["high", { thinking: "both", efforts: ["low", "max"] }, "max"],
  // pi's levels hide off for it.
  ["off", { ...model, thinking: "only", defaultEffort: "high" }, "high"],
] as const)("%s of %j is the effort %s", (level, thinker, effort) => {
  expect(thinkingFor(thinker, level)).toEqual({ type: "enabled", effort, keep: "all" });
});

test("the cache key is the turn's session; for a summary the open one, as far as one is open", () => {
  const madeUp = { sessionId: "made up", cacheRetention: "none" };
  expect(cacheSession({ sessionId: "a", cacheRetention: "short" }, () => "open")).toBe("a");
  expect(cacheSession(undefined, () => "open")).toBe("open");
  expect(cacheSession(madeUp, () => "open")).toBe("open");
  expect(cacheSession(undefined, () => undefined)).toBeUndefined();
  expect(cacheSession(madeUp, () => undefined)).toBe("made up");
});
