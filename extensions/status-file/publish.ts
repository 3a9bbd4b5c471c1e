/**
 * The writing of the status file: each state whole and in order, which only synchronous writes give up to the last
 * moment of a process. A few small ones a turn, none of them forced onto the disk.
 */
import { unlinkSync } from "node:fs";
import { writeFileAtomicallySync } from "../credentials/file.ts";
import type { Content, StatusRecord } from "./record.ts";
import type { Before } from "./restore.ts";

/** A message longer than this gets a file of its own; bytes of UTF-8. */
const LONGEST_MESSAGE = 8 * 1024;

/** Ends what is cut off. */
const MORE = "…";

const FOREIGN = "something else is in it";
/** What no permission helps against. */
const MISNAMED: ReadonlySet<string> = new Set([FOREIGN, "EISDIR", "ENOTDIR", "EFTYPE"]);
const FULL: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

const WRITE = { mode: 0o600, directoryMode: 0o700, durable: false };

export interface PublisherParts {
  readonly path: string;
  readonly before: Before;
  /** ms since the epoch. */
  readonly now: () => number;
  /** Told once why nothing could be written, in one sentence. */
  readonly warn: (sentence: string) => void;
}

/** Gives what writes a state where it is a new one. It never throws. */
export function createPublisher({ path, before, now, warn }: PublisherParts): (content: Content) => void {
  let written: string | undefined;
  let warned = false;
  /** Where the long message is that the status file names. */
  let messageFile = before.state === "ours" ? before.messageFile : undefined;
  let longMessage = before.state === "ours" && messageFile !== undefined ? before.life?.message : undefined;

  const complain = (file: string, why: string) => {
    if (!warned) warn(sayUnwritable(file, why));
    warned = true;
  };

  function keepMessage(text: string, at: number): string | undefined {
    if (text === longMessage) return messageFile;
    const file = `${path}.message-${at}.txt`;
    const outcome = writeFileAtomicallySync(file, text, WRITE);
    if (outcome.state === "written") return file;
    complain(file, outcome.code);
    return undefined;
  }

  return (content) => {
    const text = JSON.stringify(content);
    if (text === written) return;
    if (before.state === "foreign") return complain(path, FOREIGN);
    const changedAt = now();
    const { message } = content;
    const long = message !== null && Buffer.byteLength(message) > LONGEST_MESSAGE ? message : undefined;
    const file = long === undefined ? undefined : keepMessage(long, changedAt);
    const record: StatusRecord = {
      ...content,
      changedAt,
      message: long === undefined ? message : file === undefined ? beginningOf(long) : null,
      messageFile: file ?? null,
    };
    const outcome = writeFileAtomicallySync(path, `${JSON.stringify(record, null, 2)}\n`, WRITE);
    if (outcome.state === "failed") return complain(path, outcome.code);
    written = text;
    if (messageFile !== undefined && messageFile !== file) remove(messageFile);
    messageFile = file;
    longMessage = file === undefined ? undefined : long;
  };
}

/** `why` is the system's code, or the words for what is somebody else's. */
export function sayUnwritable(path: string, why: string): string {
  const another = "name another in KIMI_CODER_STATUS_FILE";
  const action = FULL.has(why)
    ? `free the disk, or ${another}`
    : MISNAMED.has(why)
      ? another
      : `make it writable, or ${another}`;
  return `Kimi Coder: the status file ${path} cannot be written (${why}); ${action}.`;
}

/** As much of it as the status file may hold. */
function beginningOf(message: string): string {
  const bytes = Buffer.from(message).subarray(0, LONGEST_MESSAGE - Buffer.byteLength(MORE));
  // As a stream: a character that is cut through is left out.
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true }) + MORE;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody was faster.
  }
}
