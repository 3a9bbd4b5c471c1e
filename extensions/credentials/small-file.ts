/**
 * Small files read without trusting what stands there.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

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
export async function readSmallFile(path: string, { limit = LIMIT } = {}): Promise<FileRead> {
  return readSmallFileSync(path, { limit });
}

/** `readSmallFile` for code that must not let anything else in this process run in between. */
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
  if (file.state !== "read") return undefined;
  try {
    return JSON.parse(file.text);
  } catch {
    return undefined;
  }
}

/** The system's name for what went wrong. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "EUNKNOWN";
}
