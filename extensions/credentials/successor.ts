/**
 * The place of a login's next token: reserved in full before a refresh token is presented, so that a disk that fills up
 * meanwhile takes nothing away, and written only while the file still holds the login that was read.
 */
import { draftFile, type FileWrite, type WriteOptions } from "../lib/replace-file.ts";
import type { Token } from "../oauth/token.ts";
import { underPiLock } from "./mirror.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";
import { type Look, lookAt } from "./token-file.ts";

export type Writing =
  /** Failed: the old file is whole, and the room is kept: it may be tried again. */
  | FileWrite
  /** The file holds another login by now: its owner rotated, logged out or logged in. Nothing was written. */
  | { readonly state: "superseded"; readonly found: StoredLogin };

/** Room beside a store's file for a token. Nothing of it throws. */
export interface Successor {
  /**
   * Puts `token` in the place of the login whose refresh token is `replaces`, keeping unknown fields: the draft is
   * filled and forced onto the disk, the file is looked at a last time, the draft is renamed. Nothing else in this
   * process comes in between.
   */
  write(replaces: string, token: Token): Promise<Writing>;
  /** Puts a new login in the place of whatever is there. */
  save(token: Token): FileWrite;
  /** Gives the room back. May be called at any time. */
  discard(): void;
}

export type Reservation =
  | { readonly state: "reserved"; readonly successor: Successor }
  | { readonly state: "failed"; readonly code: string };

const FILE_MODE = 0o600;
/** By how many bytes a token can make a file longer: two tokens of up to 16 KB, and what is small. */
const LONGEST = 34 * 1024;
/** Stands for a file that changed while its successor was written. */
const CHANGED = "EAGAIN";
/** Stands for a file that should hold the login, but is damaged: not the system's code, but one that it has. */
const DAMAGED = "EBADMSG";

/** Reserves room for the successor of what stands in the store's file. Never throws. */
export async function reserveSuccessor(store: CredentialStore): Promise<Reservation> {
  return reserve(store, { mode: FILE_MODE });
}

/** Reserves room for a new login, in a folder that is made as the owner makes it. Never throws. */
export function reserveLogin(store: CredentialStore): Reservation {
  return reserve(store, { mode: FILE_MODE, directoryMode: store.folderMode });
}

function reserve({ owner, path, format }: CredentialStore, options: WriteOptions): Reservation {
  const drafting = draftFile(path, options);
  if (drafting.state === "failed") return drafting;
  const { draft } = drafting;
  const look = () => lookAt(path, format.parse);
  const filled = draft.fill(" ".repeat((look().text?.length ?? 0) + LONGEST));
  if (filled.state === "failed") {
    draft.discard();
    return filled;
  }
  const fillWith = (token: Token, { members }: Look<StoredLogin>) =>
    draft.fill(format.render(format.update(members, token)));

  function write(replaces: string, token: Token): Writing {
    const seen = look();
    const refused = objection(seen.found, replaces);
    if (refused) return refused;
    const written = fillWith(token, seen);
    if (written.state === "failed") return written;
    // Owners log in and out without a lock, and the disk took its time.
    return look().text === seen.text ? draft.put() : { state: "failed", code: CHANGED };
  }

  function save(token: Token): FileWrite {
    const written = fillWith(token, look());
    return written.state === "failed" ? written : draft.put();
  }

  const successor: Successor = {
    write: async (replaces, token) =>
      owner === "pi" ? underPiLock(path, () => write(replaces, token)) : write(replaces, token),
    save,
    discard: draft.discard,
  };
  return { state: "reserved", successor };
}

/** Why the login is not to be replaced by what `replaces` was refreshed to; undefined when it is. */
function objection(found: StoredLogin, replaces: string): Writing | undefined {
  // Damage and refusal say nothing about the login: the caller keeps the token, and may try again.
  if (found.state === "unreadable") return { state: "failed", code: found.code };
  if (found.state === "malformed") return { state: "failed", code: DAMAGED };
  if (found.state === "present" && found.token.refreshToken === replaces) return undefined;
  return { state: "superseded", found };
}
