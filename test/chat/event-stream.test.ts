import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventFilter } from "../../extensions/chat/event-stream.ts";

const nothing = () => ({ tools: new Set<string>(), calls: 0 });

/** What comes out for a stream that arrives in these pieces and then ends in order, without that end. */
function filter(pieces: readonly Uint8Array[]): Buffer {
  const { push, end } = eventFilter(nothing);
  const ending = Buffer.from('\ndata: {"choices":[{"finish_reason":"stop"}]}\n');
  const out = Buffer.concat([...pieces, ending].flatMap((piece) => push(piece) ?? []));
  expect(end()).toBeUndefined();
  return out.subarray(0, -ending.length);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return sorted.slice(1).map((to, index) => bytes.subarray(sorted[index], to));
}

const event = (chunk: unknown) => `data: ${JSON.stringify(chunk)}\n\n`;
const filterText = (text: string) => filter([Buffer.from(text)]).toString();

describe("cached tokens", () => {
  it("said beside the details are said in them too, in both usage objects", () => {
    const usage = { prompt_tokens: 9, cached_tokens: 4 };
    const told = { ...usage, prompt_tokens_details: { cached_tokens: 4 } };
    expect(filterText(event({ id: "x", choices: [], usage }))).toBe(
      event({ id: "x", choices: [], usage: told }),
    );
    expect(filterText(event({ choices: [{ index: 0, delta: {}, usage }] }))).toBe(
      event({ choices: [{ index: 0, delta: {}, usage: told }] }),
    );
  });

  it("join details that say something else", () => {
    const usage = { cached_tokens: 4, prompt_tokens_details: { audio_tokens: 1 } };
    expect(filterText(event({ usage }))).toBe(
      event({ usage: { cached_tokens: 4, prompt_tokens_details: { audio_tokens: 1, cached_tokens: 4 } } }),
    );
  });

  it("are found where lines end in CRLF, and in the last line without an end", () => {
    const line = `data:${JSON.stringify({ usage: { cached_tokens: 4 } })}`;
    const told = `data:${JSON.stringify({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } } })}`;
    expect(filterText(`${line}\r\n\r\n${line}`)).toBe(`${told}\r\n\r\n${told}`);
  });

  it.each([
    event({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 0 } } }),
    event({ usage: { prompt_tokens_details: { cached_tokens: 4 } } }),
    event({ usage: { cached_tokens: "4" } }),
    event({ usage: null, choices: [null, { usage: [] }] }),
    event({ choices: [{ delta: { content: '"cached_tokens": 4' } }] }),
    'data:  { "usage" : { "cached_tokens" : 4.0 , "prompt_tokens_details":{"cached_tokens":4} } }\n\n',
    ": cached_tokens\n\n",
    'data: {"usage":{"cached_tokens":4}\n\n',
    "data: [DONE]\n\n",
    "cached_tokens",
    "",
  ])("leave what needs nothing, or says nothing, byte for byte: %j", (text) => {
    expect(filterText(text)).toBe(text);
  });

  it("come out the same wherever the stream is cut, also inside a character", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 20 });
    const usage = fc.record({ prompt_tokens: fc.nat(), cached_tokens: fc.nat() }, { requiredKeys: [] });
    const line = fc.oneof(
      text.map((content) => event({ choices: [{ delta: { content } }] })),
      usage.map((said) => event({ choices: [], usage: said })),
      usage.map((said) => event({ choices: [{ delta: { content: "€𝄞" }, usage: said }] })),
      text.map((comment) => `: ${comment.replace(/[\r\n]/g, "")} cached_tokens\r\n`),
    );
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (lines, places) => {
          const stream = Buffer.from(lines.join(""));
          const whole = filter([stream]);
          expect(filter(cut(stream, places)).equals(whole)).toBe(true);
          expect(filter(Array.from(stream, (byte) => Buffer.of(byte))).equals(whole)).toBe(true);
          const untouched = lines.filter((one) => !one.includes('"cached_tokens"')).join("");
          expect(filter([Buffer.from(untouched)]).toString()).toBe(untouched);
        },
      ),
    );
  });

  it("pass bytes that are no text as they are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (pieces) => {
        expect(filter(pieces).equals(Buffer.concat(pieces))).toBe(true);
      }),
    );
  });
});

/** What pi is told of the calls in these deltas: for each index its id, name and arguments, as both adapters read them. */
function calls(deltas: readonly object[], tools: readonly string[], before = 0) {
  const { push, end } = eventFilter(() => ({ tools: new Set(tools), calls: before }));
  const chunks = [
    ...deltas.map((part) => ({
      choices: [{ index: 0, delta: { tool_calls: [part] }, finish_reason: null }],
    })),
    { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] },
  ];
  const out = Buffer.concat(chunks.flatMap((chunk) => push(Buffer.from(event(chunk))) ?? []));
  end();
  const told = new Map<number, { id: string; name: string; text: string }>();
  for (const line of out.toString().split("\n")) {
    if (!line.startsWith("data: ")) continue;
    for (const part of JSON.parse(line.slice(6)).choices[0].delta.tool_calls ?? []) {
      const known = told.get(part.index) ?? { id: part.id ?? "", name: part.function?.name ?? "", text: "" };
      told.set(part.index, { ...known, text: `${known.text}${part.function?.arguments ?? ""}` });
    }
  }
  return [...told.values()];
}

