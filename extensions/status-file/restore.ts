/** What stands in the status file when it is opened: the state before a /reload, or what is left of another process. */
import { basename, dirname, join } from "node:path";
import { readSmallFileSync } from "../credentials/file.ts";
import { isJsonObject, type JsonObject } from "../oauth/json-object.ts";
import { BEGINNING, type Lifecycle } from "./lifecycle.ts";

export type Before =
  | { readonly state: "free" }
  /** A status file; what this process itself has written, if there is a `life`. */
  | { readonly state: "ours"; readonly messageFile: string | undefined; readonly life: Lifecycle | undefined }
  /** Whoever named this file by mistake wants to keep it. */
  | { readonly state: "foreign" };

/** `pid` is this process's where it may have written the file before, else undefined. Never throws. */
export function readBefore(path: string, pid: number | undefined): Before {
  const file = readSmallFileSync(path);
  // What cannot be read says why when it is written.
  if (file.state === "absent" || file.state === "unreadable") return { state: "free" };
  if (file.state !== "read") return { state: "foreign" };
  if (file.text.trim() === "") return { state: "free" };
  const record = parse(file.text);
  if (!isJsonObject(record) || typeof record.version !== "number" || typeof record.pid !== "number") {
    return { state: "foreign" };
  }
  const messageFile = readMessageFile(record, path);
  const living = record.pid === pid && record.exit === null;
  return { state: "ours", messageFile, life: living ? readLife(record, messageFile) : undefined };
}

/** Only a file that this extension named so, beside the status file. */
function readMessageFile({ messageFile }: JsonObject, path: string): string | undefined {
  if (typeof messageFile !== "string" || dirname(messageFile) !== dirname(path)) return undefined;
  const name = basename(messageFile);
  return name.startsWith(`${basename(path)}.message-`) ? join(dirname(path), name) : undefined;
}

function readLife(record: JsonObject, messageFile: string | undefined): Lifecycle | undefined {
  const { sessionId, model, turn } = record;
  const rest = readRest(record);
  if (typeof sessionId !== "string" || !isTurn(turn) || !rest) return undefined;
  const long = messageFile === undefined ? undefined : readSmallFileSync(messageFile);
  return {
    ...BEGINNING,
    sessionId,
    model: typeof model === "string" ? model : undefined,
    turn,
    rest,
    message: long?.state === "read" ? long.text : text(record.message),
  };
}

function readRest({ state, error }: JsonObject): Lifecycle["rest"] | undefined {
  if (state === "idle" || state === "completed") return { state };
  if (state !== "error" || !isJsonObject(error)) return undefined;
  const { class: kind, message, nextAction } = error;
  return typeof kind === "string" && typeof message === "string" && typeof nextAction === "string"
    ? { state, error: { class: kind, message, nextAction } }
    : undefined;
}

function isTurn(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
