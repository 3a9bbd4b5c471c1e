import { describe, expect, it } from "vitest";
import { eventFilter } from "../../extensions/chat/event-stream.ts";

const event = (chunk: unknown) => `data: ${JSON.stringify(chunk)}\n\n`;
const finish = (reason: string) => ({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
const tools = ["bash", "read", "read_file", "mcp_github_search", "mcp_github_list"];

/** What comes out for a stream that arrives in these pieces and then ends in order, without that end. */
function filter(pieces: readonly (Uint8Array | string)[]): string {
  const { push, end } = eventFilter(() => new Set(tools));
  const ending = event(finish("stop"));
  const out = [...pieces, ending].map((piece) => push(Buffer.from(piece))).join("") + end();
  expect(out.endsWith(ending)).toBe(true);
  return out.slice(0, -ending.length);
}

describe("cached tokens", () => {
  const told = { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } };

  it("said beside the details are said in them too, in both usage objects", () => {
    expect(filter([event({ choices: [], usage: { cached_tokens: 4 } })])).toBe(
      event({ choices: [], usage: told }),
    );
    const choice = { index: 0, usage: { cached_tokens: 4 }, delta: {} };
    expect(filter([event({ choices: [choice] })])).toBe(event({ choices: [{ ...choice, usage: told }] }));
  });

  it("join details that say something else, and give way to those that say it", () => {
    const usage = { cached_tokens: 4, prompt_tokens_details: { audio_tokens: 1 } };
    expect(filter([event({ usage })])).toContain(
      '"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":1}',
    );
    const both = event({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 0 } } });
    expect(filter([both])).toBe(both);
  });

  it("are found where lines end in CRLF", () => {
    const line = (usage: object) => `data:${JSON.stringify({ usage })}\r\n\r\n`;
    expect(filter([line({ cached_tokens: 4 })])).toBe(line(told));
  });

  it.each([
    event({ usage: null, choices: [null, { usage: [] }] }),
    event({ choices: [{ delta: { content: '"cached_tokens": 4' } }] }),
    ": cached_tokens\n\n",
    'data: {"usage":{"cached_tokens":4}\n\n',
    "data: [DONE]\n\n",
  ])("leave what says nothing of them as it is: %j", (text) => {
    expect(filter([text])).toBe(text);
  });
});

it.each([0, 1, 2])(
  "an answer may be long, in events that end, also when cut %i bytes before it",
  (before) => {
    const { push } = eventFilter(() => new Set());
    const part = event({ choices: [{ index: 0, delta: { content: "x".repeat(1_000_000) } }] });
    const cuts = [part.slice(0, part.length - before), part.slice(part.length - before)];
    for (let i = 0; i < 10; i++) expect(cuts.map((cut) => push(Buffer.from(cut))).join("")).toBe(part);
  },
);

it.each(["", event({ choices: [{ delta: { content: 'a "finish_reason":"stop"' } }] }), "data: [DONE]\n\n"])(
  "the end of a stream in which nothing was finished is an error: %j",
  (text) => {
    const { push, end } = eventFilter(() => new Set());
    push(Buffer.from(text));
    expect(end).toThrow("Stream ended without finish_reason");
  },
);

/** What pi is told of the calls in these deltas: for each index its id, name and arguments, as both adapters read them. */
function calls(...deltas: readonly object[]) {
  const { push } = eventFilter(() => new Set(tools));
  const chunks = [
    ...deltas.map((part) => ({
      choices: [{ index: 0, delta: { tool_calls: [part] }, finish_reason: null }],
    })),
    finish("tool_calls"),
  ];
  const told = new Map<number, { id: string; name: string; text: string }>();
  for (const line of chunks
    .map((chunk) => push(Buffer.from(event(chunk))))
    .join("")
    .split("\n")) {
    if (line === "") continue;
    for (const part of JSON.parse(line.slice(6)).choices[0].delta.tool_calls ?? []) {
      const known = told.get(part.index) ?? { id: part.id, name: part.function.name, text: "" };
      told.set(part.index, { ...known, text: known.text + part.function.arguments });
    }
  }
  return [...told.values()];
}

const piece = (name: string, index = 0) => ({ index, function: { name } });
const named = (name: string, index = 0, id = `call:${index}`) => ({
  index,
  id,
  type: "function",
  function: { name, arguments: "" },
});
const argued = (text: string, index = 0) => ({ index, function: { arguments: text } });

describe("a tool call", () => {
  it.each([
    ["in two pieces", [named("ba"), piece("sh"), argued("{}")], "bash"],
    ["in three", [named("mcp_"), piece("github_"), piece("list"), argued("{}")], "mcp_github_list"],
    ["in pieces that pass another's", [named("re"), piece("ad"), piece("_file"), argued("{}")], "read_file"],
    ["that begins another's", [named("re"), piece("ad"), argued("{}")], "read"],
    [
      "whole in every delta",
      [named("bash"), { index: 0, function: { name: "bash", arguments: "{}" } }],
      "bash",
    ],
    ["in pieces after its arguments", [argued("{}"), named("ba"), piece("sh")], "bash"],
    ["of no tool, in pieces", [named("ba"), piece("nana"), argued("{}")], "ba"],
    ["of no tool", [named("grep"), argued("{}")], "grep"],
  ])("with its name %s is called by it", (_, deltas, name) => {
    expect(calls(...deltas)).toEqual([{ id: "call:0", name, text: "{}" }]);
  });

  it("that takes no arguments is told of", () => {
    expect(calls(named("ba"), piece("sh"))).toEqual([{ id: "call:0", name: "bash", text: "" }]);
  });

  it("is passed on while its arguments come", () => {
    const { push } = eventFilter(() => new Set(tools));
    const said = [named("bash"), argued('{"a":'), argued("1}")].map((part) =>
      push(Buffer.from(event({ choices: [{ index: 0, delta: { tool_calls: [part] } }] }))),
    );
    expect(said[1]).toContain('"name":"bash","arguments":"{\\"a\\":"');
    expect(said[2]).toContain('{"arguments":"1}"}');
  });

  it("stays apart from another whose name comes in pieces at the same time", () => {
    const names = [named("ba"), named("re", 1), piece("sh"), piece("ad", 1)];
    expect(calls(...names, argued("1"), argued("2", 1), argued("3", 1))).toEqual([
      { id: "call:0", name: "bash", text: "1" },
      { id: "call:1", name: "read", text: "23" },
    ]);
  });

  it("gets an id of its own where it has none, or another's", () => {
    expect(calls(named("bash", 0, ""), argued("1"), named("bash", 1, ""), argued("2", 1))).toEqual([
      { id: "bash:0", name: "bash", text: "1" },
      { id: "bash:1", name: "bash", text: "2" },
    ]);
    expect(calls(named("bash", 0, "x"), argued("1"), named("read", 1, "x"), argued("2", 1))).toEqual([
      { id: "x", name: "bash", text: "1" },
      { id: "read:1", name: "read", text: "2" },
    ]);
  });

  it.each([0, undefined])("stays apart from another under the same index, %s", (index) => {
    const said = [named("bash", 0, "x"), argued("1"), named("read", 0, "y"), argued("2")];
    expect(calls(...said.map((part) => ({ ...part, index })))).toEqual([
      { id: "x", name: "bash", text: "1" },
      { id: "y", name: "read", text: "2" },
    ]);
  });
});