const named = (name: string, index = 0, id = `call:${index}`) => ({
  index,
  id,
  type: "function",
  function: { name, arguments: "" },
});
const piece = (name: string, index = 0) => ({ index, function: { name } });
const argued = (text: string, index = 0) => ({ index, function: { arguments: text } });
const tools = ["bash", "read", "read_file", "mcp_github_search", "mcp_github_list"];

it("an answer may be as long as it likes, in events that end", () => {
  const { push } = eventFilter(() => ({ tools: new Set(), calls: 0 }));
  const part = Buffer.from(event({ choices: [{ index: 0, delta: { content: "x".repeat(1_000_000) } }] }));
  for (let i = 0; i < 10; i++) expect(push(part)).toEqual(part);
});

describe("a tool call", () => {
  it.each([
    ["in two pieces", [named("ba"), piece("sh"), argued("{}")], "bash"],
    [
      "in three pieces of a long prefix",
      [named("mcp_"), piece("github_"), piece("list"), argued("{}")],
      "mcp_github_list",
    ],
    [
      "whose pieces pass another tool's name",
      [named("re"), piece("ad"), piece("_file"), argued("{}")],
      "read_file",
    ],
    ["whose pieces end at the shorter of two names", [named("re"), piece("ad"), argued("{}")], "read"],
    [
      "whole in every delta",
      [named("bash"), { index: 0, function: { name: "bash", arguments: "{}" } }],
      "bash",
    ],
    ["after its arguments", [{ index: 0, id: "call:0" }, argued("{}"), piece("bash")], "bash"],
    [
      "in pieces after its arguments",
      [{ index: 0, id: "call:0" }, argued("{}"), piece("ba"), piece("sh")],
      "bash",
    ],
    ["as the models write it", [named("functions.bash"), argued("{}")], "bash"],
    ["of no tool, in pieces", [named("ba"), piece("nana"), argued("{}")], "ba"],
    ["of no tool", [named("grep"), argued("{}")], "grep"],
    ["that is the beginning of a tool's, and no more", [named("ba"), argued("{}")], "ba"],
    [
      "that is a tool's before a piece that makes another",
      [named("read"), piece("_file"), argued("{}")],
      "read",
    ],
  ])("with its name %s is called by it", (_, deltas, name) => {
    expect(calls(deltas, tools)).toEqual([{ id: "call:0", name, text: "{}" }]);
  });

  it("is passed on byte for byte where nothing is wrong with it", () => {
    const { push } = eventFilter(() => ({ tools: new Set(tools), calls: 0 }));
    for (const part of [named("bash"), argued('{"a":'), argued("1}"), named("read", 1), argued("{}", 1)]) {
      const line = ` ${event({ choices: [{ index: 0, delta: { tool_calls: [part] } }] })}`.trimStart();
      expect(push(Buffer.from(line))?.toString()).toBe(line);
    }
  });

  it("stays apart from another whose name comes in pieces at the same time", () => {
    const deltas = [
      named("ba"),
      named("re", 1),
      piece("sh"),
      piece("ad", 1),
      argued('{"a":1}'),
      argued('{"b":', 1),
      argued("2}", 1),
    ];
    expect(calls(deltas, tools)).toEqual([
      { id: "call:0", name: "bash", text: '{"a":1}' },
      { id: "call:1", name: "read", text: '{"b":2}' },
    ]);
  });

  it("gets an id of its own where it has none, or another's", () => {
    const empty = [named("bash", 0, ""), argued("1"), named("bash", 1, ""), argued("2", 1)];
    expect(calls(empty, tools, 4)).toEqual([
      { id: "bash:4", name: "bash", text: "1" },
      { id: "bash:5", name: "bash", text: "2" },
    ]);
    const same = [named("bash", 0, "x"), argued("1"), named("read", 1, "x"), argued("2", 1)];
    expect(calls(same, tools)).toEqual([
      { id: "x", name: "bash", text: "1" },
      { id: "read:1", name: "read", text: "2" },
    ]);
  });

  it("stays apart from another under the same index, or under none", () => {
    const wanted = [
      { id: "x", name: "bash", text: "1" },
      { id: "y", name: "read", text: "2" },
    ];
    expect(calls([named("bash", 0, "x"), argued("1"), named("read", 0, "y"), argued("2")], tools)).toEqual(
      wanted,
    );
    const without = (id: string, name: string) => ({
      id,
      type: "function",
      function: { name, arguments: "" },
    });
    const text = (said: string) => ({ function: { arguments: said } });
    expect(calls([without("x", "bash"), text("1"), without("y", "read"), text("2")], tools)).toEqual(wanted);
  });

  it("comes out the same wherever the stream is cut", () => {
    const stream = Buffer.from(
      [named("ba"), piece("sh"), argued("{}")]
        .map((part) => event({ choices: [{ index: 0, delta: { tool_calls: [part] } }] }))
        .join(""),
    );
    const through = (pieces: readonly Buffer[]) => {
      const { push } = eventFilter(() => ({ tools: new Set(tools), calls: 0 }));
      return Buffer.concat(pieces.flatMap((one) => push(one) ?? [])).toString();
    };
    const whole = through([stream]);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 10 }), (places) => {
        expect(through(cut(stream, places))).toBe(whole);
      }),
    );
  });
});

describe("the end of a stream", () => {
  it("is an error where nothing was finished", () => {
    for (const text of [
      "",
      event({ choices: [{ delta: { content: 'a "finish_reason":"stop"' } }] }),
      "data: [DONE]\n\n",
    ]) {
      const { push, end } = eventFilter(nothing);
      push(Buffer.from(text));
      expect(end).toThrow("Stream ended without finish_reason");
    }
  });
});
