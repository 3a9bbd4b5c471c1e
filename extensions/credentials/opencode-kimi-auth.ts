/**
 * The login of opencode-kimi-auth: `oauth.json` in its folder, for which it takes no lock.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "../oauth/token.ts";
import { USUAL_REGION } from "../region.ts";
import { lockDirectory, PI_LOCK } from "./directory-lock.ts";
import { indented, type Members, memberValue } from "./json.ts";
import type { CredentialStore } from "./store.ts";
import { malformed, parseStored } from "./stored-token.ts";
import { tokenFile } from "./token-file.ts";

/** `folder` is `~/.opencode-kimi-auth`; the plugin knows one region. */
export function opencodeKimiAuthStore({ folder }: { readonly folder: string }): CredentialStore {
  const path = join(folder, "oauth.json");
  const ours = join(folder, "oauth.pi");
  const file = tokenFile(path, { parse, update, render: indented, writtenInPlace: true });
  return {
    owner: "opencode-kimi-auth",
    region: USUAL_REGION,
    path,
    read: file.read,
    replace: file.replace,
    rehearse: file.rehearse,
    lockAmongPi: async (timeout) =>
      existsSync(path) ? lockDirectory(ours, PI_LOCK, timeout) : { state: "failed", code: "ENOENT" },
    lockOfOwner: async () => ({ state: "failed", code: "ENOTSUP" }),
    ownerLockLimit: undefined,
    locks: [{ kind: "folder", path: `${ours}.lock`, stale: PI_LOCK.stale }],
  };
}

/** `expires_at` is in ms here. Later versions encrypt the file with a key that is theirs. */
function parse(members: Members) {
  if (members.has("encrypted")) return malformed("is encrypted by opencode-kimi-auth");
  const lifetime = memberValue(members, "expires_in");
  return parseStored({
    access: memberValue(members, "access_token"),
    refresh: memberValue(members, "refresh_token"),
    expiresAt: memberValue(members, "expires_at"),
    lifetime: typeof lifetime === "number" ? lifetime * 1000 : undefined,
    scope: memberValue(members, "scope"),
    tokenType: memberValue(members, "token_type"),
    unit: 1,
  });
}

function update(members: Members, token: Token): Members {
  const next = new Map([
    ...members,
    ["access_token", JSON.stringify(token.accessToken)],
    ["refresh_token", JSON.stringify(token.refreshToken)],
    ["expires_in", String(Math.floor(token.lifetime / 1000))],
    ["expires_at", String(Math.floor(token.expiresAt))],
  ]);
  if (token.scope !== undefined) next.set("scope", JSON.stringify(token.scope));
  if (token.tokenType !== undefined) next.set("token_type", JSON.stringify(token.tokenType));
  return next;
}
