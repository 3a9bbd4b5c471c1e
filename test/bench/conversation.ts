/** A long conversation as pi's adapter makes it, for measuring: clean, or with everything in it that is repaired. */

/** `chinese` is clean as well; its texts take three bytes for each character, its tokens fewer characters. */
export type Style = "clean" | "chinese" | "damaged";

type Message = Readonly<Record<string, unknown>>;

/** About `count` messages of `characters` in all: turns of a question, a thought with a call, its result, an answer. */
export function messagesOf(count: number, characters: number, style: Style): readonly Message[] {
  const size = Math.floor(characters / (style === "chinese" ? 3 : 1) / (count * 1.25));
  const text = textOf(style === "chinese" ? "思考问题的时候" : "Some words of code; ", size);
  const turns = Array.from({ length: Math.floor(count / 4) }, (_, turn) =>
    style === "damaged" ? damagedTurn(turn, text) : cleanTurn(turn, text),
  );
  return [{ role: style === "damaged" ? "developer" : "system", content: text }, ...turns.flat()];
}

function textOf(words: string, size: number): string {
  // Joined, so that it is one flat string, as one that was parsed from JSON.
  return Array.from({ length: Math.ceil(size / words.length) }, () => words)
    .join("")
    .slice(0, size);
}

function cleanTurn(turn: number, text: string): readonly Message[] {
  const call = { name: `tool_${turn % 60}`, arguments: JSON.stringify({ path: text }) };
  const id = `call:${turn}`;
  return [
    { role: "user", content: `${turn} ${text}` },
    {
      role: "assistant",
      content: null,
      reasoning_content: text,
      tool_calls: [{ id, type: "function", function: call }],
    },
    { role: "tool", content: text, tool_call_id: id },
    { role: "assistant", content: text, reasoning_content: "" },
  ];
}

function damagedTurn(turn: number, text: string): readonly Message[] {
  const call = { name: `tool.${turn % 60}`, arguments: JSON.stringify({ path: text }) };
  const id = `call|${turn}`;
  return [
    {
      role: "user",
      content: [
        { type: "text", text: "" },
        { type: "text", text },
      ],
    },
    { role: "assistant", content: "", tool_calls: [{ id, type: "function", function: call, strict: false }] },
    { role: "tool", tool_call_id: id, content: text, name: call.name },
    { role: "assistant", content: text, reasoning: text },
  ];
}

/** Tools of five parameters each, made once as pi makes them. */
export function toolsOf(count: number, style: Style): readonly object[] {
  const damaged = style === "damaged";
  return Array.from({ length: count }, (_, index) => ({
    type: "function",
    function: {
      name: `tool${damaged ? "." : "_"}${index}`,
      description: "Does something with a file of the project and says what became of it.",
      parameters: {
        type: "object",
        properties: {
          path: { type: "string", description: "Where the file is" },
          lines: { type: "array", items: { type: "number" }, description: "Which of its lines" },
          mode: damaged ? { enum: ["read", "write"] } : { type: "string", enum: ["read", "write"] },
          limit: damaged ? { description: "How many" } : { type: "number", description: "How many" },
          deep: damaged
            ? { type: "string", anyOf: [{ type: "string" }, { type: "null" }] }
            : { type: "boolean" },
        },
        required: ["path"],
      },
      ...(damaged ? { strict: false } : {}),
    },
  }));
}
