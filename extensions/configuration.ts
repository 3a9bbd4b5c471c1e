/**
 * What the environment and pi's settings say about this extension, parsed once: hosts, folders, identity, an API key.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, readJsonSync, readSmallFileSync } from "./lib/json.ts";
import { isTokenText } from "./lib/safe-text.ts";
import { parseRegion, REGIONS, type Region, type RegionsInUse, regionsInUse } from "./region.ts";

export const PROVIDER = "kimi-coder";
/** Selected after a login where no model is; it is always offered. */
export const FIRST_MODEL = "kimi-for-coding";
export const API_KEY_VARIABLE = "KIMI_CODER_API_KEY";

/** Public client id of Kimi's coding clients; every one of them uses it. */
export const CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098";

/** As whom requests are sent; see identity.ts. */
export type IdentityName = "kimi-cli" | "pi";

/** Kimi's own tools for the model; see tools/. */
export const TOOLS = ["search", "fetch"] as const;
export type Tool = (typeof TOOLS)[number];

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Configuration {
  /** The regions this process deals with; the first is that of API keys. */
  readonly regions: RegionsInUse;
  /** Whether a login has to ask for which of them it is. */
  readonly asksRegion: boolean;
  /** The region whose tokens kimi-cli has in this environment; undefined where it is none of `regions`. */
  readonly kimiCliRegion: Region | undefined;
  readonly identity: IdentityName;
  /** How many requests of the account may be under way at once; wins over what the plan says. */
  readonly parallel: number | undefined;
  /** The tools that are on, whatever was switched; undefined where the variable says nothing. */
  readonly tools: readonly Tool[] | undefined;
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
    /** pi's own. */
    auth: join(agentDir, "auth.json"),
    memory: join(agentDir, `${PROVIDER}.json`),
    models: join(agentDir, `${PROVIDER}-models.json`),
    usage: join(agentDir, `${PROVIDER}-usage.json`),
    /** What a person has chosen, for all projects or for one. */
    settings: join(agentDir, `${PROVIDER}-settings.json`),
  };
}

/**
 * Where the pi processes of a home take turns. They share its logins, whichever PI_CODING_AGENT_DIR each has, so it is
 * in none of pi's folders.
 */
export function requestsFolder(home: string): string {
  return join(home, ".local", "state", `${PROVIDER}-requests`);
}

