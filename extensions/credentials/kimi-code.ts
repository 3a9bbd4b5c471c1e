/**
 * kimi-code's login: one file for each pair of hosts in its home, and the proper-lockfile lock that its processes take.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Token } from "../oauth/token.ts";
import { type Region, USUAL_REGION } from "../region.ts";
import { lockDirectory } from "./directory-lock.ts";
import { systemCode } from "./file.ts";
import { indented, type Members } from "./json.ts";
import type { LockOutcome, LoginStore } from "./store.ts";
import { parseWire } from "./stored-token.ts";
import { tokenFile } from "./token-file.ts";

export interface KimiCodePlace {
  /** `~/.kimi-code`, or `$KIMI_CODE_HOME`. */
  readonly home: string;
  readonly oauthHost: string;
  readonly baseUrl: string;
  /** The region these are the hosts of. */
  readonly region?: Region;
}

/** kimi-code's own `stale`; a heartbeat that is much shorter, because its file system may be slow. */
const LOCK = { stale: 5_000, update: 1_000 };

export function kimiCodeStore(place: KimiCodePlace): LoginStore {
  const slot = slotName(place.oauthHost, place.baseUrl);
  const path = join(place.home, "credentials", `${slot}.json`);
  const sentinel = join(place.home, "oauth", slot);
  const file = tokenFile(path, { parse: parseWire, update, render: (members) => `${indented(members)}\n` });
  return {
    owner: "kimi-code",
    region: place.region ?? USUAL_REGION,
    path,
    read: file.read,
    replace: file.replace,
    rehearse: file.rehearse,
    save: (token) => file.overwrite(token, 0o700),
    rehearseSave: file.rehearseOverwrite,
    // The owner's lock is a proper-lockfile lock as well, and excludes pi's processes from one another.
    lockAmongPi: async () => ({ state: "held", release: async () => {} }),
    async lockOfOwner(timeout): Promise<LockOutcome> {
      if (!existsSync(path)) return { state: "failed", code: "ENOENT" };
      try {
        mkdirSync(join(place.home, "oauth"), { recursive: true });
        writeFileSync(sentinel, "", { flag: "a" });
      } catch (error) {
        return { state: "failed", code: systemCode(error) };
      }
      return lockDirectory(sentinel, LOCK, timeout);
    },
    ownerLockLimit: undefined, // it fails closed after a minute or two
    locks: [{ kind: "folder", path: `${sentinel}.lock`, stale: LOCK.stale, sentinel }],
  };
}

/** The name under which kimi-code keeps the login of these hosts; trailing slashes do not matter to it. */
export function slotName(oauthHost: string, baseUrl: string): string {
  const hosts = { oauthHost: withoutSlashes(oauthHost.trim()), baseUrl: withoutSlashes(baseUrl) };
  if (hosts.oauthHost === "https://auth.kimi.com" && hosts.baseUrl === "https://api.kimi.com/coding/v1") {
    return "kimi-code";
  }
  const digest = createHash("sha256").update(JSON.stringify(hosts)).digest("hex");
  return `kimi-code-env-${digest.slice(0, 16)}`;
}

function withoutSlashes(url: string): string {
  return url.replace(/\/+$/, "");
}

/** Whole seconds, rounded down so that nobody takes the token for valid longer than it is. */
function update(members: Members, token: Token): Members {
  return new Map([
    ...members,
    ["access_token", JSON.stringify(token.accessToken)],
    ["refresh_token", JSON.stringify(token.refreshToken)],
    ["expires_at", String(Math.floor(token.expiresAt / 1000))],
    ["scope", text(members, "scope", token.scope)],
    ["token_type", text(members, "token_type", token.tokenType)],
    ["expires_in", String(Math.floor(token.lifetime / 1000))],
  ]);
}

/** What the server said; else what the file said. */
function text(members: Members, key: string, said: string | undefined): string {
  return said === undefined ? (members.get(key) ?? '""') : JSON.stringify(said);
}
