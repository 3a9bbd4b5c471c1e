/**
 * The state of every login, the one that requests are sent with, and pi's copy of it. What the doctor knows of accounts
 * is found out here and nowhere else. Nothing is renewed.
 */
import type { Account, Caller, SessionNow, Sight } from "../caller.ts";
import { API_KEY_VARIABLE, type Configuration } from "../configuration.ts";
import type { Look } from "../credentials/choose.ts";
import { keyringOwner, sayKeyring } from "../credentials/keyring.ts";
import { isOf, type PiEntry } from "../credentials/pi-entry.ts";
import type { CredentialStore, Owner, StoredLogin } from "../credentials/store.ts";
import { isTokenText } from "../lib/safe-text.ts";
import { sayDuration } from "../lib/waiting-time.ts";
import { isValid } from "../oauth/token.ts";
import { type Hosts, hostsOf } from "../region.ts";
import { type DisplayPath, storeName } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

export interface LoginParts {
  readonly configuration: Configuration;
  readonly caller: Pick<Caller, "search">;
  /** What the doctor was called in. */
  readonly session: SessionNow;
}

export interface LoginsSeen {
  /** Of the stores in which there is something. */
  readonly looks: readonly Look[];
  readonly entry: PiEntry;
  readonly sight: Sight;
  /** Whose login is in the system's keyring; looked for where no other is found. */
  readonly keyring: Owner | undefined;
  readonly account: AccountInUse;
  /** ms since the epoch. */
  readonly now: number;
}

/** Whom requests are sent for, and where. */
export interface AccountInUse {
  readonly hosts: Hosts;
  /** Undefined where nothing would be sent, or pi keeps the key to itself. */
  readonly account: Account | undefined;
  /** What the API may be asked with now. */
  readonly bearer: { readonly kind: "login" | "key"; readonly token: string } | undefined;
}

/** `now` in ms since the epoch. Never throws. */
export async function lookAtLogins(
  { configuration, caller, session }: LoginParts,
  now: number,
): Promise<LoginsSeen> {
  const { entry, sight, looks: all } = await caller.search(session);
  const looks = [...all.filter(({ found }) => found.state !== "absent"), ...ownLogin(sight)];
  const keyring = sight.kind === "none" && looks.length === 0 ? keyringOwner(configuration) : undefined;
  const account = sight.kind === "none" ? undefined : sight.account;
  const { regions } = configuration;
  const hosts = hostsOf(regions, account?.region ?? regions[0].region);
  return { looks, entry, sight, keyring, account: { hosts, account, bearer: bearerIn(sight, now) }, now };
}

/** A login that pi alone has: its store is no other program's. */
function ownLogin(sight: Sight): readonly Look[] {
  if (sight.kind !== "login" || sight.store.owner !== "pi") return [];
  return [{ store: sight.store, found: { state: "present", token: sight.choice.token } }];
}

function bearerIn(sight: Sight, now: number): AccountInUse["bearer"] {
  if (sight.kind === "key") return isTokenText(sight.key) ? { kind: "key", token: sight.key } : undefined;
  if (sight.kind === "none" || sight.choice.state !== "use" || !isValid(sight.choice.token, now))
    return undefined;
  return { kind: "login", token: sight.choice.token.accessToken };
}

const LOG_IN = "type /login kimi-coder in pi, or log in with kimi-cli";

/** One check for what a request would be sent with, one for each store that is there, one for pi's entry. */
export function loginChecks(seen: LoginsSeen, displayPath: DisplayPath): readonly Check[] {
  const { looks, sight, now } = seen;
  const wanted = storeWanted(sight);
  return [
    { name: "Login in use", check: () => checkCredential(seen, displayPath) },
    ...looks.map(({ store, found }) => ({
      name: `Login of ${storeName(store)}`,
      check: () => checkStore(found, store === wanted, now),
    })),
    { name: "pi's copy of the login", check: () => checkEntry(seen, displayPath) },
  ];
}

/** Where the login that requests are sent with stands, or should. */
function storeWanted(sight: Sight): CredentialStore | undefined {
  if (sight.kind === "login") return sight.store;
  return sight.kind === "none" && sight.reason !== "configuration" && sight.reason.kind === "problem"
    ? sight.reason.problem.store
    : undefined;
}

