/**
 * Kimi's event stream as pi's adapters can read it. Only lines that need it are changed.
 *
 * - Cached tokens stand in the usage object, in `prompt_tokens_details` or beside it (pi#8119); pi 0.73 reads the first.
 * - Since August 2026 K3 sends a tool's name in several deltas now and then (kimi-code#3220); pi keeps the first piece.
 * - Of two calls with one id, or with one index, pi makes one call with the arguments of both.
 * - A stream that ends in order without a `finish_reason` was cut off; pi 0.73 takes it for an answer.
 */
import { isJsonObject, type JsonObject, objectsIn } from "../lib/json.ts";

/** The marks of a line that may need a change. Most lines hold a piece of text or thinking, and a search costs nothing. */
const NOTED = /"cached_tokens"|"tool_calls"|"finish_reason"\s*:\s*"/;
const FINISHED = /"finish_reason"\s*:\s*"/;
const BLANK_LINE = /(?:^|\n)\r?\n/;
/** The largest event, in bytes. The SDK's time grows with its square, 20 s for 20 MB, and pi stands still meanwhile. */
const LARGEST_EVENT = 8 * 1024 * 1024;

export interface EventFilter {
  /** The text of the lines that are complete. Throws where an event has no end. */
  readonly push: (bytes: Uint8Array) => string;
  /** What is left when the stream ends. Throws where its answer was cut off. */
  readonly end: () => string;
}

/** Holds no more than the line that is under way, and the calls whose name is not known. `tools`: their names, as sent. */
export function eventFilter(tools: () => ReadonlySet<string>): EventFilter {
  const mend = callMender(tools);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The line that is under way. */
  let held = "";
  /** Of the event that is under way, in bytes. */
  let size = 0;
  let finished = false;

  function readLines(lines: string): string {
    finished ||= FINISHED.test(lines);
    if (!NOTED.test(lines)) return lines;
    return lines
      .split(/(?<=\n)/)
      .map((line) => (NOTED.test(line) ? readLine(line, mend) : line))
      .join("");
  }

  return {
    push(bytes) {
      const piece = decoder.decode(bytes, { stream: true });
      const end = piece.lastIndexOf("\n") + 1;
      size += bytes.length;
      // Searched in the piece alone: the line may be long, and come in many pieces.
      const lines = end > 0 ? held + piece.slice(0, end) : "";
      held = end > 0 ? piece.slice(end) : held + piece;
      if (BLANK_LINE.test(lines)) size = held.length;
      if (size > LARGEST_EVENT) throw new Error("an event of more than 8 MB");
      return readLines(lines);
    },
    end() {
      const rest = readLines(held);
      // As pi 1.6.0's adapter says it.
      if (!finished) throw new Error("Stream ended without finish_reason");
      return rest;
    },
  };
}

/** The line with cached tokens and calls as pi reads them. */
function readLine(line: string, mend: (choice: JsonObject) => JsonObject): string {
  const [, head, data = "", end] = /^(data: ?)(\{.*\})(\s*)$/s.exec(line) ?? [];
  try {
    const chunk: unknown = JSON.parse(data, (key, value) => (key === "usage" ? withDetails(value) : value));
    const choices: unknown = isJsonObject(chunk) ? chunk.choices : undefined;
    const [first, ...others]: readonly unknown[] = Array.isArray(choices) ? choices : [];
    const said =
      isJsonObject(chunk) && isJsonObject(first) ? { ...chunk, choices: [mend(first), ...others] } : chunk;
    return `${head}${JSON.stringify(said)}${end}`;
  } catch {
    // No JSON, or deeper than it can be walked.
    return line;
  }
}

/** The usage object with its cached tokens in the details, where they are said beside them alone. */
function withDetails(usage: unknown): unknown {
  if (!isJsonObject(usage) || typeof usage.cached_tokens !== "number") return usage;
  const details = isJsonObject(usage.prompt_tokens_details) ? usage.prompt_tokens_details : {};
  return { ...usage, prompt_tokens_details: { cached_tokens: usage.cached_tokens, ...details } };
}

/** One tool call, as it comes in. */
interface Call {
  /** Under which pi is told of it. */
  readonly index: number;
  id: string;
  /** The pieces of its name. */
  readonly name: string[];
  /** Arguments that pi was not told yet. */
  waiting: string;
  /** Whether pi was told of it. */
  told: boolean;
}

/** Makes what puts the calls of one answer in order, chunk by chunk; it takes and gives the chunk's first choice. */
function callMender(tools: () => ReadonlySet<string>): (choice: JsonObject) => JsonObject {
  /** The latest call under each index of the service's. */
  const byIndex = new Map<unknown, Call>();
  const all: Call[] = [];
  let newest: unknown = 0;

  /** The call that a delta belongs to: another id under the same index begins another call. */
  function callOf(index: unknown, id: string, piece: string): Call {
    const known = byIndex.get(index);
    const isAnother = known?.id && id !== "" && id !== known.id && piece !== "";
    if (known && !isAnother) return known;
    const call: Call = { index: all.length, id, name: [], waiting: "", told: false };
    all.push(call);
    byIndex.set(index, call);
    return call;
  }

  function add(part: JsonObject): Call {
    const spoken = isJsonObject(part.function) ? part.function : {};
    const [id, piece] = [text(part.id), text(spoken.name)];
    newest = part.index ?? newest;
    const call = callOf(newest, id, piece);
    call.id ||= id;
    if (piece !== "") call.name.push(piece);
    call.waiting += text(spoken.arguments);
    return call;
  }

  /** What pi is told next of a call: nothing before its arguments begin and its name is a tool's, or the answer `ended`. */
  function news(call: Call, ended: boolean): readonly JsonObject[] {
    const joined = call.name.join("");
    const name = tools().has(joined) ? joined : (call.name[0] ?? "");
    const isNamed = call.told || ended || tools().has(name);
    const isNew = call.waiting !== "" || (ended && !call.told);
    if (!isNamed || !isNew) return [];
    const spoken = { arguments: call.waiting };
    call.waiting = "";
    if (call.told) return [{ index: call.index, function: spoken }];
    const taken = new Set(all.filter(({ told }) => told).map(({ id }) => id));
    for (let number = call.index; call.id === "" || taken.has(call.id); number++)
      call.id = `${name}:${number}`;
    call.told = true;
    return [{ index: call.index, id: call.id, type: "function", function: { name, ...spoken } }];
  }

  return (choice) => {
    const { tool_calls, ...delta } = isJsonObject(choice.delta) ? choice.delta : {};
    const touched = new Set(objectsIn(tool_calls).map(add));
    const ended = typeof choice.finish_reason === "string";
    const told = (ended ? all : [...touched]).flatMap((call) => news(call, ended));
    if (tool_calls === undefined && told.length === 0) return choice;
    return { ...choice, delta: told.length > 0 ? { ...delta, tool_calls: told } : delta };
  };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
