/** The versions of pi that the sweep runs, installed from the npm registry into a cache folder of their own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { newerNode, type PiHost, readObject, root } from "../support/hosts.ts";
import { run } from "../support/processes.ts";

/** Swept unless others are named: the last that does not work, the oldest that does, and every line of README.md. */
export const usualVersions: readonly string[] = [
  "0.50.7",
  "0.51.0",
  "0.54.0",
  "0.58.4",
  "0.63.2",
  "0.70.6",
  "0.73.1",
  "0.74.0",
  "0.80.10",
  "0.84.4",
  "0.87.1",
  "1.5.2",
  "1.6.0",
];

export type Installation =
  | {
      readonly state: "installed";
      readonly host: PiHost;
      /** `tarball`: npm cannot find all that it depends on, but what is packed runs by itself. */
      readonly by: "npm" | "tarball";
    }
  /** `reason` is what npm says first. */
  | { readonly state: "not-installable"; readonly reason: string };

const cache = join(root, "node_modules", ".cache", "hosts");

/** Installs a version unless it is there already. */
export async function install(version: string): Promise<Installation> {
  const name = packageOf(version);
  const byNpm = join(cache, version);
  const unpacked = join(cache, `${version}.tarball`);
  if (!existsSync(byNpm) && !existsSync(unpacked)) {
    const reason = await make(byNpm, (folder) => installWithNpm(`${name}@${version}`, folder));
    if (reason !== undefined) {
      const also = await make(unpacked, (folder) => unpack(`${name}@${version}`, folder));
      if (also !== undefined) return { state: "not-installable", reason };
    }
  }
  return existsSync(byNpm)
    ? { state: "installed", by: "npm", host: hostIn(join(byNpm, "node_modules", name), version) }
    : { state: "installed", by: "tarball", host: hostIn(join(unpacked, "package"), version) };
}

/** Lets `work` fill a folder that appears whole or not at all; gives on what `work` says went wrong. */
async function make(
  folder: string,
  work: (unfinished: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const unfinished = `${folder}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  const problem = await work(unfinished);
  if (problem === undefined) renameSync(unfinished, folder);
  else rmSync(unfinished, { recursive: true, force: true });
  return problem;
}

function installWithNpm(specifier: string, folder: string): Promise<string | undefined> {
  writeFileSync(join(folder, "package.json"), '{"private":true}');
  const args = ["install", "--omit=dev", "--no-fund", "--no-audit", "--loglevel=error", specifier];
  return call("npm", args, folder);
}

async function unpack(specifier: string, folder: string): Promise<string | undefined> {
  const problem = await call("npm", ["pack", "--loglevel=error", specifier], folder);
  if (problem !== undefined) return problem;
  const [tarball = ""] = readdirSync(folder);
  return call("tar", ["-xzf", tarball], folder);
}

async function call(command: string, args: readonly string[], cwd: string): Promise<string | undefined> {
  const { PATH = "", HOME = "" } = process.env;
  const options = { cwd, env: { PATH, HOME }, timeoutMs: 600_000, traced: false };
  const { stderr, exitCode } = await run(command, args, options);
  if (exitCode === 0) return undefined;
  return /^npm error notarget (.+)$/m.exec(stderr)?.[1] ?? `${command} ended with ${exitCode}`;
}

function hostIn(folder: string, version: string): PiHost {
  const { bin, engines } = readObject(join(folder, "package.json"));
  const cli = isJsonObject(bin) ? bin.pi : undefined;
  if (typeof cli !== "string") throw new Error(`pi ${version} has no command pi`);
  const needed = isJsonObject(engines) ? String(engines.node) : "";
  const tellsEnd = readFileSync(join(folder, "docs", "rpc.md"), "utf8").includes("agent_settled");
  return {
    name: version,
    version,
    program: /\b2[2-9]\./.test(needed) ? newerNode : process.execPath,
    script: [join(folder, cli)],
    folder,
    settled: tellsEnd ? "agent_settled" : "agent_end",
  };
}

/** pi was renamed after 0.73. */
function packageOf(version: string): string {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major === 0 && minor < 74 ? "@mariozechner/pi-coding-agent" : "@earendil-works/pi-coding-agent";
}
