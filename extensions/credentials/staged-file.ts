/**
 * A file made ready beside the one it is to replace: whole, with its mode, on the disk, and one rename away.
 * All of this throws what the system says, and leaves nothing behind when it does.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { systemCode } from "./small-file.ts";

export interface Replacement {
  /** No symlink; it may not be there yet. */
  readonly target: string;
  /** What is there now, if anything. */
  readonly old: Stats | undefined;
  readonly content: Buffer;
  readonly mode: number;
  /** False for what is not forced onto the disk. */
  readonly durable: boolean;
}

export interface StagedFile {
  /** Puts it in place of the old one, in one synchronous step. */
  commit(): void;
  discard(): void;
}

interface Begun {
  readonly path: string;
  readonly file: number;
}

const ENDING = ".pi-new";
/** How old, in ms, a staged file is that nobody will put in place any more: its process was killed. */
const LEFT_BEHIND = 60 * 60_000;

/** Files that are not in place yet, to be removed if the process exits before they are. */
const unfinished = new Set<string>();

export async function stage(replacement: Replacement): Promise<StagedFile> {
  const begun = begin(replacement);
  try {
    if (replacement.durable) await onTheDisk(begun.file);
  } catch (error) {
    throw abandoned(begun, error);
  }
  return finish(begun, replacement);
}

function onTheDisk(file: number): Promise<void> {
  return new Promise((resolve, reject) => fsync(file, (error) => (error ? reject(error) : resolve())));
}

export function stageSync(replacement: Replacement): StagedFile {
  const begun = begin(replacement);
  try {
    if (replacement.durable) fsyncSync(begun.file);
  } catch (error) {
    throw abandoned(begun, error);
  }
  return finish(begun, replacement);
}

/** Does all that `stage` and `commit` do, but forces nothing onto the disk and puts nothing in place. */
export function rehearse(replacement: Replacement): void {
  const { path, file } = begin(replacement);
  try {
    closeSync(file);
  } finally {
    forget(path);
    unlinkSync(path); // a folder that lets nothing go lets nothing be renamed either
  }
  if (replacement.old) checkMount(replacement.target);
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

function begin({ target, old, content, mode }: Replacement): Begun {
  const path = `${target}.${process.pid}-${Math.random().toString(36).slice(2)}${ENDING}`;
  const begun = { path, file: openSync(path, "wx", mode) };
  remember(path);
  try {
    if (old) keepOwner(begun.file, old);
    setMode(begun.file, mode);
    writeAll(begun.file, content);
    return begun;
  } catch (error) {
    throw abandoned(begun, error);
  }
}

function abandoned({ path, file }: Begun, error: unknown): unknown {
  try {
    closeSync(file);
  } catch {}
  remove(path);
  return error;
}

function finish({ path, file }: Begun, replacement: Replacement): StagedFile {
  try {
    closeSync(file);
  } catch (error) {
    remove(path);
    throw error;
  }
  if (replacement.durable) removeLeftBehind(replacement.target, path);
  return {
    discard: () => remove(path),
    commit() {
      try {
        renameSync(path, replacement.target);
      } catch (error) {
        // A file that is mounted by itself, as into a container, cannot be replaced.
        if (systemCode(error) !== "EBUSY") throw error;
        overwrite(replacement);
      } finally {
        remove(path);
      }
    },
  };
}

/** Writes in place. What was there is put back where the new content finds no room. */
function overwrite({ target, content, mode }: Replacement): void {
  const file = openSync(target, "r+");
  try {
    const before = readFileSync(file);
    setMode(file, mode);
    try {
      fill(file, content);
    } catch (error) {
      restore(file, before);
      throw error;
    }
  } finally {
    closeSync(file);
  }
}

function fill(file: number, content: Buffer): void {
  writeAll(file, content);
  ftruncateSync(file, content.length);
  fsyncSync(file);
}

/** One write(2) may be satisfied with a part, on a nearly full disk for instance. */
function writeAll(file: number, content: Buffer): void {
  for (let at = 0; at < content.length; ) at += writeSync(file, content, at, content.length - at, at);
}

function restore(file: number, before: Buffer): void {
  try {
    fill(file, before);
  } catch {
    // The first error is the one to name.
  }
}

/** A nicety: in a container the owner or the group may be one that cannot be given to anything. */
function keepOwner(file: number, { uid, gid }: Stats): void {
  if (!process.getuid) return; // Windows
  try {
    fchownSync(file, uid, gid);
  } catch {
    try {
      fchownSync(file, uid, -1);
    } catch {}
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

/** Removes what processes left here that were killed between staging and renaming. */
function removeLeftBehind(target: string, own: string): void {
  try {
    const now = statSync(own).mtimeMs;
    for (const name of readdirSync(dirname(target))) {
      if (!name.startsWith(`${basename(target)}.`) || !name.endsWith(ENDING)) continue;
      const path = join(dirname(target), name);
      if (now - statSync(path).mtimeMs > LEFT_BEHIND) unlinkSync(path);
    }
  } catch {
    // Harmless: 0600, and in nobody's way.
  }
}

function remember(path: string): void {
  if (unfinished.size === 0) process.on("exit", removeUnfinished);
  unfinished.add(path);
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
  try {
    unlinkSync(path);
  } catch {
    // Not there any more, or left for the next who writes here.
  }
}