/** Reads the variables that the official clients and pi use for these things. */
export function readConfiguration(env: Environment, home: string): Configuration {
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
  const oauthHost = read(["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST"], readOauthHost, "is not an http(s) URL");
  const baseUrl = read(["KIMI_CODE_BASE_URL"], readBaseUrl, "is not an http(s) URL");
  const chosen = read(["KIMI_CODER_REGION"], parseRegion, "is neither kimi.com nor kimi.ai");
  // A mistyped value must not mean the default: the user did not want to pass for kimi-cli.
  const identity = read(["KIMI_CODER_IDENTITY"], oneOf("pi", "kimi-cli"), "is neither pi nor kimi-cli");
  const parallel = read(["KIMI_CODER_PARALLEL"], readCount, "is not a whole number from 1 to 1000");
  const tools = read(["KIMI_CODER_TOOLS"], readTools, "is neither off nor a list of search and fetch");
  const footer = read(["KIMI_CODER_FOOTER"], oneOf("on", "off"), "is neither on nor off");
  read(
    [API_KEY_VARIABLE],
    (key) => isTokenText(key) || undefined,
    "has a character in it that keys do not have",
  );

  const regions = regionsInUse({ oauthHost, baseUrl }, chosen);
  const kimiCliHost = oauthHost ?? REGIONS["kimi.com"].oauthHost;
  if (!isFolder(home)) refusals.push("HOME has a control character in it or is too long");
  function folder(name: string, fallback: string): string {
    const value = env[name];
    if (!value) return fallback;
    if (isFolder(value)) return expandHome(value, home);
    refusals.push(`${name} has a control character in it or is too long`);
    return fallback;
  }
  const folders = {
    kimiShare: folder("KIMI_SHARE_DIR", join(home, ".kimi")),
    kimiCodeHome: folder("KIMI_CODE_HOME", join(home, ".kimi-code")),
    dataHome: folder("XDG_DATA_HOME", join(home, ".local", "share")),
    agentDir: folder("PI_CODING_AGENT_DIR", join(home, ".pi", "agent")),
  };
  return {
    regions,
    asksRegion: chosen === undefined && regions.length > 1,
    kimiCliRegion: regions.find((region) => region.oauthHost === kimiCliHost)?.region,
    identity: identity ?? "kimi-cli",
    parallel,
    tools,
    footer: footer !== "off",
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

function readCount(value: string): number | undefined {
  return /^[1-9]\d{0,3}$/.test(value) && Number(value) <= 1_000 ? Number(value) : undefined;
}

/** The word of `words` that was typed, in whatever case. */
function oneOf<T extends string>(...words: readonly T[]): (value: string) => T | undefined {
  return (value) => words.find((word) => word === value.toLowerCase());
}

function readTools(value: string): readonly Tool[] | undefined {
  if (value.toLowerCase() === "off") return [];
  const words = value.split(",").map((word) => word.trim().toLowerCase());
  return words.every((word) => TOOLS.some((tool) => tool === word))
    ? TOOLS.filter((tool) => words.includes(tool))
    : undefined;
}

/** In characters. */
const LONGEST_HOST = 2_048;

/** The authorization server; of one of its endpoints the part before that. */
function readOauthHost(value: string): string | undefined {
  return readHost(value)?.replace(/\/api\/oauth(?:\/\w+)?$/, "");
}

/**
 * The API. A whole endpoint of it means the API itself, and so does what stands in guides for other clients: Kimi's
 * host alone, or with `/coding`. Any other path is a proxy's own business.
 */
function readBaseUrl(value: string): string | undefined {
  const given = readHost(value)?.replace(/\/(?:chat\/completions|messages|models|usages)$/, "");
  if (given === undefined) return undefined;
  const kimis = Object.values(REGIONS).some(({ baseUrl }) => new URL(baseUrl).origin === given);
  return kimis ? `${given}/coding/v1` : given.replace(/\/coding$/, "/coding/v1");
}

/** A base URL without its trailing slashes; undefined for what is not an http(s) URL, or carries more than host and path. */
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
 * after pi has moved it: its first start without an auth.json makes `apiKeys` entries of that, under their names. A
 * malformed key is returned as well: the caller refuses it, where another key or a login would be used unasked. Never
 * throws; files that cannot be read are pi's to report.
 */
export function findConfiguredKey(env: Environment, agentDir: string): ConfiguredKey | undefined {
  const variable = env[API_KEY_VARIABLE]?.trim();
  if (variable) return { key: variable, source: API_KEY_VARIABLE };
  const places = [
    { source: join(agentDir, "settings.json"), path: ["apiKeys", API_KEY_VARIABLE] },
    { source: join(agentDir, "auth.json"), path: [API_KEY_VARIABLE, "key"] },
  ];
  for (const { source, path } of places) {
    const value = member(readJsonSync(source), ...path);
    const key = typeof value === "string" ? value.trim() : "";
    if (key !== "") return { key, source };
  }
  return undefined;
}

/**
 * Whether there seems to be a login or a key: an entry of ours in pi's auth.json; or, before there ever was one, a folder
 * in which kimi-cli or kimi-code keeps logins. Reads small files; never throws.
 */
export function seemsLoggedIn({ agentDir, kimiShare, kimiCodeHome }: Configuration): boolean {
  const { auth, memory } = ownFiles(agentDir);
  if (member(readJsonSync(auth), PROVIDER) !== undefined) return true;
  return (
    !existsSync(memory) && [kimiShare, kimiCodeHome].some((folder) => existsSync(join(folder, "credentials")))
  );
}

/** Whether pi's models.json may say something of our provider. Reads one small file; never throws. */
export function isInModelsJson(agentDir: string): boolean {
  const file = readSmallFileSync(join(agentDir, "models.json"));
  return file.state === "read" ? file.text.includes(PROVIDER) : file.state !== "absent";
}

export type Switch =
  | "off"
  /** Unless another tool does the same. */
  | "on"
  /** Also beside one that does the same. */
  | "always";

export interface ToolSwitch {
  readonly is: Switch;
  /** Source of the setting; "nobody": there is none, and the default (off) applies. */
  readonly by: "variable" | "project" | "global" | "nobody";
}

export type ToolSwitches = Readonly<Record<Tool, ToolSwitch>>;

/**
 * Which of Kimi's tools are switched on in the project `cwd`: the variable wins, then the project's entry in our
 * settings, then that for all. Reads one small file; never throws.
 */
export function readToolSwitches({ tools, agentDir }: Configuration, cwd: string): ToolSwitches {
  const settings = tools ? undefined : readJsonSync(ownFiles(agentDir).settings);
  const find = (tool: Tool): ToolSwitch => {
    if (tools) return { is: tools.includes(tool) ? "always" : "off", by: "variable" };
    const project = readToolSwitch(member(settings, "projects", cwd, "tools", tool));
    if (project) return { is: project, by: "project" };
    const global = readToolSwitch(member(settings, "tools", tool));
    return global ? { is: global, by: "global" } : { is: "off", by: "nobody" };
  };
  return { search: find("search"), fetch: find("fetch") };
}

function readToolSwitch(value: unknown): Switch | undefined {
  return value === "off" || value === "on" || value === "always" ? value : undefined;
}

function member(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((at, key) => (isJsonObject(at) ? at[key] : undefined), value);
}

export const NOBODY_THERE =
  "Kimi Coder: start pi in a terminal and type /login kimi-coder there; a login needs a person.";
const DRIVEN =
  "Kimi Coder: a login needs a person, and this pi is driven through its status file; start pi in a terminal without KIMI_CODER_STATUS_FILE and CAO_TERMINAL_ID and type /login kimi-coder there.";

/** Whether a program reads this process's state from a file; see worker/. */
export function asksForStatus(env: Environment): boolean {
  return Boolean(env.KIMI_CODER_STATUS_FILE?.trim() || env.CAO_TERMINAL_ID?.trim());
}

/** Whether pi was started with `--api-key`. */
export function hasKeyArgument(arguments_: readonly string[]): boolean {
  return arguments_.includes("--api-key");
}

/** Whether pi was started so that it chooses no model: it was told which to take, or only lists them. */
export function choosesNoModel(arguments_: readonly string[]): boolean {
  return ["--provider", "--model", "--list-models"].some((option) => arguments_.includes(option));
}

/** What follows `--mode`: text, json or rpc; undefined where pi was started without it. */
export function modeArgument(arguments_: readonly string[]): string | undefined {
  return arguments_.find((_word, index) => arguments_[index - 1] === "--mode");
}

/**
 * The refusal to log in where no person can: a program reads the status file, or pi has no screen. Else undefined.
 * `isTerminal`: whether stdin and stdout are one; without it pi prints, also where it was not told to.
 */
export function loginRefusal(
  env: Environment,
  arguments_: readonly string[],
  isTerminal: boolean,
): string | undefined {
  if (asksForStatus(env)) return DRIVEN;
  const prints = !isTerminal || arguments_.includes("-p") || arguments_.includes("--print");
  const mode = modeArgument(arguments_);
  return prints || mode === "json" || mode === "rpc" ? NOBODY_THERE : undefined;
}

/**
 * The number of requests at once that the plan of the account with this id allows; undefined where it is not known. It is
 * kept in `path` beside the last figures of the quota, so that a request loads nothing that reads those. Reads one small
 * file; never throws.
 */
export function keptLimit(path: string, account: string): number | undefined {
  const kept = readJsonSync(path);
  if (!isJsonObject(kept) || kept.account !== account) return undefined;
  const { parallelLimit } = kept;
  return typeof parallelLimit === "number" && Number.isInteger(parallelLimit) && parallelLimit > 0
    ? parallelLimit
    : undefined;
}

/** Compares the numbers of a version, `1.6.0` or `v24.1.0-rc.1` without its `v`; what cannot be read counts as old. */
export function isAtLeast(version: string, wanted: readonly number[]): boolean {
  const numbers = version.split(/[.\-+]/).map(Number);
  for (const [index, want] of wanted.entries()) {
    const have = numbers[index] ?? 0;
    if (Number.isNaN(have) || have < want) return false;
    if (have > want) return true;
  }
  return true;
}
