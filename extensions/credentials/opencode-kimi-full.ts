/**
 * The login of opencode-kimi-full: one entry of opencode's `auth.json`, beside the entries of other providers.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { indented, type Members, memberValue, parseMembers } from "./json.ts";
import { lockWithOwnerFile } from "./opencode-lock.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";
import { malformed, parseStored } from "./stored-token.ts";
import { tokenFile } from "./token-file.ts";

const KEY = "kimi-for-coding-oauth";

/** `data` is `$XDG_DATA_HOME`, or `~/.local/share`; the plugin knows one region. */
export function opencodeKimiFullStore({ data }: { readonly data: string }): CredentialStore {
  const path = join(data, "opencode", "auth.json");
  const file = tokenFile(path, { parse, update, render: indented, writtenInPlace: true });
  return {
    owner: "opencode-kimi-full",
    region: USUAL_REGION,
    path,
    read: file.read,
    replace: file.replace,
    // The owner's lock excludes pi's processes from one another as well.
    lockAmongPi: async () => ({ state: "held", release: async () => {} }),
    lockOfOwner: async (timeout) =>
      existsSync(path)
        ? lockWithOwnerFile(`${path}.${KEY}.refresh.lock`, timeout)
        : { state: "failed", code: "ENOENT" },
    ownerLockLimit: undefined, // it fails closed after 15 s
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
