/**
 * Small files replaced so that a reader sees the old or the new one, whole. A draft is made beside the file, filled,
 * and put in its place by a rename; it can be filled with blanks first, so that there is room when it matters. All of it
 * is synchronous, so that nothing else in this process comes in between.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { systemCode } from "./json.ts";
import { giveToFolderOwner, makeFolder } from "./owner.ts";

export type FileWrite =
  | { readonly state: "written" }
  /** The old file is whole; or it was as well as could be put back, where only writing in place was possible. */
  | { readonly state: "failed"; readonly code: string };

/** What is to stand in a file's place: to be filled, then put or discarded. Nothing of it throws. */
export interface Draft {
  /** Writes the whole text and forces it onto the disk. May be called again. */
  fill(text: string): FileWrite;
  /** Puts it in the file's place. After a failure it may be tried again. */
  put(): FileWrite;
  /** Removes what is not in place. May be called at any time. */
  discard(): void;
}

export type Drafting =
  | { readonly state: "drafted"; readonly draft: Draft }
  | { readonly state: "failed"; readonly code: string };

export interface WriteOptions {
  /** The mode of the file afterwards, whatever umask and old file say. */
  readonly mode: number;
  /** Creates missing directories with this mode; without it they are an ENOENT. */
  readonly directoryMode?: number;
}

/** Replaces a file of our own by `value` as JSON (0600, atomic; missing folders 0700). Throws where it is no JSON. */
export function keepJson(path: string, value: unknown): FileWrite {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  return replaceFile(path, text, { mode: 0o600, directoryMode: 0o700 });
}

/**
 * Replaces the file that `path` leads to (through symlinks, also dangling ones) by `text`: temporary file beside it,
 * fsync, rename, fsync of the folder; in place where it is mounted by itself. Never throws; leaves no temporary file
 * behind.
 */
export function replaceFile(path: string, text: string, options: WriteOptions): FileWrite {
  const drafting = draftFile(path, options);
  if (drafting.state === "failed") return drafting;
  const { draft } = drafting;
  const filled = draft.fill(text);
  const outcome = filled.state === "written" ? draft.put() : filled;
  draft.discard();
  return outcome;
}

/** Begins a draft beside the file that `path` leads to. Never throws. */
export function draftFile(path: string, options: WriteOptions): Drafting {
  let begun: Begun;
  try {
    begun = begin(path, options);
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  }
  const attempt = (work: () => void): FileWrite => {
    try {
      work();
      return { state: "written" };
    } catch (error) {
      return { state: "failed", code: systemCode(error) };
    }
  };
  const draft: Draft = {
    fill: (text) => attempt(() => fillFile(begun.file, Buffer.from(text))),
    put: () => attempt(() => put(begun, options.mode)),
    discard: () => end(begun),
  };
  return { state: "drafted", draft };
}

/** A draft that exists. */
interface Begun {
  readonly path: string;
  readonly file: number;
  isOpen: boolean;
  /** Where it is to stand; no symlink. */
  readonly target: string;
}

const ENDING = ".pi-new";
/** Age in ms at which a draft is rubbish: its process was killed. */
const LEFT_BEHIND = 60 * 60_000;

/** Drafts that are neither in place nor discarded, to be removed when the process exits. */
const unfinished = new Set<string>();

function begin(path: string, { mode, directoryMode }: WriteOptions): Begun {
  if (directoryMode !== undefined) makeFolder(dirname(path), directoryMode);
  const target = followLinks(path);
  const old = lstatSync(target, { throwIfNoEntry: false });
  if (old && !old.isFile()) throw systemError(old.isDirectory() ? "EISDIR" : "EFTYPE");
  if (old) checkMount(target);
  const draft = `${target}.${process.pid}-${Math.random().toString(36).slice(2)}${ENDING}`;
  const begun: Begun = { path: draft, file: openSync(draft, "wx+", mode), isOpen: true, target };
  if (unfinished.size === 0) process.on("exit", removeUnfinished);
  unfinished.add(draft);
  try {
    if (old) keepOwner(begun.file, old);
    else giveToFolderOwner(begun.file, draft);
    setMode(begun.file, mode);
  } catch (error) {
    end(begun);
    throw error;
  }
  removeLeftBehind(begun);
  return begun;
}

