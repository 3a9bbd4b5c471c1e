/**
 * Finds the login to use: looks at pi's entry, at every store and at the memory, and remembers what stands where after
 * a logout in pi.
 */
import type { Clock } from "../oauth/clock.ts";
import { type Memory, recall, remember, type Sighting, sighting } from "./memory.ts";
import type { PiAuth, PiEntry } from "./pi-auth.ts";
import { type Choice, chooseLogin, type Look } from "./selection.ts";
import type { CredentialStore } from "./store.ts";

export interface LoginSearchParts {
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  readonly piAuth: PiAuth;
  /** The file that outlives pi's entry; see memory.ts. */
  readonly memoryPath: string;
  readonly clock: Clock;
}

/** `entry` and `memory` are what the choice was made with. */
export interface Search {
  readonly choice: Choice;
  readonly entry: PiEntry;
  readonly memory: Memory;
}

/** Never throws. */
export async function searchLogin({ stores, piAuth, memoryPath, clock }: LoginSearchParts): Promise<Search> {
  const [entry, memory, ...looks] = await Promise.all([
    piAuth.read(),
    recall(memoryPath),
    ...stores.map(async (store): Promise<Look> => ({ store, found: await store.read() })),
  ]);
  const choice = chooseLogin(entry, looks, memory, clock.now());
  const loggedOut = entry.state === "absent" && memory.seeded && choice.state === "none";
  if (loggedOut) await noteLogout(memoryPath, memory, looks);
  return { choice, entry, memory };
}

/** Remembers what stands where, so that the next login of an owner is told from a rotation. */
async function noteLogout(path: string, memory: Memory, looks: readonly Look[]): Promise<void> {
  const seen: Record<string, Sighting> = { ...memory.seen };
  for (const { store, found } of looks) {
    // None of these logins is new: it would have been chosen.
    if (found.state === "present") seen[store.path] = sighting(found.token);
    else if (found.state === "absent" || found.state === "signed-out") seen[store.path] = "gone";
  }
  if (JSON.stringify(seen) !== JSON.stringify(memory.seen)) await remember(path, { ...memory, seen });
}
