/**
 * kimi-cli's login: `credentials/kimi-code.json` in its share directory, and the flock that its processes take.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "../oauth/token.ts";
import { type Region, USUAL_REGION } from "../region.ts";
import { lockDirectory, PI_LOCK } from "./directory-lock.ts";
import { lockFile } from "./flock.ts";
import { type Members, onOneLine } from "./json.ts";
import type { LockOutcome, LoginStore } from "./store.ts";
import { parseWire } from "./stored-token.ts";
import { tokenFile } from "./token-file.ts";

export interface KimiCliPlace {
  /** `~/.kimi`, or `$KIMI_SHARE_DIR`. */
  readonly share: string;
  /** That of the hosts which kimi-cli's own variables name; it knows no other way to another one. */
  readonly region?: Region;
}

/** kimi-cli asks five more times within 5 to 11 s, and then refreshes without the lock. */
const TOLERATED = 5_000;

const NO_LOGIN: LockOutcome = { state: "failed", code: "ENOENT" };

/** The store. Nothing but `save` creates files or directories while there is no login. */
export function kimiCliStore({ share, region = USUAL_REGION }: KimiCliPlace): LoginStore {
  const folder = join(share, "credentials");
  const path = join(folder, "kimi-code.json");
  // Not "kimi-code": proper-lockfile's directory would sit where kimi-cli keeps its lock file.
  const ours = join(folder, "kimi-code.pi");
  const lock = join(folder, "kimi-code.lock");
  const file = tokenFile(path, { parse: parseWire, update, render: onOneLine });
  return {
    owner: "kimi-cli",
    region,
    path,
    read: file.read,
    replace: file.replace,
    rehearse: file.rehearse,
    save: (token) => file.overwrite(token, 0o755),
    rehearseSave: file.rehearseOverwrite,
    lockAmongPi: async (timeout) => (existsSync(path) ? lockDirectory(ours, PI_LOCK, timeout) : NO_LOGIN),
    lockOfOwner: async (timeout) => (existsSync(path) ? lockFile(lock, timeout) : NO_LOGIN),
    ownerLockLimit: TOLERATED,
    locks: [
      { kind: "flock", path: lock },
      { kind: "folder", path: `${ours}.lock`, stale: PI_LOCK.stale },
    ],
  };
}

/** kimi-cli's own order of the six; on a file that has them, each keeps its place. */
function update(members: Members, token: Token): Members {
  return new Map([
    ...members,
    ["access_token", JSON.stringify(token.accessToken)],
    ["refresh_token", JSON.stringify(token.refreshToken)],
    ["expires_at", pythonFloat(token.expiresAt / 1000)],
    ["scope", text(members, "scope", token.scope, "")],
    ["token_type", text(members, "token_type", token.tokenType, "Bearer")],
    ["expires_in", pythonFloat(token.lifetime / 1000)],
  ]);
}

/** What the server said; else what the file said; else `usual`. */
function text(members: Members, key: string, said: string | undefined, usual: string): string {
  return said === undefined ? (members.get(key) ?? JSON.stringify(usual)) : JSON.stringify(said);
}

/** Python writes a float of a whole number with ".0". */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
