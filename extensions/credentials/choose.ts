/** What logins there are, in pi's entry and in every store, and which of them is to be used. */
import { isValid, type Token } from "../oauth/token.ts";
import { hadEntry, type PiEntry, piStore, readPiEntry } from "./pi-entry.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";

export interface Look {
  readonly store: CredentialStore;
  readonly found: StoredLogin;
}

export type Choice =
  | { readonly state: "use"; readonly store: CredentialStore; readonly token: Token }
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
  /** The user logged out in pi. */
  | { readonly kind: "logged-out" }
  /** The program that owns the login logged out, or its file cannot be used. */
  | { readonly kind: "problem"; readonly problem: Problem };

export interface Found {
  readonly entry: PiEntry;
  /** In order of preference. */
  readonly looks: readonly Look[];
  /** Whether pi ever had an entry of ours. */
  readonly hadEntry: boolean;
  /** auth.json as a store, for an entry without an owner. */
  readonly own: CredentialStore;
  /** ms since the epoch. */
  readonly now: number;
}

/** Chooses among what was found. */
export function chooseLogin({ entry, looks, hadEntry, own, now }: Found): Choice {
  const present = looks.filter(isPresent);
  switch (entry.state) {
    case "oauth": {
      const { mirrored, token } = entry;
      const source = mirrored && looks.find(({ store }) => isSource(store, mirrored));
      if (source && isPresent(source)) return use(source);
      const other = longestValid(present);
      if (other) return use(other);
      const broken = source ?? looks.find(({ found }) => isDamaged(found));
      if (mirrored === undefined && broken === undefined) return { state: "use", store: own, token };
      const without = broken ?? looks.find(({ found }) => found.state !== "absent");
      if (without && without.found.state !== "present") {
        // The file may be another program's, of another region: there the token must not go.
        const copy = without.store.region === entry.region ? token : undefined;
        return withoutOwner({ store: without.store, found: without.found }, copy, now);
      }
      return none({ kind: "no-login" });
    }
    case "absent": {
      const best = longestValid(present);
      if (best && !hadEntry) return use(best);
      return none(best ? { kind: "logged-out" } : firstProblem(looks));
    }
    case "api-key":
      return none({ kind: "own-key" });
    default: {
      // auth.json cannot be read: the owner's login works all the same, and auth.json is left alone.
      const best = longestValid(present);
      return best ? use(best) : none(firstProblem(looks));
    }
  }
}

type Present = Look & { readonly found: { readonly state: "present"; readonly token: Token } };

function isPresent(look: Look): look is Present {
  return look.found.state === "present";
}

function isSource(
  store: CredentialStore,
  { owner, source }: { readonly owner: string; readonly source: string },
): boolean {
  return store.owner === owner && store.path === source;
}

function isDamaged({ state }: StoredLogin): boolean {
  return state === "unreadable" || state === "malformed";
}

function longestValid(looks: readonly Present[]): Present | undefined {
  return looks.reduce<Present | undefined>(
    (best, look) => (best && best.found.token.expiresAt >= look.found.token.expiresAt ? best : look),
    undefined,
  );
}

function use({ store, found }: Present): Choice {
  return { state: "use", store, token: found.token };
}

function none(reason: NoLogin): Choice {
  return { state: "none", reason };
}

/** After the owner's logout the mirror is not used any more; after damage it is the best there is. */
function withoutOwner(problem: Problem, copy: Token | undefined, now: number): Choice {
  return isDamaged(problem.found) && copy && isValid(copy, now)
    ? { state: "mirror", token: copy, problem }
    : none({ kind: "problem", problem });
}

/** The first store that is there but cannot be used: that is what the user wants to hear about. */
function firstProblem(looks: readonly Look[]): NoLogin {
  for (const { store, found } of looks) {
    if (found.state !== "absent" && found.state !== "present")
      return { kind: "problem", problem: { store, found } };
  }
  return { kind: "no-login" };
}

export interface SearchPlaces {
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  readonly authPath: string;
  readonly memoryPath: string;
}

/** What was found, and what follows from it. */
export interface Search {
  readonly choice: Choice;
  readonly entry: PiEntry;
  readonly looks: readonly Look[];
}

/** Nothing is renewed, asked for or written. `now` is in ms since the epoch. Never throws. */
export async function lookForLogin(
  { stores, authPath, memoryPath }: SearchPlaces,
  now: () => number,
): Promise<Search> {
  // Before the entry: one that a peer seeds in between must not look like one that a logout has removed.
  const had = hadEntry(memoryPath);
  const [entry, ...looks] = await Promise.all([
    readPiEntry(authPath),
    ...stores.map(async (store): Promise<Look> => ({ store, found: await store.read() })),
  ]);
  const own = piStore(authPath, entry.state === "oauth" ? entry.region : "kimi.com");
  const choice = chooseLogin({ entry, looks, hadEntry: had, own, now: now() });
  return { choice, entry, looks };
}
