/** Where logins are: the files of the programs whose logins we share, each with its format and its locks. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { indented, type Members, memberValue, onOneLine, parseMembers } from "../lib/json.ts";
import type { Token } from "../oauth/token.ts";
import { type Region, type RegionsInUse, USUAL_REGION } from "../region.ts";
import type { CredentialStore, Owner, StoredLogin, StoreLock, TokenFormat } from "./store.ts";
import { lookAt, malformed, parseStored, parseWire } from "./token-file.ts";

export interface Stores {
  /** In order of preference; only those whose tokens belong to a region in use. */
  readonly all: readonly CredentialStore[];
  /**
   * Where a login of `region` is saved: for kimi-cli, but not where kimi-cli would present it to another region's server.
   * Then it goes into kimi-code's home, which has a place for each region.
   */
  readonly forLogin: (region: Region) => CredentialStore;
}

export interface Places {
  readonly regions: RegionsInUse;
  /** The region whose tokens kimi-cli has in this environment; undefined where it is none of `regions`. */
  readonly kimiCliRegion: Region | undefined;
  /** `~/.kimi`, or `$KIMI_SHARE_DIR`. */
  readonly kimiShare: string;
  /** `~/.kimi-code`, or `$KIMI_CODE_HOME`. */
  readonly kimiCodeHome: string;
  /** `~/.local/share`, or `$XDG_DATA_HOME`. */
  readonly dataHome: string;
  readonly home: string;
}

export function createStores(places: Places): Stores {
  const { regions, kimiCliRegion, kimiShare, kimiCodeHome, dataHome, home } = places;
  const kimiCli = kimiCliRegion === undefined ? [] : [kimiCliStore(kimiShare, kimiCliRegion)];
  const [first, ...others] = regions;
  const firstKimiCode = kimiCodeStore(kimiCodeHome, first);
  const forLogins = [...kimiCli, firstKimiCode, ...others.map((hosts) => kimiCodeStore(kimiCodeHome, hosts))];
  // opencode's plugins know no other region.
  const opencode = regions.some(({ region }) => region === USUAL_REGION)
    ? [opencodeKimiFullStore(dataHome), opencodeKimiAuthStore(join(home, ".opencode-kimi-auth"))]
    : [];
  return {
    all: [...forLogins, ...opencode],
    forLogin: (region) => forLogins.find((store) => store.region === region) ?? forLogins[0] ?? firstKimiCode,
  };
}

interface Definition {
  readonly owner: Owner;
  readonly region: Region;
  readonly path: string;
  readonly format: TokenFormat;
  readonly folderMode?: number;
  /** The file of ours that pi processes lock before anything else. */
  readonly ours: string;
  readonly ownersLock?: StoreLock;
}

export function storeOf({ folderMode = 0o700, ours, ownersLock, ...store }: Definition): CredentialStore {
  const amongPi: StoreLock = { kind: "flock", path: ours, whose: "ours" };
  return {
    ...store,
    folderMode,
    locks: ownersLock ? [amongPi, ownersLock] : [amongPi],
    read: async () => (await lookAt(store.path, store.format)).found,
  };
}

/** kimi-cli's login, and the flock that its processes take. */
export function kimiCliStore(share: string, region: Region = USUAL_REGION): CredentialStore {
  const folder = join(share, "credentials");
  return storeOf({
    owner: "kimi-cli",
    region,
    path: join(folder, "kimi-code.json"),
    format: { parse: parseWire, update: updateKimiCli, render: onOneLine },
    folderMode: 0o755, // as kimi-cli makes it
    ours: join(folder, "kimi-code.pi.flock"),
    ownersLock: { kind: "flock", path: join(folder, "kimi-code.lock"), whose: "owner's" },
  });
}

