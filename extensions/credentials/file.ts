/**
 * Small files read without trusting what stands there, and replaced so that a reader sees the old or the new one, whole.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import type WriteFileAtomic from "write-file-atomic";

export type FileRead =
  | { readonly state: "read"; readonly text: string }
  | { readonly state: "absent" }
  /** `code` is the system's; EFTYPE stands for anything that is neither file nor directory (FIFO, device). */
  | { readonly state: "unreadable"; readonly code: string }
  | { readonly state: "too-large" }
  /** Not UTF-8. */
  | { readonly state: "not-text" };

export type FileWrite =
  | { readonly state: "written" }
  /** The old file is whole. */
  | { readonly state: "failed"; readonly code: string };

export interface WriteOptions {
  /** The mode of the file afterwards, whatever umask and old file say. */
  readonly mode: number;
  /** Creates missing directories with this mode; without it they are an ENOENT. */
  readonly directoryMode?: number;
  /** False for what is worth nothing after a crash of the machine: it is not forced onto the disk. Default true. */
  readonly durable?: boolean;
}

const LIMIT = 1024 * 1024;
const LONGEST_CHAIN_OF_LINKS = 40;

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

/** Replaces a file of our own by `value` as JSON (0600, atomic; missing folders 0700). Never throws. */
export function keepJson(path: string, value: unknown): Promise<FileWrite> {
  return writeFileAtomically(path, asText(value), OWN);
}

/** `keepJson` for code that must not let anything else in this process run in between. */
export function keepJsonSync(path: string, value: unknown): FileWrite {
  return writeFileAtomicallySync(path, asText(value), OWN);
}

const OWN: WriteOptions = { mode: 0o600, directoryMode: 0o700 };

function asText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/**
 * Replaces the file that `path` leads to (through symlinks, also dangling ones) by `text`: temporary file beside it,
 * fsync, rename. Never throws; leaves no temporary file behind.
 */
export async function writeFileAtomically(
  path: string,
  text: string,
  options: WriteOptions,
): Promise<FileWrite> {
  try {
    const target = prepare(path, options);
    const { mode, durable = true } = options;
    await atomic()(target, "", { mode, fsync: durable, tmpfileCreated: fill(text) });
    return { state: "written" };
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

/** `writeFileAtomically` for code that must not let anything else in this process run in between. */
export function writeFileAtomicallySync(path: string, text: string, options: WriteOptions): FileWrite {
  try {
    const target = prepare(path, options);
    const { mode, durable = true } = options;
    atomic().sync(target, "", { mode, fsync: durable, tmpfileCreated: fill(text) });
    return { state: "written" };
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

/**
 * Writes the content as soon as the temporary file is there: write-file-atomic itself calls write(2) once and takes
 * a short count, which is what a nearly full disk answers, for success.
 */
function fill(text: string): (temporary: string) => void {
  return (temporary) => writeFileSync(temporary, text, { flag: "r+" });
}

function prepare(path: string, { directoryMode }: WriteOptions): string {
  if (directoryMode !== undefined) mkdirSync(dirname(path), { recursive: true, mode: directoryMode });
  const target = followLinks(path);
  const stat = lstatSync(target, { throwIfNoEntry: false });
  if (stat && !stat.isFile()) throw systemError(stat.isDirectory() ? "EISDIR" : "EFTYPE");
  return target;
}

/** Where writing to `path` ends up. Unlike realpath, also when nothing is there yet. Throws what the system says. */
export function followLinks(path: string): string {
  let at = resolve(path);
  for (let links = 0; links <= LONGEST_CHAIN_OF_LINKS; links++) {
    let next: string;
    try {
      next = readlinkSync(at);
    } catch (error) {
      const code = systemCode(error);
      // EINVAL: not a link; UNKNOWN: Windows' word for it.
      if (code === "EINVAL" || code === "ENOENT" || code === "UNKNOWN") return at;
      throw error;
    }
    at = resolve(realpathSync(dirname(at)), next);
  }
  throw systemError("ELOOP");
}

/** The library, loaded when it is first used; a native ESM import would cost seven times as much. */
function atomic(): typeof WriteFileAtomic {
  return createRequire(import.meta.url)("write-file-atomic");
}

/** Loads the library, for whoever has a moment before the first write. Never throws: what is missing, the write says. */
export function loadWriter(): void {
  try {
    atomic();
  } catch {}
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** The system's name for what went wrong. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "EUNKNOWN";
}
