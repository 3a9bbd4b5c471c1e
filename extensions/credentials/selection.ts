/**
 * Decides which login to use: pure, from pi's entry, what stands in each store, and what was seen before.
 */
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { fingerprint } from "./fingerprint.ts";
import { isNewLogin, type Memory } from "./memory.ts";
import type { PiEntry } from "./pi-auth.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";

export interface Look {
  readonly store: CredentialStore;
  readonly found: StoredLogin;
}

export type Choice =
  | {
      readonly state: "use";
      readonly store: CredentialStore;
      readonly token: Token;
      /** pi's auth.json has no entry yet and gets one. */
      readonly seed: boolean;
      /** The store's file holds what `token` has replaced, as it could not be written. A fingerprint. */
      readonly replaces?: string;
    }
  /** The owner's file cannot be read, but the mirror's access token can still be used until it ends. */
  | { readonly state: "mirror"; readonly token: Token; readonly problem: Problem }
  | { readonly state: "none"; readonly reason: NoLogin };

/** Why a store that should hold the login does not. */
export interface Problem {
  readonly store: CredentialStore;
  readonly found: Exclude<StoredLogin, { state: "present" }>;
}

export type NoLogin =
  | { readonly kind: "no-login" }
  /** auth.json holds an API key for this provider: the user wants that and nothing else. */
  | { readonly kind: "own-key" }
  /** The user logged out in pi, and no new login has appeared since. */
  | { readonly kind: "logged-out" }
  /** The program that owns the login logged out, or its file cannot be used. */
  | { readonly kind: "problem"; readonly problem: Problem };

/** Chooses among the looks, which come in order of preference. `now` in ms. */
export function chooseLogin(entry: PiEntry, looks: readonly Look[], memory: Memory, now: number): Choice {
  const present = looks.filter(isPresent);
  switch (entry.state) {
    case "oauth": {
      const own = looks.find(({ store }) => store.owner === entry.owner && store.path === entry.source);
      if (own && isPresent(own)) return newer(own, entry);
      const other = longestValid(present);
      if (other) return use(other, false);
      const broken = own ?? looks.find(({ found }) => found.state !== "absent");
      if (broken && broken.found.state !== "present") {
        // The file may be another program's, of another region: there the token must not go.
        const mirror = broken.store.region === (entry.region ?? USUAL_REGION) ? entry.token : undefined;
        return withoutOwner(broken.store, broken.found, mirror, now);
      }
      return { state: "none", reason: { kind: "no-login" } };
    }
    case "absent": {
      const candidates = memory.seeded
        ? present.filter(({ store, found }) => isNewLogin(memory.seen[store.path], found))
        : present;
      const best = longestValid(candidates);
      if (best) return use(best, true);
      if (memory.seeded && present.length > 0) return { state: "none", reason: { kind: "logged-out" } };
      return { state: "none", reason: firstProblem(looks) };
    }
    case "api-key":
      return { state: "none", reason: { kind: "own-key" } };
    default: {
      // Nobody knows what stands in auth.json: the owner's login works all the same, and auth.json is left alone.
      const best = longestValid(present);
      return best ? use(best, false) : { state: "none", reason: firstProblem(looks) };
    }
  }
}

type Present = Look & { readonly found: { readonly state: "present"; readonly token: Token } };

function isPresent(look: Look): look is Present {
  return look.found.state === "present";
}

function longestValid(looks: readonly Present[]): Present | undefined {
  return looks.reduce<Present | undefined>(
    (best, look) => (best && best.found.token.expiresAt >= look.found.token.expiresAt ? best : look),
    undefined,
  );
}

/** The owner's login, or pi's own copy where that is the successor of what the owner's file still holds. */
function newer({ store, found }: Present, { token, replaces }: Extract<PiEntry, { state: "oauth" }>): Choice {
  return replaces === fingerprint(found.token.refreshToken)
    ? { state: "use", store, token, seed: false, replaces }
    : use({ store, found }, false);
}

function use({ store, found }: Present, seed: boolean): Choice {
  return { state: "use", store, token: found.token, seed };
}

function withoutOwner(
  store: CredentialStore,
  found: Problem["found"],
  mirror: Token | undefined,
  now: number,
): Choice {
  const problem: Problem = { store, found };
  const damaged = found.state === "unreadable" || found.state === "malformed";
  // After the owner's logout the mirror is not used any more; after damage it is the best there is.
  return damaged && mirror && mirror.expiresAt > now
    ? { state: "mirror", token: mirror, problem }
    : { state: "none", reason: { kind: "problem", problem } };
}

/** The first store that is there but cannot be used: that is what the user wants to hear about. */
function firstProblem(looks: readonly Look[]): NoLogin {
  for (const { store, found } of looks) {
    if (found.state !== "absent" && found.state !== "present")
      return { kind: "problem", problem: { store, found } };
  }
  return { kind: "no-login" };
}
