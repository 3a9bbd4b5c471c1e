/**
 * Keeps pi's entry in line with the login in use, and the memory with both; one at a time, and never while a lock of
 * a store is held.
 */
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { isSame, type Memory, recallSync, remember, rememberSync, sighting } from "./memory.ts";
import type { PiAuth } from "./pi-auth.ts";
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
  /** Where pi has no entry yet and gets one: the memory upon which that was decided. */
  readonly seed: Memory | undefined;
  /** Whether `token` stands only in memory, so that the store's file is behind it. */
  readonly unsaved: boolean;
}

export function createPiMirror({ piAuth, memoryPath, listener }: PiMirrorParts) {
  let queue: Promise<void> = Promise.resolve();

  /** Writes `token` into pi's entry; what is to be remembered then, and whether pi has an entry now. */
  async function write(token: Token, store: CredentialStore, seed: Memory | undefined) {
    let noted: Memory | undefined;
    let kept = false;
    const changed = await piAuth.update((entry) => {
      const before = recallSync(memoryPath);
      // Another process that has seeded meanwhile may have been logged out again: that is not ours to undo.
      const mayCreate = seed !== undefined && isSame(seed, before);
      kept = entry.state === "oauth" || (entry.state === "absent" && mayCreate);
      const seen = { ...before.seen, [store.path]: sighting(token) };
      const after = { seeded: true, seen };
      noted = isSame(before, after) ? undefined : after;
      if (noted && entry.state === "oauth") {
        // First the memory: a logout right after the entry has changed must not find a login it has never seen. Where
        // pi has no entry yet it is the other way round, as a memory without an entry is a logout.
        rememberSync(memoryPath, noted);
        noted = undefined;
      }
      const { owner, path: source, region } = store;
      return kept ? { token, owner, source, region } : "leave";
    });
    return { changed, noted, kept };
  }

  /** Whether there is nothing to do: most of the time, and then pi's lock is left alone. */
  async function isInLine(token: Token, { owner, path, region }: CredentialStore, seed: Memory | undefined) {
    const entry = await piAuth.read();
    if (entry.state === "absent") return seed === undefined;
    if (entry.state !== "oauth" || entry.owner !== owner || entry.source !== path) return false;
    if ((entry.region ?? USUAL_REGION) !== region) return false;
    const { seeded, seen } = recallSync(memoryPath);
    return (
      seeded &&
      JSON.stringify(seen[path]) === JSON.stringify(sighting(token)) &&
      entry.token.accessToken === token.accessToken &&
      entry.token.refreshToken === token.refreshToken
    );
  }

  async function follow(login: ToMirror): Promise<void> {
    const { store, seed, unsaved } = login;
    /** A peer may have renewed since `token` was read: its successor must not be replaced by what is used up. */
    const newest = async (token: Token) => {
      const found = unsaved ? undefined : await store.read();
      return found?.state === "present" ? found.token : token;
    };
    let written = false;
    let next = await newest(login.token);
    if (await isInLine(next, store, seed)) return;
    for (;;) {
      const token = next;
      const { changed, noted, kept } = await write(token, store, seed);
      if (changed.state === "failed") return listener({ kind: "unmirrored", code: changed.code });
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