/** kimi-cli's own order of the six; on a file that has them, each keeps its place. */
function updateKimiCli(members: Members, token: Token): Members {
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

/** The hosts that a login of kimi-code belongs to. */
export interface KimiCodeHosts {
  readonly oauthHost: string;
  readonly baseUrl: string;
  readonly region?: Region;
}

/** kimi-code's login of these hosts, and the proper-lockfile lock that its processes take. */
export function kimiCodeStore(home: string, hosts: KimiCodeHosts): CredentialStore {
  const slot = slotName(hosts.oauthHost, hosts.baseUrl);
  const sentinel = join(home, "oauth", slot);
  return storeOf({
    owner: "kimi-code",
    region: hosts.region ?? USUAL_REGION,
    path: join(home, "credentials", `${slot}.json`),
    format: { parse: parseWire, update: updateKimiCode, render: (members) => `${indented(members)}\n` },
    ours: join(home, "credentials", `${slot}.pi.flock`),
    // kimi-code's own `stale`.
    ownersLock: { kind: "folder", path: `${sentinel}.lock`, sentinel, stale: 5_000 },
  });
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

/** Whole seconds, rounded down, so that the token never seems valid for longer than it is. */
function updateKimiCode(members: Members, token: Token): Members {
  return new Map([
    ...members,
    ["access_token", JSON.stringify(token.accessToken)],
    ["refresh_token", JSON.stringify(token.refreshToken)],
    ["expires_at", String(Math.floor(token.expiresAt / 1000))],
    ["scope", text(members, "scope", token.scope, "")],
    ["token_type", text(members, "token_type", token.tokenType, "")],
    ["expires_in", String(Math.floor(token.lifetime / 1000))],
  ]);
}

const OPENCODE_KEY = "kimi-for-coding-oauth";

/** opencode-kimi-full's login: one entry of opencode's `auth.json`, beside the entries of other providers. */
export function opencodeKimiFullStore(data: string): CredentialStore {
  const path = join(data, "opencode", "auth.json");
  return storeOf({
    owner: "opencode-kimi-full",
    region: USUAL_REGION,
    path,
    format: { parse: parseOpencode, update: updateOpencode, render: indented, writtenInPlace: true },
    ours: join(data, "opencode", "kimi-code.pi.flock"),
    // The plugin's own `stale`.
    ownersLock: { kind: "owner-file", path: `${path}.${OPENCODE_KEY}.refresh.lock`, stale: 120_000 },
  });
}

/** opencode-kimi-full also reads the entry under its name with a slash. */
function opencodeKey(members: Members): string {
  return members.has(`${OPENCODE_KEY}/`) && !members.has(OPENCODE_KEY) ? `${OPENCODE_KEY}/` : OPENCODE_KEY;
}

function parseOpencode(members: Members): StoredLogin {
  const entry = members.get(opencodeKey(members));
  if (entry === undefined) return { state: "absent" };
  const own = parseMembers(entry);
  if (!own || memberValue(own, "type") !== "oauth")
    return malformed("holds a Kimi entry that is no OAuth login");
  return parsePiWords(own);
}

/** An OAuth entry in the words that opencode and pi share, with its end in ms. */
export function parsePiWords(entry: Members): StoredLogin {
  return parseStored({
    access: memberValue(entry, "access"),
    refresh: memberValue(entry, "refresh"),
    expiresAt: memberValue(entry, "expires"),
    unit: 1,
  });
}

function updateOpencode(members: Members, token: Token): Members {
  const key = opencodeKey(members);
  const entry = new Map([
    ...(parseMembers(members.get(key) ?? "{}") ?? []),
    ["type", '"oauth"'],
    ["refresh", JSON.stringify(token.refreshToken)],
    ["access", JSON.stringify(token.accessToken)],
    ["expires", String(Math.floor(token.expiresAt))],
  ]);
  return new Map([...members, [key, indented(entry, 1)]]);
}

/** opencode-kimi-auth's login, for which it takes no lock. `folder` is `~/.opencode-kimi-auth`. */
export function opencodeKimiAuthStore(folder: string): CredentialStore {
  return storeOf({
    owner: "opencode-kimi-auth",
    region: USUAL_REGION,
    path: join(folder, "oauth.json"),
    format: { parse: parseKimiAuth, update: updateKimiAuth, render: indented, writtenInPlace: true },
    ours: join(folder, "oauth.pi.flock"),
  });
}

/** `expires_at` is in ms here. Later versions encrypt the file with a key that is theirs. */
function parseKimiAuth(members: Members): StoredLogin {
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

function updateKimiAuth(members: Members, token: Token): Members {
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
