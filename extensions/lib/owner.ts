/**
 * Whose files are that root makes in another user's home (sudo, a root container): the owner's of the folder. What root
 * kept for itself there, that user's own programs could not open any more: kimi-cli crashes over its lock file.
 */
import { closeSync, existsSync, fchownSync, lchownSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "./json.ts";

/** Gives a new file, open as `file`, to the owner of the folder it is in; a nicety that never throws. */
export function giveToFolderOwner(file: number, path: string): void {
  give(path, (uid, gid) => fchownSync(file, uid, gid));
}

function give(path: string, chown: (uid: number, gid: number) => void): void {
  if (process.getuid?.() !== 0) return;
  try {
    const { uid, gid } = statSync(dirname(path));
    chown(uid, gid);
  } catch {
    // A file system that knows no owners.
  }
}

/**
 * Makes a folder and those above it that are missing, each as its parent's owner would have. Throws what the system
 * says: Node's own recursive mkdir says ENOENT of a home that is mounted read-only.
 */
export function makeFolder(path: string, mode: number): void {
  const missing: string[] = [];
  for (let at = path; !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const folder of missing) {
    try {
      mkdirSync(folder, mode);
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw error;
      continue;
    }
    give(folder, (uid, gid) => lchownSync(folder, uid, gid));
  }
}

/** Makes an empty file where nothing is. Throws as open does. */
export function makeFile(path: string): void {
  try {
    const file = openSync(path, "wx");
    giveToFolderOwner(file, path);
    closeSync(file);
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
  }
}
