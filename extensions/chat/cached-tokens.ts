/**
 * Cached tokens where pi's adapters look for them: Kimi says them in the usage object, in `prompt_tokens_details` or
 * beside it (pi#8119), and pi 0.73 reads the first place only. Done on the bytes of the event stream as they pass.
 */
import { isJsonObject, type JsonObject } from "../oauth/json-object.ts";

const FIELD = "cached_tokens";
const NEWLINE = 0x0a;
/** A line longer than this passes unread, in bytes; one with the usage has a few hundred. */
const LONGEST_LINE = 262_144;

export interface LineFilter {
  /** The bytes that are ready; undefined while a line is still incomplete. */
  readonly push: (bytes: Uint8Array) => Uint8Array | undefined;
  /** What is left when the stream ends. */
  readonly end: () => Uint8Array | undefined;
}

/** Holds no more than the line that is under way; lines that need nothing come out byte for byte. */
export function cachedTokensFilter(): LineFilter {
  let held: Buffer[] = [];
  let length = 0;
  /** Inside a line that is too long to be held. */
  let passing = false;

  function hold(bytes: Buffer): void {
    held.push(bytes);
    length += bytes.length;
  }

  /** Everything held, which begins at a line's start. */
  function release(): Buffer {
    const [only] = held;
    const bytes = held.length === 1 && only ? only : Buffer.concat(held);
    held = [];
    length = 0;
    return bytes;
  }

  return {
    push(given) {
      const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      let ready: Buffer | undefined;
      if (end > 0) {
        if (passing) {
          const rest = bytes.indexOf(NEWLINE) + 1;
          passing = false;
          ready = Buffer.concat([bytes.subarray(0, rest), rewriteLines(bytes.subarray(rest, end))]);
        } else {
          hold(bytes.subarray(0, end));
          ready = rewriteLines(release());
        }
      }
      if (passing) return bytes;
      if (end < bytes.length) hold(bytes.subarray(end));
      if (length <= LONGEST_LINE) return ready;
      passing = true;
      return ready ? Buffer.concat([ready, release()]) : release();
    },
    end: () => (length > 0 ? rewriteLines(release()) : undefined),
  };
}

function rewriteLines(lines: Buffer): Buffer {
  // Nearly always nothing is said of it, and a search costs nothing.
  if (!lines.includes(FIELD)) return lines;
  const parts: Buffer[] = [];
  for (let start = 0; start < lines.length; ) {
    const newline = lines.indexOf(NEWLINE, start);
    const end = newline < 0 ? lines.length : newline + 1;
    const line = lines.subarray(start, end);
    parts.push(line.includes(FIELD) ? rewriteLine(line) : line);
    start = end;
  }
  return Buffer.concat(parts);
}

function rewriteLine(line: Buffer): Buffer {
  const [, head, data, end] = /^(data: ?)(\{.*\})(\s*)$/s.exec(line.toString("utf8")) ?? [];
  if (head === undefined || data === undefined || end === undefined) return line;
  const chunk = parse(data);
  const said = isJsonObject(chunk) ? withDetails(chunk) : chunk;
  const text = said === chunk ? undefined : write(said);
  return text === undefined ? line : Buffer.from(`${head}${text}${end}`);
}

/** The chunk with each usage object in it completed; the same object where that changes nothing. */
function withDetails(chunk: JsonObject): JsonObject {
  const usage = complete(chunk.usage);
  const given: readonly unknown[] = Array.isArray(chunk.choices) ? chunk.choices : [];
  const choices = given.map((choice) => {
    if (!isJsonObject(choice)) return choice;
    const completed = complete(choice.usage);
    return completed === choice.usage ? choice : { ...choice, usage: completed };
  });
  const changed = usage !== chunk.usage || choices.some((choice, index) => choice !== given[index]);
  if (!changed) return chunk;
  return {
    ...chunk,
    ...(Array.isArray(chunk.choices) ? { choices } : {}),
    ...(usage === undefined ? {} : { usage }),
  };
}

/** What the details already say is left as it is. */
function complete(usage: unknown): unknown {
  if (!isJsonObject(usage) || typeof usage.cached_tokens !== "number") return usage;
  const details = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {};
  if (typeof details.cached_tokens === "number") return usage;
  return { ...usage, prompt_tokens_details: { ...details, cached_tokens: usage.cached_tokens } };
}

/** undefined where the value goes deeper than it can be written: it can be read at any depth. */
function write(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
