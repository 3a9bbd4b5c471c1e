/**
 * Keeps pi's entry in line with the login in use, and the memory with both; one at a time, and never while a lock of
 * a store is held.
 */
import type { Token } from "../oauth/token.ts";
import { isSame, type Memory, recallSync, remember, rememberSync, sighting } from "./memory.ts";
import { isMirrorOf, type Mirror, type PiAuth, type PiEntry } from "./pi-auth.ts";
import type { CredentialStore } from "./store.ts";

export interface PiMirrorParts {
  readonly piAuth: PiAuth;
  readonly memoryPath: string;
  /** Told how it went, where there is something to tell. Must not throw. */
  readonly listener: (event: MirrorEvent) => void;
}

export type MirrorEvent =
  | { readonly kind: "mirrored" }
  | { readonly kind: "unmirrored"; readonly code: string };

export interface ToMirror {
  readonly token: Token;
  readonly store: CredentialStore;
  /** pi's entry upon which the login was chosen: another login that has taken its place is not ours to replace. */
  readonly seen: PiEntry;
  /** Where pi has no entry yet and gets one: the memory upon which that was decided. */
  readonly seed: Memory | undefined;
  /** Where `token` could not be written: the fingerprint of the refresh token that the store's file still holds. */
  readonly replaces: string | undefined;
}

export function createPiMirror({ piAuth, memoryPath, listener }: PiMirrorParts) {
  let queue: Promise<void> = Promise.resolve();

  /** Writes `token` into pi's entry; what is to be remembered then, and whether pi has an entry now. */
  async function write(token: Token, { store, seen, seed, replaces }: ToMirror) {
    let noted: Memory | undefined;
    let kept = false;
    const changed = await piAuth.update((entry) => {
      const before = recallSync(memoryPath);
      // Another process that has seeded meanwhile may have been logged out again: that is not ours to undo.
      const mayCreate = seed !== undefined && isSame(seed, before);
      kept = isOf(entry, store) || isOfSame(entry, seen) || (entry.state === "absent" && mayCreate);
      if (!kept) return "leave";
      const after = { seeded: true, seen: { ...before.seen, [store.path]: sighting(token) } };
      noted = isSame(before, after) ? undefined : after;
      if (noted && entry.state === "oauth") {
        // First the memory: a logout right after the entry has changed must not find a login it has never seen. Where
        // pi has no entry yet it is the other way round, as a memory without an entry is a logout.
        rememberSync(memoryPath, noted);
        noted = undefined;
      }
      return mirrorOf(token, store, replaces);
    });
    return { changed, noted, kept };
  }

  /** Whether there is nothing to do: most of the time, and then pi's lock is left alone. */
  async function isInLine(token: Token, { store, seed, replaces }: ToMirror) {
    const entry = await piAuth.read();
    if (entry.state === "absent") return seed === undefined;
    if (!isMirrorOf(entry, mirrorOf(token, store, replaces))) return false;
    const { seeded, seen } = recallSync(memoryPath);
    return seeded && JSON.stringify(seen[store.path]) === JSON.stringify(sighting(token));
  }

  async function follow(login: ToMirror): Promise<void> {
    const { store, replaces } = login;
    /** A peer may have renewed since `token` was read: its successor must not be replaced by what is used up. */
    const newest = async (token: Token) => {
      const found = replaces === undefined ? await store.read() : undefined;
      return found?.state === "present" ? found.token : token;
    };
    let written = false;
    let next = await newest(login.token);
    if (await isInLine(next, login)) return;
    for (;;) {
      const token = next;
      const { changed, noted, kept } = await write(token, login);
      // Whoever holds pi's lock that long lets go of it some day, and the next check tries again.
      if (changed.state === "failed")
        return changed.code === "ELOCKED" ? undefined : listener({ kind: "unmirrored", code: changed.code });
      written ||= changed.state === "written";
      next = await newest(token);
      if (!kept) break;
      if (next.refreshToken === token.refreshToken) {
        if (noted) await remember(memoryPath, noted);
        break;
      }
    }
    if (written) listener({ kind: "mirrored" });
  }

  /** Resolves when the entry is in line; never rejects. */
  return (login: ToMirror): Promise<void> => {
    queue = queue.then(() => follow(login));
    return queue;
  };
}

function mirrorOf(token: Token, store: CredentialStore, replaces: string | undefined): Mirror {
  const { owner, path: source, region } = store;
  return { token, owner, source, region, replaces };
}

function isOf(entry: PiEntry, { owner, path }: CredentialStore): boolean {
  return entry.state === "oauth" && entry.owner === owner && entry.source === path;
}

function isOfSame(entry: PiEntry, seen: PiEntry): boolean {
  if (entry.state !== "oauth" || seen.state !== "oauth") return false;
  return entry.owner === seen.owner && entry.source === seen.source;
}
