/**
 * The status file: each state whole and in order, which only synchronous writes give up to the last moment of a process.
 * A few small ones a turn, none of them forced onto the disk.
 *
 * Its path is often in a folder that others can write in, so nothing is followed or taken over there: what stands at the
 * path is ours or is left alone, and each state is a new file (0600) of our own that is renamed into its place.
 */
import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { isJsonObject, type JsonObject, readJsonSync, systemCode } from "../lib/json.ts";
import { firstBytes } from "../lib/safe-text.ts";
import type { Content } from "./record.ts";

/** A message longer than this gets a file of its own; bytes of UTF-8. */
const LONGEST_MESSAGE = 8 * 1024;

/** Ends what is cut off. */
const MORE = "…";
/** Bytes of it before that. */
const LONGEST_CUT = LONGEST_MESSAGE - Buffer.byteLength(MORE);

export interface StatusFileParts {
  /** Absolute. */
  readonly path: string;
  /** This process's message so far, which a file may hold already; undefined = none. */
  readonly message: string | undefined;
  /** ms since the epoch. */
  readonly now: () => number;
  /** Told once why nothing could be written, in one sentence. */
  readonly warn: (sentence: string) => void;
  /** The user's id; default this process's, on Windows none. */
  readonly uid?: number | undefined;
}

/** Returns what writes a state where it is a new one. Never throws, and nor does that. */
export function openStatusFile(parts: StatusFileParts): (content: Content) => void {
  const { path, now, uid = process.geteuid?.() } = parts;
  const before = lookAt(path, uid);
  let written: string | undefined;
  let warned = false;
  /** Where the long message is that the status file names. */
  let { messageFile } = before;
  let longMessage = messageFile === undefined ? undefined : parts.message;

  const complain = (file: string, why: string) => {
    if (!warned) parts.warn(sayUnwritable(file, why));
    warned = true;
  };

  function keepMessage(text: string, at: number): string | undefined {
    if (text === longMessage) return messageFile;
    const file = `${path}.message-${at}.txt`;
    const failed = replace(file, text);
    if (failed === undefined) return file;
    complain(file, failed);
    return undefined;
  }

  return (content) => {
    const text = JSON.stringify(content);
    if (text === written) return;
    if (before.refused !== undefined) return complain(path, before.refused);
    const changedAt = now();
    const { message } = content;
    const long = message !== null && Buffer.byteLength(message) > LONGEST_MESSAGE ? message : undefined;
    const file = long === undefined ? undefined : keepMessage(long, changedAt);
    const record = {
      ...content,
      changedAt,
      message:
        long === undefined ? message : file === undefined ? firstBytes(long, LONGEST_CUT) + MORE : null,
      messageFile: file ?? null,
    };
    const failed = replace(path, `${JSON.stringify(record, null, 2)}\n`);
    if (failed !== undefined) return complain(path, failed);
    written = text;
    if (messageFile !== undefined && messageFile !== file) remove(messageFile);
    messageFile = file;
    longMessage = file === undefined ? undefined : long;
  };
}

/** What stands at the path. */
interface Before {
  /** Why it is left alone: the system's code, or words. */
  readonly refused?: string;
  /** Where the long message of the last state is. */
  readonly messageFile?: string | undefined;
}

function lookAt(path: string, uid: number | undefined): Before {
  try {
    if (uid !== undefined && isOpen(nearestFolder(path), uid))
      return { refused: "every user can replace it in this folder" };
    const file = lstatSync(path, { throwIfNoEntry: false });
    if (!file) return {};
    if (file.isSymbolicLink()) return { refused: "it is a link" };
    if (!file.isFile()) return { refused: "it is no file" };
    if (uid !== undefined && file.uid !== uid) return { refused: "it belongs to another user" };
    if (file.size === 0) return {}; // As mktemp makes it.
  } catch (error) {
    return { refused: systemCode(error) };
  }
  const record = readJsonSync(path);
  return isJsonObject(record) && typeof record.version === "number" && typeof record.pid === "number"
    ? { messageFile: messageFileOf(record, path) }
    : { refused: "something else is in it" }; // The file may have been named by mistake.
}

/** The folder that the file is in, or in which its missing folders are made. */
function nearestFolder(path: string): Stats {
  const folder = dirname(path);
  return statSync(folder, { throwIfNoEntry: false }) ?? nearestFolder(folder);
}

/** Whether everybody may replace others' files there: not where it is sticky, as /tmp is. */
function isOpen({ mode, uid: owner }: Stats, uid: number): boolean {
  const isSticky = (mode & 0o1000) !== 0 && (owner === 0 || owner === uid);
  return (mode & 0o002) !== 0 && !isSticky;
}

/** Only a file that this extension named so, beside the status file. */
function messageFileOf({ messageFile }: JsonObject, path: string): string | undefined {
  if (typeof messageFile !== "string" || dirname(messageFile) !== dirname(path)) return undefined;
  const name = basename(messageFile);
  return name.startsWith(`${basename(path)}.message-`) ? join(dirname(path), name) : undefined;
}

/** Puts a new file of ours at `path`, whatever stands there, in missing folders (0700). Gives the code where it fails. */
function replace(path: string, text: string): string | undefined {
  const fresh = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Exclusive: neither follows a link nor opens what somebody else has put there.
    const file = openSync(fresh, "wx", 0o600);
    try {
      writeFileSync(file, text);
    } finally {
      closeSync(file);
    }
    renameSync(fresh, path);
    return undefined;
  } catch (error) {
    remove(fresh);
    return systemCode(error);
  }
}

const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);
const FORBIDDEN: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS"]);

/** `why`: the system's code, or words. */
export function sayUnwritable(path: string, why: string): string {
  const first = FULL.has(why) ? "free the disk, or " : FORBIDDEN.has(why) ? "make it writable, or " : "";
  return `Kimi Coder: the status file ${path} cannot be written (${why}); ${first}name another in KIMI_CODER_STATUS_FILE.`;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody was faster, or it was never there.
  }
}
