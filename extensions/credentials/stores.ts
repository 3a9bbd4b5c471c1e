/** Where logins are: the files of the programs whose logins we share, each with its format and its locks. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { indented, type Members, membersIn, memberValue, onOneLine } from "../lib/json.ts";
import type { Token } from "../oauth/token.ts";
import { type Region, type RegionsInUse, USUAL_REGION } from "../region.ts";
import type { CredentialStore, Owner, StoreLock, TokenFormat } from "./store.ts";
import { lookAt, lookUntilWhole, malformed, parseEntry, parseWire } from "./token-file.ts";

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
  const { path, format } = store;
  const look = () => lookAt(path, format.parse);
  return {
    ...store,
    folderMode,
    locks: ownersLock ? [amongPi, ownersLock] : [amongPi],
    read: async () => (format.writtenInPlace ? await lookUntilWhole(look) : look()).found,
  };
}

/** How a program keeps a login under the names of a token response. */
interface Wire {
  /** Of `expires_at`, in ms; `expires_in` is in s everywhere. */
  readonly unit: 1 | 1000;
  readonly number: (value: number) => string;
  /** The `token_type` where neither the server nor the file says one. */
  readonly tokenType: string;
  readonly render: (members: Members) => string;
}

/** Members that are not in the file yet are added in kimi-cli's order. */
function wireFormat({ unit, number, tokenType, render }: Wire): TokenFormat {
  /** What the server said; else what the file said; else `usual`. */
  const text = (said: string | undefined, stored: string | undefined, usual: string) =>
    said === undefined ? (stored ?? JSON.stringify(usual)) : JSON.stringify(said);
  return {
    parse: (members) => parseWire(members, unit),
    update: (members, token) =>
      new Map([
        ...members,
        ["access_token", JSON.stringify(token.accessToken)],
        ["refresh_token", JSON.stringify(token.refreshToken)],
        ["expires_at", number(token.expiresAt / unit)],
        ["scope", text(token.scope, members.get("scope"), "")],
        ["token_type", text(token.tokenType, members.get("token_type"), tokenType)],
        ["expires_in", number(token.lifetime / 1000)],
      ]),
    render,
  };
}

/** Rounded down, so that the token never seems valid for longer than it is. */
function wholeNumber(value: number): string {
  return String(Math.floor(value));
}

/** kimi-cli's login, and the flock that its processes take. */
export function kimiCliStore(share: string, region: Region = USUAL_REGION): CredentialStore {
  const folder = join(share, "credentials");
  return storeOf({
    owner: "kimi-cli",
    region,
    path: join(folder, "kimi-code.json"),
    format: wireFormat({ unit: 1000, number: pythonFloat, tokenType: "Bearer", render: onOneLine }),
    folderMode: 0o755, // as kimi-cli makes it
    ours: join(folder, "kimi-code.pi.flock"),
    ownersLock: { kind: "flock", path: join(folder, "kimi-code.lock"), whose: "owner's" },
  });
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
    format: wireFormat({
      unit: 1000,
      number: wholeNumber,
      tokenType: "",
      render: (members) => `${indented(members)}\n`,
    }),
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

const OPENCODE_KEY = "kimi-for-coding-oauth";

/** opencode-kimi-full's login: one entry of opencode's `auth.json`, beside the entries of other providers. */
export function opencodeKimiFullStore(data: string): CredentialStore {
  const path = join(data, "opencode", "auth.json");
  return storeOf({
    owner: "opencode-kimi-full",
    region: USUAL_REGION,
    path,
    format: entryFormat(opencodeKey),
    ours: join(data, "opencode", "kimi-code.pi.flock"),
    // The plugin's own `stale`.
    ownersLock: { kind: "owner-file", path: `${path}.${OPENCODE_KEY}.refresh.lock`, stale: 120_000 },
  });
}

/** opencode-kimi-full also reads the entry under its name with a slash. */
function opencodeKey(members: Members): string {
  return members.has(`${OPENCODE_KEY}/`) && !members.has(OPENCODE_KEY) ? `${OPENCODE_KEY}/` : OPENCODE_KEY;
}

/** A login in an OAuth entry beside others, in a file that pi or opencode overwrites in place. */
export function entryFormat(keyIn: (members: Members) => string): TokenFormat {
  return {
    parse(members) {
      const key = keyIn(members);
      if (!members.has(key)) return { state: "absent" };
      const entry = membersIn(members, key);
      return memberValue(entry, "type") === "oauth"
        ? parseEntry(entry)
        : malformed("holds a Kimi entry that is no OAuth login");
    },
    update(members, token) {
      const key = keyIn(members);
      return new Map([...members, [key, indented(withToken(membersIn(members, key), token), 1)]]);
    },
    render: indented,
    writtenInPlace: true,
  };
}

/** The members of an entry with the token in them; everything else stays as it was. */
export function withToken(entry: Members, token: Token): Members {
  return new Map([
    ...entry,
    ["type", '"oauth"'],
    ["access", JSON.stringify(token.accessToken)],
    ["refresh", JSON.stringify(token.refreshToken)],
    ["expires", wholeNumber(token.expiresAt)],
  ]);
}

/**
 * opencode-kimi-auth's login, for which it takes no lock. `folder` is `~/.opencode-kimi-auth`. Its later versions
 * encrypt the file with a key that is theirs.
 */
export function opencodeKimiAuthStore(folder: string): CredentialStore {
  const plain = wireFormat({ unit: 1, number: wholeNumber, tokenType: "Bearer", render: indented });
  return storeOf({
    owner: "opencode-kimi-auth",
    region: USUAL_REGION,
    path: join(folder, "oauth.json"),
    format: {
      ...plain,
      parse: (members) =>
        members.has("encrypted") ? malformed("is encrypted by opencode-kimi-auth") : plain.parse(members),
      writtenInPlace: true,
    },
    ours: join(folder, "oauth.pi.flock"),
  });
}
