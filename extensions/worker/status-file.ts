/**
 * The status file: where it is, whose it is, and how it is written: each state whole and in order, which only synchronous
 * writes give up to the last moment of a process. A few small ones a turn, none of them forced onto the disk.
 *
 * Its path is often in a folder that others can write in, so nothing is followed or taken over there: what stands at the
 * path is ours or is left alone, and each state is a new file (0600) of our own that is renamed into its place.
 */
import { lstatSync, mkdirSync, renameSync, type Stats, statSync, unlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Environment, expandHome } from "../configuration.ts";
import { isJsonObject, readJsonSync, systemCode } from "../lib/json.ts";
import { firstBytes } from "../lib/safe-text.ts";
import type { Content } from "./record.ts";

export interface Surroundings {
  readonly home: string;
  /** What a relative path begins at. */
  readonly cwd: string;
  readonly agentDir: string;
}

/** `KIMI_CODER_STATUS_FILE`, else the default path for `CAO_TERMINAL_ID`; undefined where neither is set. */
export function statusPath(env: Environment, { home, cwd, agentDir }: Surroundings): string | undefined {
  const path = env.KIMI_CODER_STATUS_FILE?.trim();
  if (path) return resolve(cwd, expandHome(path, home));
  const id = env.CAO_TERMINAL_ID?.trim();
  // Whatever the id is, the file stays in its folder.
  return id ? resolve(cwd, agentDir, "kimi-coder-status", `${basename(id)}.json`) : undefined;
}

/** `<process id>:<path>`; nothing secret. */
export const OWNER_VARIABLE = "KIMI_CODER_STATUS_OWNER";

/**
 * Claims `path` for this process, and says so in `env`, which every program that it starts inherits: a pi among them
 * (a subagent) must not write over the file of the pi above it. False where a living process above has claimed it.
 */
export function claim(env: Record<string, string | undefined>, path: string): boolean {
  const [, owner, claimed] = /^([1-9]\d{0,9}):(.*)$/s.exec(env[OWNER_VARIABLE] ?? "") ?? [];
  if (claimed === path && Number(owner) !== process.pid && isProcessAlive(Number(owner))) return false;
  env[OWNER_VARIABLE] = `${process.pid}:${path}`;
  return true;
}

/** Whether there is such a process, of any user. */
function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

/** A message longer than this gets a file of its own; bytes of UTF-8. */
const LONGEST_MESSAGE = 8 * 1024;

/** Ends what is cut off. */
const MORE = "…";
/** Bytes of it before that. */
const LONGEST_CUT = LONGEST_MESSAGE - Buffer.byteLength(MORE);

/**
 * Returns what writes a state to `path` (absolute) where it is a new one, and says in one sentence what could not be
 * written. Never throws, and nor does that. `uid`: the user of this process; undefined where the system has none.
 */
export function openStatusFile(
  path: string,
  uid = process.geteuid?.(),
): (content: Content) => string | undefined {
  const refused = whyLeftAlone(path, uid);
  /** Where a long message is: a name of ours, so whatever stands there may be replaced or removed. */
  const messageFile = `${path}.message.txt`;
  let written: string | undefined;

  return (content) => {
    const text = JSON.stringify(content);
    if (text === written) return undefined;
    if (refused !== undefined) return sayUnwritable(path, refused);
    const { message } = content;
    const long = message !== null && Buffer.byteLength(message) > LONGEST_MESSAGE ? message : undefined;
    const lost = long === undefined ? undefined : replace(messageFile, long);
    const isInFile = long !== undefined && lost === undefined;
    const record = {
      ...content,
      changedAt: Date.now(),
      message: isInFile ? null : long === undefined ? message : firstBytes(long, LONGEST_CUT) + MORE,
      messageFile: isInFile ? messageFile : null,
    };
    const failed = replace(path, `${JSON.stringify(record, null, 2)}\n`);
    if (failed !== undefined) return sayUnwritable(path, failed);
    written = text;
    if (!isInFile) remove(messageFile);
    return lost && sayUnwritable(messageFile, lost);
  };
}

/** Why what stands at the path is left alone: the system's code, or words. Undefined where it is ours, or nothing. */
function whyLeftAlone(path: string, uid: number | undefined): string | undefined {
  try {
    if (uid !== undefined && isOpen(nearestFolder(path), uid))
      return "every user can replace it in this folder";
    const file = lstatSync(path, { throwIfNoEntry: false });
    if (!file) return undefined;
    if (file.isSymbolicLink()) return "it is a link";
    if (!file.isFile()) return "it is no file";
    if (uid !== undefined && file.uid !== uid) return "it belongs to another user";
    if (file.size === 0) return undefined; // As mktemp makes it.
  } catch (error) {
    return systemCode(error);
  }
  const record = readJsonSync(path);
  const isOurs = isJsonObject(record) && typeof record.version === "number" && typeof record.pid === "number";
  return isOurs ? undefined : "something else is in it"; // The file may have been named by mistake.
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

/** Puts a new file of ours at `path`, whatever stands there, in missing folders (0700). Gives the code where it fails. */
function replace(path: string, text: string): string | undefined {
  const fresh = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // The flag wx refuses a link and any file that is there already.
    writeFileSync(fresh, text, { flag: "wx", mode: 0o600 });
    renameSync(fresh, path);
    return undefined;
  } catch (error) {
    remove(fresh);
    return systemCode(error);
  }
}

/** `why`: the system's code, or words. */
function sayUnwritable(path: string, why: string): string {
  return `Kimi Coder: the status file ${path} cannot be written (${why}); name another in KIMI_CODER_STATUS_FILE.`;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody was faster, or it was never there.
  }
}
