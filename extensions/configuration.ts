/**
 * What the environment and pi's settings say about this extension, parsed once: hosts, folders, identity, an API key.
 */
import { join } from "node:path";
import { readJsonSync } from "./credentials/small-file.ts";
import { isJsonObject } from "./oauth/json-object.ts";
import {
  parseRegion,
  REGIONS,
  type Region,
  type RegionsInUse,
  type RegionTable,
  regionsInUse,
} from "./region.ts";

export const PROVIDER = "kimi-coder";
export const API_KEY_VARIABLE = "KIMI_CODER_API_KEY";

/** Public client id of Kimi's coding clients; every one of them uses it. */
export const CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098";

/** As whom requests are sent; see identity.ts. */
export type IdentityName = "kimi-cli" | "pi";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Configuration {
  /** Authorization server of the first region, without a trailing slash. */
  readonly oauthHost: string;
  /** API of the first region, without a trailing slash. */
  readonly baseUrl: string;
  /** The regions this process deals with; the first is that of API keys. */
  readonly regions: RegionsInUse;
  /** Whether nobody has said for which of them a login is. */
  readonly asksRegion: boolean;
  /** The region whose tokens kimi-cli has in this environment; undefined where it is none of `regions`. */
  readonly kimiCliRegion: Region | undefined;
  readonly identity: IdentityName;
  /** How many requests of the account may be under way at once; wins over what the plan says. */
  readonly parallel: number | undefined;
  /** Whether the quota is shown in pi's footer. */
  readonly footer: boolean;
  /** One sentence that says which variable is wrong; nothing may be sent anywhere while it is set. */
  readonly refusal: string | undefined;
  /** kimi-cli's `~/.kimi`. */
  readonly kimiShare: string;
  /** kimi-code's `~/.kimi-code`. */
  readonly kimiCodeHome: string;
  /** Where opencode keeps its data. */
  readonly dataHome: string;
  readonly home: string;
  /** pi's folder for auth.json and settings.json. */
  readonly agentDir: string;
}

/** This extension's own files in pi's folder. None holds a token. */
export function ownFiles(agentDir: string) {
  return {
    memory: join(agentDir, `${PROVIDER}.json`),
    models: join(agentDir, `${PROVIDER}-models.json`),
    usage: join(agentDir, `${PROVIDER}-usage.json`),
    renewals: join(agentDir, `${PROVIDER}-renewals.json`),
  };
}

/** Where the pi processes of a home meet to take turns: they share its logins, whichever PI_CODING_AGENT_DIR each has. */
export function requestsFolder(home: string): string {
  return join(usualAgentDir(home), `${PROVIDER}-requests`);
}

function usualAgentDir(home: string): string {
  return join(home, ".pi", "agent");
}

/** Reads the variables that the official clients and pi use for these things. */
export function readConfiguration(
  env: Environment,
  home: string,
  table: RegionTable = REGIONS,
): Configuration {
  const refusals: string[] = [];
  /** The first of the variables that is set, parsed; one that says nothing usable is refused by `complaint`. */
  function read<T>(names: readonly string[], parse: (value: string) => T | undefined, complaint: string) {
    const name = names.find((candidate) => env[candidate]?.trim());
    const value = name === undefined ? undefined : env[name]?.trim();
    if (value === undefined) return undefined;
    const parsed = parse(value);
    if (parsed === undefined) refusals.push(`${name} ${complaint}`);
    return parsed;
  }
  const oauthHost = read(["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST"], readHost, "is no http(s) URL");
  const baseUrl = read(["KIMI_CODE_BASE_URL"], readHost, "is no http(s) URL");
  const chosen = read(["KIMI_CODER_REGION"], parseRegion, "is neither kimi.com nor kimi.ai");
  // Whoever mistypes it wanted not to pass for kimi-cli, so it must not mean the default.
  const identity = read(["KIMI_CODER_IDENTITY"], readIdentity, "is neither pi nor kimi-cli");
  const parallel = read(["KIMI_CODER_PARALLEL"], readCount, "is no whole number from 1 to 1000");
  const footer = read(["KIMI_CODER_FOOTER"], readSwitch, "is neither on nor off");

  const overrides = {
    ...(oauthHost === undefined ? {} : { oauthHost }),
    ...(baseUrl === undefined ? {} : { baseUrl }),
  };
  const regions = regionsInUse(table, overrides, chosen);
  const kimiCliHost = oauthHost ?? table["kimi.com"].oauthHost;
  if (!isFolder(home)) refusals.push("HOME names no folder that can be shown");
  function folder(name: string, fallback: string): string {
    const value = env[name];
    if (!value) return fallback;
    if (isFolder(value)) return expandHome(value, home);
    refusals.push(`${name} names no folder that can be shown`);
    return fallback;
  }
  const folders = {
    kimiShare: folder("KIMI_SHARE_DIR", join(home, ".kimi")),
    kimiCodeHome: folder("KIMI_CODE_HOME", join(home, ".kimi-code")),
    dataHome: folder("XDG_DATA_HOME", join(home, ".local", "share")),
    agentDir: folder("PI_CODING_AGENT_DIR", usualAgentDir(home)),
  };
  return {
    oauthHost: regions[0].oauthHost,
    baseUrl: regions[0].baseUrl,
    regions,
    asksRegion: chosen === undefined && regions.length > 1,
    kimiCliRegion: regions.find((region) => region.oauthHost === kimiCliHost)?.region,
    identity: identity ?? "kimi-cli",
    parallel,
    footer: footer ?? true,
    refusal:
      refusals.length === 0
        ? undefined
        : `Kimi Coder: ${refusals.join(" and ")}; correct or unset it and start pi again.`,
    ...folders,
    home,
  };
}