/** Where writing to `path` ends up, also when nothing is there yet. Throws what the system says. */
function followLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink ? followLinks(resolve(realpathSync(dirname(path)), readlinkSync(path))) : path;
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** A file that is mounted by itself can only be written in place, and perhaps not even that. */
function checkMount(target: string): void {
  try {
    closeSync(openSync(target, "r+"));
  } catch (error) {
    // EPERM: immutable. Its mode (EACCES) is no hindrance for a rename.
    if (["EROFS", "EPERM"].includes(systemCode(error))) throw error;
  }
}

/** Makes `content` all there is in the file, and forces it onto the disk. */
function fillFile(file: number, content: Buffer): void {
  // One write(2) may be satisfied with a part, on a nearly full disk for instance.
  for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at, at);
  ftruncateSync(file, content.length);
  fsyncSync(file);
}

function put(begun: Begun, mode: number): void {
  const { path, target } = begun;
  try {
    renameSync(path, target);
  } catch (error) {
    // A file that is mounted by itself, as into a container, cannot be replaced.
    if (systemCode(error) !== "EBUSY") throw error;
    overwrite(target, readFileSync(path), mode);
    unlinkSync(path);
  }
  forget(path);
  fsyncFolder(dirname(target));
}

/** Without it a crash of the machine may bring the old name back. Not every system lets a folder be opened. */
function fsyncFolder(folder: string): void {
  quietly(() => {
    const open = openSync(folder, "r");
    try {
      fsyncSync(open);
    } finally {
      closeSync(open);
    }
  });
}

/** Writes in place. What was there is put back where the new content finds no room. */
function overwrite(target: string, content: Buffer, mode: number): void {
  const file = openSync(target, "r+");
  try {
    const before = readFileSync(file);
    setMode(file, mode);
    try {
      fillFile(file, content);
    } catch (error) {
      quietly(() => fillFile(file, before));
      throw error;
    }
  } finally {
    closeSync(file);
  }
}

/** A nicety: in a container the owner or the group may be one that cannot be given to anything. */
function keepOwner(file: number, { uid, gid }: Stats): void {
  if (!process.getuid) return; // Windows
  try {
    fchownSync(file, uid, gid);
  } catch {
    quietly(() => fchownSync(file, uid, -1));
  }
}

/** Some file systems know no modes. */
function setMode(file: number, mode: number): void {
  try {
    fchmodSync(file, mode);
  } catch (error) {
    if (!["EPERM", "EINVAL", "ENOSYS", "ENOTSUP"].includes(systemCode(error))) throw error;
  }
}

/** Removes what processes left here that were killed while they had a draft: harmless, 0600 and out of the way. */
function removeLeftBehind({ path, target }: Begun): void {
  quietly(() => {
    const now = statSync(path).mtimeMs;
    for (const name of readdirSync(dirname(target))) {
      if (!name.startsWith(`${basename(target)}.`) || !name.endsWith(ENDING)) continue;
      const other = join(dirname(target), name);
      if (now - statSync(other).mtimeMs > LEFT_BEHIND) unlinkSync(other);
    }
  });
}

/** Closes the draft, and removes it where it was not put in place. */
function end(begun: Begun): void {
  if (!begun.isOpen) return;
  begun.isOpen = false;
  quietly(() => closeSync(begun.file)); // what could be lost with it was forced onto the disk before
  if (unfinished.has(begun.path)) remove(begun.path);
}

function forget(path: string): void {
  unfinished.delete(path);
  if (unfinished.size === 0) process.off("exit", removeUnfinished);
}

function removeUnfinished(): void {
  for (const path of unfinished) remove(path);
}

function remove(path: string): void {
  forget(path);
  quietly(() => unlinkSync(path));
}

/** Does what would be nice, and whose failure is not the one to name. */
function quietly(act: () => void): void {
  try {
    act();
  } catch {
    // The caller goes on without it.
  }
}
