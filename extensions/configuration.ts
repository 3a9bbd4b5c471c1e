/**
 * What the environment and pi's settings say about this extension, parsed once: hosts, folders, an API key.
 */
import { join } from "node:path";
import { readSmallFileSync } from "./credentials/file.ts";
import { isJsonObject } from "./oauth/http.ts";

export const PROVIDER = "kimi-coder";
export const API_KEY_VARIABLE = "KIMI_CODER_API_KEY";

/** Public client id of Kimi's coding clients; every one of them uses it. */
export const CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098";

const DEFAULT_OAUTH_HOST = "https://auth.kimi.com";
const DEFAULT_BASE_URL = "https://api.kimi.com/coding/v1";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Configuration {
  /** Authorization server, without a trailing slash. */
  readonly oauthHost: string;
  /** API, without a trailing slash. */
  readonly baseUrl: string;
  /** One sentence that says which variable is no URL; nothing may be sent anywhere while it is set. */
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

/** Reads the variables that the official clients and pi use for these things. */
export function readConfiguration(env: Environment, home: string): Configuration {
  const refusals: string[] = [];
  const url = (names: readonly string[], fallback: string): string => {
    const name = names.find((candidate) => env[candidate]?.trim());
    const value = name === undefined ? undefined : env[name]?.trim();
    if (value === undefined) return fallback;
    const parsed = readHost(value);
    if (parsed === undefined) refusals.push(`${name} is no http(s) URL`);
    return parsed ?? fallback;
  };
  const oauthHost = url(["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST"], DEFAULT_OAUTH_HOST);
  const baseUrl = url(["KIMI_CODE_BASE_URL"], DEFAULT_BASE_URL);
  const folder = (name: string, fallback: string) => expandHome(env[name] || fallback, home);
  return {
    oauthHost,
    baseUrl,
    refusal:
      refusals.length === 0
        ? undefined
        : `Kimi Coder: ${refusals.join(" and ")}; correct or unset it and start pi again.`,
    kimiShare: folder("KIMI_SHARE_DIR", join(home, ".kimi")),
    kimiCodeHome: folder("KIMI_CODE_HOME", join(home, ".kimi-code")),
    dataHome: folder("XDG_DATA_HOME", join(home, ".local", "share")),
    home,
    agentDir: folder("PI_CODING_AGENT_DIR", join(home, ".pi", "agent")),
  };
}

/** A base URL without its trailing slashes; undefined for what is no http(s) URL, or carries more than host and path. */
function readHost(value: string): string | undefined {
  if (!URL.canParse(value)) return undefined;
  const { protocol, username, password, search, hash, origin, pathname } = new URL(value);
  const plain = username === "" && password === "" && search === "" && hash === "";
  return plain && (protocol === "https:" || protocol === "http:")
    ? `${origin}${pathname}`.replace(/\/+$/, "")
    : undefined;
}

/** As pi reads its own folder variables. */
function expandHome(path: string, home: string): string {
  return path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : path;
}

/**
 * The key a person configured by hand: the variable, else `apiKeys.KIMI_CODER_API_KEY` in pi's settings.json, also
 * after pi has moved it: its first start without an auth.json makes `apiKeys` entries of that, under their names.
 * Never throws; files that cannot be read are pi's to report.
 */
export function readConfiguredKey(env: Environment, agentDir: string): string | undefined {
  return (
    usableKey(env[API_KEY_VARIABLE]) ??
    usableKey(member(readObject(join(agentDir, "settings.json")), "apiKeys", API_KEY_VARIABLE)) ??
    usableKey(member(readObject(join(agentDir, "auth.json")), API_KEY_VARIABLE, "key"))
  );
}

function readObject(path: string): unknown {
  const file = readSmallFileSync(path);
  if (file.state !== "read") return undefined;
  try {
    return JSON.parse(file.text);
  } catch {
    return undefined;
  }
}

function member(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((at, key) => (isJsonObject(at) ? at[key] : undefined), value);
}

/** A key must fit into a header: printable ASCII. */
function usableKey(value: unknown): string | undefined {
  const key = typeof value === "string" ? value.trim() : "";
  return /^[\x21-\x7e]+$/.test(key) ? key : undefined;
}
