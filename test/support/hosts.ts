/** The pi hosts that the tests run, and how each one is started. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";

interface Host {
  /** The version, for test names. */
  readonly name: string;
  readonly version: string;
  /** The executable: a Node, or the program itself. */
  readonly program: string;
  /** What a Node is given first: the path of the command line that package.json's `bin` names. */
  readonly script: readonly string[];
}

export interface PiHost extends Host {
  /** Its npm package, for what lies in it; of the executable too. */
  readonly folder: string;
  /** The RPC event after which nothing more happens by itself; the older host has none for the end of its retries. */
  readonly settled: "agent_end" | "agent_settled";
}

/** This repository. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

const others = join(root, "test", "hosts", "node_modules");

/** The Node ≥ 22.19 that the newer host and kimi-code need. */
export const newerNode = join(others, "node", "bin", "node");

export const olderHost = piHost(
  process.execPath,
  join(root, "node_modules", "@mariozechner", "pi-coding-agent"),
  "agent_end",
);
export const newerHost = piHost(
  newerNode,
  join(others, "@earendil-works", "pi-coding-agent"),
  "agent_settled",
);

/** For `describe.each(hosts)("… on pi $name", (host) => …)`. */
export const hosts: readonly PiHost[] = [olderHost, newerHost];

/** pi's standalone executable; undefined where install-hosts.mjs could not build it, and said why. */
export const binaryHost = findBinary();

/** The hosts and, where it can run, the standalone executable. */
export const allHosts: readonly PiHost[] = binaryHost === undefined ? hosts : [...hosts, binaryHost];

/** The official client, for tests that share a login with it. */
export const kimiCode = host(newerNode, join(others, "@moonshot-ai", "kimi-code"), "kimi");

/** For a line of a shell script: starts the host; what it is given comes behind. */
export function shellCommand({ program, script }: Host): string {
  return [program, ...script].map((word) => `'${word}'`).join(" ");
}

function piHost(node: string, folder: string, settled: PiHost["settled"]): PiHost {
  return { ...host(node, folder, "pi"), folder, settled };
}

function host(node: string, folder: string, command: string): Host {
  const file = join(folder, "package.json");
  const { version, bin } = readObject(file);
  const script = isJsonObject(bin) ? bin[command] : bin;
  if (typeof version !== "string" || typeof script !== "string")
    throw new Error(`${file} names no ${command}`);
  return { name: version, version, program: node, script: [join(folder, script)] };
}

function findBinary(): PiHost | undefined {
  const program = join(root, "test", "hosts", "binary", "pi");
  if (!existsSync(program)) return undefined;
  const { version } = newerHost;
  return { ...newerHost, name: `${version} (executable)`, version, program, script: [] };
}

/** Throws on what is no JSON object. */
export function readObject(file: string): JsonObject {
  return parseObject(readFileSync(file, "utf8"), file);
}

/** Throws on what is no JSON object. */
export function parseObject(text: string, file: string): JsonObject {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new Error(`${file} is no object`);
  return value;
}