/** The names of files in it are shown: nothing may steer a terminal, and no system takes more than 4096 bytes. */
function isFolder(path: string): boolean {
  return path.length <= 4_096 && !/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(path);
}

function readIdentity(value: string): IdentityName | undefined {
  const name = value.toLowerCase();
  return name === "pi" || name === "kimi-cli" ? name : undefined;
}

function readCount(value: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(value) && Number(value) <= 1_000 ? Number(value) : undefined;
}

function readSwitch(value: string): boolean | undefined {
  switch (value.toLowerCase()) {
    case "on":
      return true;
    case "off":
      return false;
    default:
      return undefined;
  }
}

/** In characters. */
const LONGEST_HOST = 2_048;

/** A base URL without its trailing slashes; undefined for what is no http(s) URL, or carries more than host and path. */
function readHost(value: string): string | undefined {
  if (value.length > LONGEST_HOST || !URL.canParse(value)) return undefined;
  const { protocol, username, password, search, hash, origin, pathname } = new URL(value);
  const plain = username === "" && password === "" && search === "" && hash === "";
  return plain && (protocol === "https:" || protocol === "http:")
    ? `${origin}${pathname}`.replace(/\/+$/, "")
    : undefined;
}

/** As pi reads its own folder variables. */
export function expandHome(path: string, home: string): string {
  return path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : path;
}

export interface ConfiguredKey {
  readonly key: string;
  /** The variable, or the file that names it. */
  readonly source: string;
}

/**
 * The key a person configured by hand: the variable, else `apiKeys.KIMI_CODER_API_KEY` in pi's settings.json, also
 * after pi has moved it: its first start without an auth.json makes `apiKeys` entries of that, under their names.
 * Never throws; files that cannot be read are pi's to report.
 */
export function findConfiguredKey(env: Environment, agentDir: string): ConfiguredKey | undefined {
  const variable = usableKey(env[API_KEY_VARIABLE]);
  if (variable !== undefined) return { key: variable, source: API_KEY_VARIABLE };
  const places = [
    { source: join(agentDir, "settings.json"), path: ["apiKeys", API_KEY_VARIABLE] },
    { source: join(agentDir, "auth.json"), path: [API_KEY_VARIABLE, "key"] },
  ];
  for (const { source, path } of places) {
    const key = usableKey(member(readJsonSync(source), ...path));
    if (key !== undefined) return { key, source };
  }
  return undefined;
}

function member(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((at, key) => (isJsonObject(at) ? at[key] : undefined), value);
}

/** A key must fit into a header: printable ASCII. */
function usableKey(value: unknown): string | undefined {
  const key = typeof value === "string" ? value.trim() : "";
  return /^[\x21-\x7e]+$/.test(key) ? key : undefined;
}
