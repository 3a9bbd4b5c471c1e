/**
 * Who renewed a login last: each pi notes it beside its memory, so that the status can say it. Nothing depends on it,
 * and no token is in it.
 */
import { isJsonObject } from "../oauth/json-object.ts";
import type { Token } from "../oauth/token.ts";
import { keepJson, readJsonSync } from "./file.ts";
import { fingerprint } from "./fingerprint.ts";

export interface Rotation {
  readonly how: "renewed" | "logged-in";
  /** ms since the epoch. */
  readonly at: number;
  /** The process that did it. */
  readonly pid: number;
}

/** A note about the login in one store's file; `refresh` is the fingerprint of the token it is about. */
type Note = Rotation & { readonly refresh: string };

/** Writes the note (0600, atomic). Never throws; a disk that refuses costs nothing but the note. */
export async function noteRotation(
  path: string,
  storePath: string,
  token: Token,
  rotation: Rotation,
): Promise<void> {
  const note: Note = { ...rotation, refresh: fingerprint(token.refreshToken) };
  const notes = new Map(readNotes(path)).set(storePath, note);
  await keepJson(path, Object.fromEntries(notes));
}

/** How the login that stands in a store now got there; undefined when no pi has noted it. Never throws. */
export function readRotation(path: string, storePath: string, token: Token): Rotation | undefined {
  const note = readNotes(path).get(storePath);
  return note?.refresh === fingerprint(token.refreshToken) ? note : undefined;
}

function readNotes(path: string): ReadonlyMap<string, Note> {
  return parseNotes(readJsonSync(path));
}

/** The largest time that a Date can hold, ms, and the largest process id of any system. */
const LAST_TIME = 8.64e15;
const LAST_PID = 2 ** 32;

function isCountUpTo(most: number, value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 && value <= most;
}

export function parseNotes(value: unknown): ReadonlyMap<string, Note> {
  const notes = new Map<string, Note>();
  for (const [path, note] of isJsonObject(value) ? Object.entries(value) : []) {
    if (!isJsonObject(note)) continue;
    const { how, at, pid, refresh } = note;
    if (how !== "renewed" && how !== "logged-in") continue;
    if (!isCountUpTo(LAST_TIME, at) || !isCountUpTo(LAST_PID, pid) || typeof refresh !== "string") continue;
    notes.set(path, { how, at, pid, refresh });
  }
  return notes;
}
