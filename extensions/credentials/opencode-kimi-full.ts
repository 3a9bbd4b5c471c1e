/**
 * The login of opencode-kimi-full: one entry of opencode's `auth.json`, beside the entries of other providers.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { lockDirectory, PI_LOCK } from "./directory-lock.ts";
import { indented, type Members, memberValue, parseMembers } from "./json.ts";
import { lockWithOwnerFile, STALE } from "./opencode-lock.ts";
import type { CredentialStore, LockOutcome, StoredLogin } from "./store.ts";
import { malformed, parseStored } from "./stored-token.ts";
import { tokenFile } from "./token-file.ts";

const KEY = "kimi-for-coding-oauth";

const NO_LOGIN: LockOutcome = { state: "failed", code: "ENOENT" };

/** `data` is `$XDG_DATA_HOME`, or `~/.local/share`; the plugin knows one region. */
export function opencodeKimiFullStore({ data }: { readonly data: string }): CredentialStore {
  const path = join(data, "opencode", "auth.json");
  const lock = `${path}.${KEY}.refresh.lock`;
  const ours = join(data, "opencode", "kimi-code.pi");
  const file = tokenFile(path, { parse, update, render: indented, writtenInPlace: true });
  return {
    owner: "opencode-kimi-full",
    region: USUAL_REGION,
    path,
    read: file.read,
    replace: file.replace,
    rehearse: file.rehearse,
    lockAmongPi: async (timeout) => (existsSync(path) ? lockDirectory(ours, PI_LOCK, timeout) : NO_LOGIN),
    lockOfOwner: async (timeout) => (existsSync(path) ? lockWithOwnerFile(lock, timeout) : NO_LOGIN),
    ownerLockLimit: undefined, // it fails closed after 15 s
    locks: [
      { kind: "folder", path: lock, stale: STALE },
      { kind: "folder", path: `${ours}.lock`, stale: PI_LOCK.stale },
    ],
  };
}

/** opencode-kimi-full also reads the entry under its name with a slash. */
function keyIn(members: Members): string {
  return members.has(`${KEY}/`) && !members.has(KEY) ? `${KEY}/` : KEY;
}

function parse(members: Members): StoredLogin {
  const text = members.get(keyIn(members));
  if (text === undefined) return { state: "absent" };
  const entry = parseMembers(text);
  if (!entry || memberValue(entry, "type") !== "oauth") {
    return malformed("holds a Kimi entry that is no OAuth login");
  }
  return parseStored({
    access: memberValue(entry, "access"),
    refresh: memberValue(entry, "refresh"),
    expiresAt: memberValue(entry, "expires"),
    unit: 1,
  });
}

function update(members: Members, token: Token): Members {
  const key = keyIn(members);
  const entry = new Map([
    ...(parseMembers(members.get(key) ?? "{}") ?? []),
    ["type", '"oauth"'],
    ["refresh", JSON.stringify(token.refreshToken)],
    ["access", JSON.stringify(token.accessToken)],
    ["expires", String(Math.floor(token.expiresAt))],
  ]);
  return new Map([...members, [key, indented(entry, 1)]]);
}
