/**
 * The members of a JSON object with their values as they were written, so that what other programs put into a file
 * survives our write to the byte: order, number format, whatever we know nothing about.
 */

/** Each key's value as JSON text. */
export type Members = ReadonlyMap<string, string>;

/** The members of the object that `text` holds; undefined when it holds anything else. Never throws. */
export function parseMembers(text: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  } catch {
    return undefined;
  }
  const members = new Map<string, string>();
  let at = text.indexOf("{") + 1;
  for (;;) {
    at = skip(text, at, /[\s,]*/y);
    if (text[at] === "}") return members;
    const key = text.slice(at, endOfString(text, at));
    const start = skip(text, at + key.length, /\s*:\s*/y);
    at = endOfValue(text, start);
    members.set(String(JSON.parse(key)), text.slice(start, at));
  }
}

/** The value of one member, to be parsed; undefined when there is none. */
export function memberValue(members: Members, key: string): unknown {
  const text = members.get(key);
  return text === undefined ? undefined : JSON.parse(text);
}

/** `{"a": 1, "b": 2}`, as Python's json.dumps writes it. */
export function onOneLine(members: Members): string {
  return `{${[...members].map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(", ")}}`;
}

/** As `JSON.stringify(x, null, 2)` writes an object that stands `depth` levels deep. */
export function indented(members: Members, depth = 0): string {
  if (members.size === 0) return "{}";
  const margin = "  ".repeat(depth);
  const lines = [...members].map(([key, value]) => `${margin}  ${JSON.stringify(key)}: ${value}`);
  return `{\n${lines.join(",\n")}\n${margin}}`;
}

// What follows reads text that JSON.parse has accepted, so the grammar need not be checked again.

function skip(text: string, at: number, pattern: RegExp): number {
  pattern.lastIndex = at;
  pattern.test(text);
  return pattern.lastIndex;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== "{" && first !== "[") return skip(text, start, /[^\s,\]}]*/y);
  let depth = 0;
  for (let at = start; ; ) {
    const character = text[at];
    if (character === '"') {
      at = endOfString(text, at);
      continue;
    }
    if (character === "{" || character === "[") depth += 1;
    if (character === "}" || character === "]") depth -= 1;
    at += 1;
    if (depth === 0) return at;
  }
}
