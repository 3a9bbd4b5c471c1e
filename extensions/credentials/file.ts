/**
 * Small files replaced so that a reader sees the old or the new one, whole. What only reads them is loaded apart, for pi
 * reads some at its start.
 */
import { lstatSync, mkdirSync, readlinkSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { LIMIT, systemCode } from "./small-file.ts";
import { type Replacement, rehearse, type StagedFile, stage, stageSync } from "./staged-file.ts";

export { type FileRead, readJsonSync, readSmallFile, readSmallFileSync, systemCode } from "./small-file.ts";

export type FileWrite =
  | { readonly state: "written" }
  /** The old file is whole; or it was as well as could be put back, where only writing in place was possible. */
  | { readonly state: "failed"; readonly code: string };

/** The new content beside the old file, one rename away from its place; to be committed or discarded, once. */
export type Staging =
  | { readonly state: "staged"; readonly commit: () => FileWrite; readonly discard: () => void }
  | { readonly state: "failed"; readonly code: string };

export type Rehearsal =
  | { readonly state: "possible" }
  /** `code` is the system's. */
  | { readonly state: "failed"; readonly code: string };

export interface WriteOptions {
  /** The mode of the file afterwards, whatever umask and old file say. */
  readonly mode: number;
  /** Creates missing directories with this mode; without it they are an ENOENT. */
  readonly directoryMode?: number;
  /** False for what is worth nothing after a crash of the machine: it is not forced onto the disk. Default true. */
  readonly durable?: boolean;
}

const LONGEST_CHAIN_OF_LINKS = 40;

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
 * fsync, rename; in place where it is mounted by itself. Writes to one file take effect in the order of the calls.
 * Never throws; leaves no temporary file behind.
 */
export async function writeFileAtomically(
  path: string,
  text: string,
  options: WriteOptions,
): Promise<FileWrite> {
  const before = writing.get(path);
  const own = (async () => {
    await before;
    const staged = await stageFile(path, text, options);
    return staged.state === "staged" ? staged.commit() : staged;
  })();
  writing.set(path, own);
  const outcome = await own;
  if (writing.get(path) === own) writing.delete(path);
  return outcome;
}

/** The last of the writes that are under way, by path. */
const writing = new Map<string, Promise<FileWrite>>();

/** `writeFileAtomically` for code that must not let anything else in this process run in between. */
export function writeFileAtomicallySync(path: string, text: string, options: WriteOptions): FileWrite {
  const staged = stageFileSync(path, text, options);
  return staged.state === "staged" ? staged.commit() : staged;
}

/** The first half of `writeFileAtomically`, for whoever must look once more before the second. Never throws. */
export async function stageFile(path: string, text: string, options: WriteOptions): Promise<Staging> {
  try {
    return stagedFile(await stage(prepare(path, Buffer.from(text), options)));
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

function stageFileSync(path: string, text: string, options: WriteOptions): Staging {
  try {
    return stagedFile(stageSync(prepare(path, Buffer.from(text), options)));
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

function stagedFile({ commit, discard }: StagedFile): Staging {
  return {
    state: "staged",
    discard,
    commit() {
      try {
        commit();
        return { state: "written" };
      } catch (error) {
        return { state: "failed", code: systemCode(error) };
      }
    },
  };
}

/**
 * Whether the file that `path` leads to could be replaced now by one that is `more` bytes longer: does all of it but
 * the fsync and the rename. Never throws, leaves nothing behind.
 */
export function rehearseWrite(path: string, more: number, options: WriteOptions): Rehearsal {
  try {
    const { old, ...replacement } = prepare(path, Buffer.alloc(0), options);
    const size = Math.min(old?.size ?? 0, LIMIT) + more;
    rehearse({ ...replacement, old, content: Buffer.alloc(size, "x") });
    return { state: "possible" };
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
}

function prepare(
  path: string,
  content: Buffer,
  { mode, directoryMode, durable = true }: WriteOptions,
): Replacement {
  if (directoryMode !== undefined) mkdirSync(dirname(path), { recursive: true, mode: directoryMode });
  const target = followLinks(path);
  const old = lstatSync(target, { throwIfNoEntry: false });
  if (old && !old.isFile()) throw systemError(old.isDirectory() ? "EISDIR" : "EFTYPE");
  return { target, old, content, mode, durable };
}

/** Where writing to `path` ends up. Unlike realpath, also when nothing is there yet. Throws what the system says. */
function followLinks(path: string): string {
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

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
