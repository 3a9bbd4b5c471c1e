/** The state of every login, the one that requests are sent with, and pi's copy of it. Nothing is renewed. */

import { API_KEY_VARIABLE } from "../configuration.ts";
import type { PiEntry } from "../credentials/pi-auth.ts";
import type { Look } from "../credentials/selection.ts";
import type { StoredLogin } from "../credentials/store.ts";
import { needsRefresh } from "../oauth/token.ts";
import type { RequestCredential } from "../request-credential.ts";
import { sayDuration } from "../usage/words.ts";
import { bad, type Check, knownCode, none, ok } from "./check.ts";
import { type NamePath, storeName } from "./places.ts";

export interface LoginsSeen {
  readonly looks: readonly Look[];
  readonly entry: PiEntry;
  readonly credential: RequestCredential;
  /** ms since the epoch. */
  readonly now: number;
}

const LOG_IN = "type /login kimi-coder in pi, or log in with kimi-cli";
/** Refresh tokens that nobody uses live about 30 days. */
const LONGEST_REST = 30 * 86_400_000;

/** One check for each store that is there, one for pi's entry, one for what a request would be sent with. */
export function checkLogins(seen: LoginsSeen, called: NamePath): readonly Check[] {
  const { looks, now } = seen;
  const stores = looks
    .filter(({ found }) => found.state !== "absent")
    .map(({ store, found }) => checkStore(`Login of ${storeName(store)}`, found, now));
  return [checkChoice(seen, called), ...stores, checkEntry(seen, called)];
}

function checkStore(name: string, found: StoredLogin, now: number): Check {
  switch (found.state) {
    case "present": {
      const { token } = found;
      const left = token.expiresAt - now;
      if (-left > LONGEST_REST) {
        const fix = `${LOG_IN} to log in again`;
        return bad(name, `not renewed for ${sayDuration(-left)}: it has ended`, fix);
      }
      if (left <= 0)
        return ok(name, `its access token ended ${sayDuration(-left)} ago; the next request renews it`);
      const renewal = needsRefresh(token, now) ? "; it is time to renew it, which happens by itself" : "";
      return ok(name, `valid for ${sayDuration(left)}${renewal}`);
    }
    case "signed-out":
      return none(name, "logged out there");
    case "unreadable":
      return bad(name, `cannot be read (${knownCode(found.code)})`, "make its file readable for you");
    case "malformed":
      return bad(name, `its file ${knownReason(found.reason)}`, `${LOG_IN} to write it anew`);
    case "absent":
      return none(name, "none");
  }
}

const REASONS: ReadonlySet<string> = new Set([
  ...["holds no access token", "holds no refresh token", "does not say when its token expires", "is empty"],
  ...["is far too large", "is not text", "is not a JSON object", "is encrypted by opencode-kimi-auth"],
  ...["holds a Kimi entry that is no OAuth login", "holds a damaged entry"],
]);

/** The reasons are ours, but who adds one elsewhere may not know that it is shown here. */
function knownReason(reason: string): string {
  return REASONS.has(reason) ? reason : "is damaged";
}

function checkChoice({ credential }: LoginsSeen, called: NamePath): Check {
  const name = "Login in use";
  if (credential.kind === "key") return ok(name, `an API key ${sayPlace(credential)}, no login`);
  const { choice } = credential;
  if (choice.state === "use") return ok(name, `that of ${storeName(choice.store)}`);
  if (choice.state === "mirror") {
    const { store } = choice.problem;
    const says = `pi's copy of that of ${storeName(store)}, until it ends: ${called(store.path)} cannot be used`;
    return bad(name, says, "repair that file, or log in again");
  }
  switch (choice.reason.kind) {
    case "own-key":
      return ok(name, "an API key in pi's auth.json, no login");
    case "no-login":
      return bad(name, "no login found", `${LOG_IN}, or set KIMI_CODER_API_KEY`);
    case "logged-out":
      return bad(name, "logged out in pi, and no new login since", `${LOG_IN} again`);
    case "problem": {
      const { store, found } = choice.reason.problem;
      const out = found.state === "absent" || found.state === "signed-out";
      const says = out ? `${storeName(store)} has logged out` : `that of ${storeName(store)} cannot be used`;
      return bad(name, says, LOG_IN);
    }
  }
}

/** A variable, or a kind of place: a path may be anything. */
function sayPlace({ given, source }: Extract<RequestCredential, { kind: "key" }>): string {
  switch (given) {
    case "argument":
      return "from --api-key";
    case "entry":
      return "in pi's auth.json";
    case "configuration":
      return source === API_KEY_VARIABLE ? `from ${API_KEY_VARIABLE}` : "from a file of pi";
  }
}

function checkEntry({ looks, entry, credential, now }: LoginsSeen, called: NamePath): Check {
  const name = "pi's copy of the login";
  switch (entry.state) {
    case "absent":
      return none(name, "there is none; a session makes it when it finds a login");
    case "api-key":
      return none(name, "auth.json holds an API key for kimi-coder instead");
    case "unreadable":
      return bad(name, `auth.json cannot be read (${knownCode(entry.code)})`, "make it readable for you");
    case "malformed":
      return bad(
        name,
        `auth.json ${knownReason(entry.reason)}`,
        "correct it by hand, or move it away and log in again to all providers",
      );
    case "oauth": {
      if (credential.kind === "key") return none(name, "not used: a key was given by hand");
      const own = looks.find(({ store }) => store.owner === entry.owner && store.path === entry.source);
      if (!own) {
        const fix = "type /logout kimi-coder and /login kimi-coder in pi";
        return bad(name, "says of no program that is looked at that the login is its own", fix);
      }
      const from = `${storeName(own.store)} (${called(own.store.path)})`;
      if (own.found.state !== "present") return none(name, `of ${from}, which holds no login now`);
      const same = own.found.token.refreshToken === entry.token.refreshToken;
      if (same) return ok(name, `the same as that of ${from}`);
      const old = entry.token.expiresAt <= now ? ", ended" : "";
      return ok(name, `older than that of ${from}${old}; the next session brings it in line`);
    }
  }
}
