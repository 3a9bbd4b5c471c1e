/** The pi hosts that the tests run: where each one's Node and command line are. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isJsonObject, type JsonObject } from "../../extensions/oauth/json-object.ts";

export interface Host {
  /** The version, for test names. */
  readonly name: string;
  readonly version: string;
  /** The Node that runs it. */
  readonly node: string;
  /** Its command line, as package.json's `bin` names it. */
  readonly cli: string;
}

export interface PiHost extends Host {
  /** The RPC event after which nothing more happens by itself; the older host has none for the end of its retries. */
  readonly settled: "agent_end" | "agent_settled";
}

/** This repository. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

const others = join(root, "test", "hosts", "node_modules");

/** The Node ≥ 22.19 that the newer host and kimi-code need. */
export const newerNode = join(others, "node", "bin", "node");

export const olderHost: PiHost = {
  ...host(process.execPath, join(root, "node_modules", "@mariozechner", "pi-coding-agent"), "pi"),
  settled: "agent_end",
};
export const newerHost: PiHost = {
  ...host(newerNode, join(others, "@earendil-works", "pi-coding-agent"), "pi"),
  settled: "agent_settled",
};

/** For `describe.each(hosts)("… on pi $name", (host) => …)`. */
export const hosts: readonly PiHost[] = [olderHost, newerHost];

/** The official client, for tests that share a login with it. */
export const kimiCode = host(newerNode, join(others, "@moonshot-ai", "kimi-code"), "kimi");

function host(node: string, folder: string, command: string): Host {
  const file = join(folder, "package.json");
  const { version, bin } = readObject(file);
  const script = isJsonObject(bin) ? bin[command] : bin;
  if (typeof version !== "string" || typeof script !== "string")
    throw new Error(`${file} names no ${command}`);
  return { name: version, version, node, cli: join(folder, script) };
}

function readObject(file: string): JsonObject {
  const value: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (!isJsonObject(value)) throw new Error(`${file} is no object`);
  return value;
}
