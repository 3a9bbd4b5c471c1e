/**
 * Kimi's event stream as pi's adapters can read it. Done on the bytes as they pass; lines that need nothing come out
 * byte for byte.
 *
 * - Cached tokens stand in the usage object, in `prompt_tokens_details` or beside it (pi#8119); pi 0.73 reads the first.
 * - Since August 2026 K3 sends a tool's name in several deltas now and then (kimi-code#3220); pi keeps the first piece.
 * - Of two calls with one id, or with one index, pi makes one call with the arguments of both.
 * - A stream that ends in order without a `finish_reason` was cut off; pi 0.73 takes it for an answer.
 */
import { isJsonObject, type JsonObject } from "../lib/json.ts";

/** What is in a line that may need something. Most hold a piece of text or thinking, and a search costs nothing. */
const NOTED = /"cached_tokens"|"tool_calls"/;
const FINISHED = /"finish_reason"\s*:\s*"/;
const BLANK_LINE = /(?:^|\n)\r?\n/;
const NEWLINE = 0x0a;
/** In bytes. The SDK takes a time that grows with the square of it, 20 s for 20 MB, and pi stands still meanwhile. */
const LARGEST_EVENT = 8 * 1024 * 1024;

/** What the request has said that its answer refers to. */
export interface Asked {
  /** The names of the tools, as they were sent. */
  readonly tools: ReadonlySet<string>;
  /** How many calls the conversation holds already; Kimi numbers them through. */
  readonly calls: number;
}

export interface EventFilter {
  /** The bytes that are ready; undefined while a line is still incomplete. Throws where an event has no end. */
  readonly push: (bytes: Uint8Array) => Uint8Array | undefined;
  /** What is left when the stream ends. Throws where its answer was cut off. */
  readonly end: () => Uint8Array | undefined;
}

/** Holds no more than the line that is under way, and the calls whose name is not complete. */
export function eventFilter(asked: () => Asked): EventFilter {
  const mend = callMender(asked);
  /** The line that is under way. */
  let held: Buffer[] = [];
  /** Of the event that is under way, in bytes. */
  let size = 0;
  let finished = false;

  function readLines(lines: Buffer): Buffer {
    const text = lines.toString("latin1");
    if (BLANK_LINE.test(text)) size = 0;
    const ends = FINISHED.test(text);
    finished ||= ends;
    if (!ends && !NOTED.test(text)) return lines;
    return Buffer.concat(text.split(/(?<=\n)/).map((line) => readLine(Buffer.from(line, "latin1"), mend)));
  }

  return {
    push(given) {
      const bytes = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      const rest = bytes.subarray(end);
      size += end;
      const ready = end > 0 ? readLines(Buffer.concat([...held, bytes.subarray(0, end)])) : undefined;
      if (ready) held = [];
      if (rest.length > 0) held.push(rest);
      size += rest.length;
      if (size > LARGEST_EVENT) throw new Error("an event of more than 8 MB");
      return ready;
    },
    end() {
      const rest = held.length > 0 ? readLines(Buffer.concat(held)) : undefined;
      // As pi 1.6.0's adapter says it.
      if (!finished) throw new Error("Stream ended without finish_reason");
      return rest;
    },
  };
}

/** The line with cached tokens and calls as pi reads them; the same bytes where that changes nothing. */
function readLine(line: Buffer, mend: (chunk: JsonObject) => JsonObject): Buffer {
  const [, head, data = "", end] = /^(data: ?)(\{.*\})(\s*)$/s.exec(line.toString("utf8")) ?? [];
  let counted = false;
  try {
    const chunk: unknown = JSON.parse(data, (key, value) => {
      if (key !== "usage" || !lacksDetails(value)) return value;
      counted = true;
      const { cached_tokens, prompt_tokens_details: details } = value;
      return {
        ...value,
        prompt_tokens_details: { ...(isJsonObject(details) ? details : {}), cached_tokens },
      };
    });
    const said = isJsonObject(chunk) ? mend(chunk) : chunk;
    return said === chunk && !counted ? line : Buffer.from(`${head}${JSON.stringify(said)}${end}`);
  } catch {
    // No JSON, or deeper than it can be walked.
    return line;
  }
}

