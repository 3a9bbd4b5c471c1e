/** JSON, and the small files it comes in: nothing is assumed about either. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** What JSON calls an object: the first question to anything that was parsed. */
export type JsonObject = { readonly [key: string]: unknown };

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The objects in a list; none where it is no list. */
export function objectsIn(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** Whether a text says nothing. Stops at the first visible character, so a long text costs no more than a short one. */
export function isBlank(text: string): boolean {
  const first = text.charCodeAt(0);
  // Nearly every text begins with a printable ASCII character, and a regular expression costs ten times as much.
  return !(first > 0x20 && first < 0x7f) && !/\S/.test(text);
}

/** The value that `text` holds; undefined where it is no JSON. Never throws. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export type FileRead =
  | { readonly state: "read"; readonly text: string }
  | { readonly state: "absent" }
  /** `code` is the system's; EFTYPE stands for anything that is neither file nor directory (FIFO, device). */
  | { readonly state: "unreadable"; readonly code: string }
  | { readonly state: "too-large" }
  /** Not UTF-8. */
  | { readonly state: "not-text" };

/** Bytes; more is no small file. */
export const LIMIT = 1024 * 1024;

/** Reads a regular file of at most `limit` bytes. Never throws, and never waits for the other end of a FIFO. */
export function readSmallFileSync(path: string, { limit = LIMIT } = {}): FileRead {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0));
    const stat = fstatSync(file);
    if (stat.isDirectory()) return { state: "unreadable", code: "EISDIR" };
    if (!stat.isFile()) return { state: "unreadable", code: "EFTYPE" };
    const bytes = readBounded(file, limit);
    return bytes ? decode(bytes) : { state: "too-large" };
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? { state: "absent" } : { state: "unreadable", code };
  } finally {
    if (file !== undefined) closeQuietly(file);
  }
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // What was read is whole, or its error is known already.
  }
}

/** All there is, or undefined when that is more than `limit` bytes; the size in `stat` may be a lie (/proc). */
function readBounded(file: number, limit: number): Uint8Array | undefined {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(Math.min(16 * 1024, limit + 1));
    const count = readSync(file, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks);
    total += count;
    if (total > limit) return undefined;
    chunks.push(chunk.subarray(0, count));
  }
}

function decode(bytes: Uint8Array): FileRead {
  try {
    return { state: "read", text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    return { state: "not-text" };
  }
}

/** The JSON value in a small file; undefined where there is none to be had. Never throws. */
export function readJsonSync(path: string, options?: { readonly limit: number }): unknown {
  const file = readSmallFileSync(path, options);
  return file.state === "read" ? parseJson(file.text) : undefined;
}

/** The system's name for what went wrong. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "EUNKNOWN";
}

/** Each key's value as JSON text. */
export type Members = ReadonlyMap<string, string>;

/** The members of the object that `text` holds; undefined when it holds anything else. Never throws. */
export function parseMembers(text: string): Members | undefined {
  if (!isJsonObject(parseJson(text))) return undefined;
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

/** The members of the object that is the member `key`; none where there is no such object. */
export function membersIn(members: Members, key: string): Members {
  return parseMembers(members.get(key) ?? "") ?? new Map();
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
