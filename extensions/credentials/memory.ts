/**
 * What must be remembered when pi's entry is gone: which logins this pi has known, so that a logout in pi is not
 * undone at the next start, while a new login in the owner's program is noticed.
 */
import { isJsonObject } from "../oauth/json-object.ts";
import { needsRefresh, type Token } from "../oauth/token.ts";
import { keepJson, keepJsonSync, readJsonSync } from "./file.ts";
import { fingerprint } from "./fingerprint.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";

interface SeenLogin {
  /** A fingerprint of the refresh token. */
  readonly refresh: string;
  /** ms since the epoch. */
  readonly issuedAt: number;
}

/** A login as it was last seen in a store; "gone" after its owner logged out. */
export type Sighting = SeenLogin | "gone";

export interface Memory {
  /** Whether pi's auth.json ever held an entry of ours. */
  readonly seeded: boolean;
  /** By the store's path. */
  readonly seen: Readonly<Record<string, Sighting>>;
}

const BLANK: Memory = { seeded: false, seen: {} };

/** Reads the memory; a file that is absent or damaged counts as blank. Never throws. */
export async function recall(path: string): Promise<Memory> {
  return recallSync(path);
}

/** `recall` for code that must not let anything else in this process run in between. */
export function recallSync(path: string): Memory {
  return parseMemory(readJsonSync(path));
}

export function parseMemory(value: unknown): Memory {
  if (!isJsonObject(value) || !isJsonObject(value.seen)) return BLANK;
  const seen = Object.entries(value.seen).flatMap(([path, seen]): [string, Sighting][] => {
    const sighting = parseSighting(seen);
    return sighting ? [[path, sighting]] : [];
  });
  return { seeded: value.seeded === true, seen: Object.fromEntries(seen) };
}

function parseSighting(value: unknown): Sighting | undefined {
  if (value === "gone") return value;
  if (!isJsonObject(value)) return undefined;
  const { refresh, issuedAt } = value;
  const fits = typeof refresh === "string" && typeof issuedAt === "number" && Number.isFinite(issuedAt);
  return fits ? { refresh, issuedAt } : undefined;
}

/** Writes the memory (0600, atomic). A disk that refuses costs nothing but the memory. */
export async function remember(path: string, memory: Memory): Promise<void> {
  await keepJson(path, memory);
}

/** `remember` for code that must not let anything else in this process run in between. */
export function rememberSync(path: string, memory: Memory): void {
  keepJsonSync(path, memory);
}

export function isSame(one: Memory, other: Memory): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/**
 * A store whose rotations by us are noted at once: they must not look like a new login when the user logs out in pi at
 * that moment. While the memory still is `seed`, upon which it was decided that pi gets an entry, there is nothing to
 * note: the login is new, and is noted when it has its entry.
 */
export function notingRotations(
  store: CredentialStore,
  memoryPath: string,
  seed: Memory | undefined,
): CredentialStore {
  return {
    ...store,
    async replace(replaces, token) {
      const outcome = await store.replace(replaces, token);
      const memory = recallSync(memoryPath);
      if (outcome.state === "written" && memory.seeded && !(seed && isSame(seed, memory))) {
        const seen = { ...memory.seen, [store.path]: sighting(token) };
        await remember(memoryPath, { ...memory, seen });
      }
      return outcome;
    },
  };
}

export function sighting(token: Token): SeenLogin {
  return { refresh: fingerprint(token.refreshToken), issuedAt: token.expiresAt - token.lifetime };
}

/**
 * Whether what stands in a store is another login than the one last seen there, and not its rotation: there was none
 * in between, or it was issued before anybody had a reason to refresh the one we saw. A login made later than that
 * over a living one looks like a rotation, and then counts as one: a logout must not undo itself.
 */
export function isNewLogin(before: Sighting | undefined, found: StoredLogin): boolean {
  if (found.state !== "present" || before === undefined) return false;
  if (before === "gone") return true;
  const now = sighting(found.token);
  if (now.refresh === before.refresh) return false;
  const { lifetime } = found.token;
  const seen: Token = { ...found.token, expiresAt: before.issuedAt + lifetime };
  return !needsRefresh(seen, now.issuedAt);
}