/** Why is said by the check of the file. */
const UNREADABLE = none("cannot be read");

/** Lifetime of an unused refresh token, about 30 days, in ms. */
const LONGEST_REST = 30 * 86_400_000;

/** A damaged login is wrong only where requests need it: of another one no fix is named, its program may have ended it. */
function checkStore(found: StoredLogin, isWanted: boolean, now: number): Finding {
  const wrong = (says: string) => (isWanted ? bad(says, LOG_IN) : none(says));
  switch (found.state) {
    case "present": {
      const left = found.token.expiresAt - now;
      if (left > 0) return ok(`valid for ${sayDuration(left)}`);
      const ended = sayDuration(-left);
      return -left > LONGEST_REST
        ? wrong(`not renewed for ${ended}: it has ended`)
        : ok(`its access token ended ${ended} ago; the next request renews it`);
    }
    case "unreadable":
      return UNREADABLE;
    case "malformed":
      return wrong(`its file ${found.reason}`);
    case "signed-out":
    case "absent":
      return none("logged out there");
  }
}

function checkCredential({ sight, keyring }: LoginsSeen, displayPath: DisplayPath): Finding {
  switch (sight.kind) {
    case "key": {
      const says = `an API key ${sayPlace(sight)}, no login`;
      return sight.key === undefined || isTokenText(sight.key)
        ? ok(says)
        : bad(`${says}: it has a character in it that keys do not have`, "paste it anew, in one line");
    }
    case "login": {
      const { choice, store } = sight;
      if (choice.state === "use") return ok(`that of ${storeName(store)}`);
      const path = displayPath(store.path);
      const says = `pi's copy of that of ${storeName(store)}, until it ends: ${path} cannot be used`;
      return bad(says, "repair that file, or log in again");
    }
    case "none":
      return checkReason(sight.reason, keyring);
  }
}

function checkReason(
  reason: Extract<Sight, { kind: "none" }>["reason"],
  keyring: Owner | undefined,
): Finding {
  if (reason === "configuration") return none("not looked for: a variable is wrong");
  switch (reason.kind) {
    case "own-key":
      return ok("an API key in pi's auth.json, no login");
    case "no-login": {
      if (keyring === undefined) return bad("no login found", `${LOG_IN}, or set ${API_KEY_VARIABLE}`);
      const { says, fix } = sayKeyring(keyring);
      return bad(`no login found: ${says}`, fix);
    }
    case "logged-out":
      return bad("logged out in pi", "type /login kimi-coder in pi");
    case "problem": {
      const { store, found } = reason.problem;
      const out = found.state === "absent" || found.state === "signed-out";
      const says = out ? `${storeName(store)} has logged out` : `that of ${storeName(store)} cannot be used`;
      return bad(says, LOG_IN);
    }
  }
}

/** A variable, or a kind of place: a path may be anything. */
function sayPlace({ given, source }: Extract<Sight, { kind: "key" }>): string {
  switch (given) {
    case "argument":
      return "from --api-key";
    case "entry":
      return "in pi's auth.json";
    case "configuration":
      return source === API_KEY_VARIABLE ? `from ${API_KEY_VARIABLE}` : "from a file of pi";
  }
}

function checkEntry({ entry, sight }: LoginsSeen, displayPath: DisplayPath): Finding {
  switch (entry.state) {
    case "absent":
      return none("there is none; a session makes it when it finds a login");
    case "api-key":
      return none("auth.json holds an API key for kimi-coder instead");
    case "unreadable":
      return UNREADABLE;
    case "malformed":
      return bad(
        `auth.json ${entry.reason}`,
        "correct it by hand, or move it away and log in again to all providers",
      );
    case "oauth": {
      if (sight.kind === "key") return none("not used: a key was given by hand");
      if (sight.kind === "none" || !isOf(entry, sight.store)) {
        return none("of a login that is not in use; one that is takes its place");
      }
      const { store } = sight;
      return store.owner === "pi"
        ? ok("nobody else has this login: it is renewed here")
        : ok(`of that of ${storeName(store)} (${displayPath(store.path)})`);
    }
  }
}