/** Whether cached tokens are said beside the details alone. */
function lacksDetails(usage: unknown): usage is JsonObject {
  if (!isJsonObject(usage) || typeof usage.cached_tokens !== "number") return false;
  const details = usage.prompt_tokens_details;
  return !isJsonObject(details) || typeof details.cached_tokens !== "number";
}

/** One tool call, as it comes in. */
interface Call {
  /** Under which pi is told of it. */
  readonly index: number;
  id: string;
  /** The first piece of its name, which is what pi would keep, and what all pieces so far make. */
  first: string;
  name: string;
  /** Arguments that came before the name was known; undefined once the call was passed on. */
  waiting: string | undefined;
}

/** Gives what puts the calls of a chunk in order; a chunk in which that changes nothing is the same object. */
function callMender(ask: () => Asked): (chunk: JsonObject) => JsonObject {
  let known: Asked | undefined;
  const asked = () => {
    known ??= ask();
    return known;
  };
  /** The latest call under each index of the service's. */
  const byIndex = new Map<unknown, Call>();
  const all: Call[] = [];
  let newest: unknown = 0;

  /** The tool that is meant; Kimi's models write `functions.` before a name where they speak to themselves. */
  function declared(name: string): string | undefined {
    const { tools } = asked();
    return [name, bare(name)].find((candidate) => tools.has(candidate));
  }

  function isBeginning(name: string): boolean {
    const piece = bare(name);
    for (const tool of asked().tools) if (tool.length > piece.length && tool.startsWith(piece)) return true;
    return false;
  }

  function open(index: unknown, id: string): Call {
    const call = { index: all.length, id, first: "", name: "", waiting: "" };
    all.push(call);
    byIndex.set(index, call);
    return call;
  }

  /** The call as pi is told of it at once, with all that is known of it. */
  function passOn(call: Call): JsonObject {
    const name = declared(call.name) ?? call.first;
    const taken = new Set(all.flatMap((one) => (isWaiting(one) ? [] : [one.id])));
    for (let number = asked().calls + call.index; call.id === "" || taken.has(call.id); number++) {
      call.id = `${name}:${number}`;
    }
    const text = call.waiting ?? "";
    call.waiting = undefined;
    return { index: call.index, id: call.id, type: "function", function: { name, arguments: text } };
  }

  /** One delta of one call, as pi is told of it; undefined while the name is not known. */
  function read(part: JsonObject): JsonObject | undefined {
    const spoken = isJsonObject(part.function) ? part.function : {};
    const id = text(part.id);
    const piece = text(spoken.name);
    newest = part.index ?? newest;
    const known = byIndex.get(newest);
    const isAnother = known?.id && id !== "" && id !== known.id && declared(piece) !== undefined;
    const call = known && !isAnother ? known : open(newest, id);
    if (!isWaiting(call)) return call.index === part.index ? part : { ...part, index: call.index };

    call.id ||= id;
    call.first ||= piece;
    call.name += piece;
    call.waiting = `${call.waiting}${text(spoken.arguments)}`;
    return isComplete(call, piece) ? passOn(call) : undefined;
  }

  /** Whether nothing can be added to the name; `piece` is what the latest delta added. */
  function isComplete({ first, name }: Call, piece: string): boolean {
    if (name === "") return false;
    if (declared(name) === undefined) return !isBeginning(name);
    return name === first || piece === "" || !isBeginning(name);
  }

  return (chunk) => {
    const [choice, ...others]: readonly unknown[] = Array.isArray(chunk.choices) ? chunk.choices : [];
    if (!isJsonObject(choice)) return chunk;
    const delta = isJsonObject(choice.delta) ? choice.delta : {};
    const given: readonly unknown[] = Array.isArray(delta.tool_calls) ? delta.tool_calls : [];
    const told = given.flatMap((part) => (isJsonObject(part) ? (read(part) ?? []) : []));
    if (typeof choice.finish_reason === "string") told.push(...all.filter(isWaiting).map(passOn));
    if (told.length === given.length && told.every((part, at) => part === given[at])) return chunk;
    const { tool_calls, ...rest } = delta;
    const mended = told.length > 0 ? { ...rest, tool_calls: told } : rest;
    return { ...chunk, choices: [{ ...choice, delta: mended }, ...others] };
  };
}

function isWaiting({ waiting }: Call): boolean {
  return waiting !== undefined;
}

function bare(name: string): string {
  return name.trim().replace(/^functions\./, "");
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
