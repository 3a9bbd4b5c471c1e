/** `/kimi doctor`: what could be wrong, and what to do about it. Nothing is renewed, written or locked. */
import { realpathSync } from "node:fs";
import { arch, platform } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import { type Configuration, ownFiles } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import type { Run } from "../reply.ts";
import type { Runtime } from "../runtime.ts";
import { type FileProbes, fileChecks, lookAtFile } from "./files.ts";
import { canFlock, type LockProbes, lockChecks, lookAtFlock, lookAtFolderLock } from "./locks.ts";
import { type LoginParts, loginChecks, lookAtLogins } from "./logins.ts";
import { displayPaths } from "./names.ts";
import { goesByProxies, type NetworkProbes, networkChecks } from "./network.ts";
import { planChecks } from "./plan.ts";
import { type ProgramParts, programChecks } from "./program.ts";
import { badChecks, makeChecks, type Report, reportJson, reportLines } from "./report.ts";

export interface DoctorParts extends ProgramParts, LoginParts {
  readonly configuration: Configuration;
}

/** What is looked at, so that tests can make it fail. */
export interface Probes extends FileProbes, LockProbes, NetworkProbes {
  /** `process.versions`, and "linux x64". */
  readonly runtime: NodeJS.Dict<string>;
  readonly system: string;
}

export interface DoctorCommandParts {
  readonly pi: Pick<ExtensionAPI, "getCommands">;
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly runtime: Pick<Runtime, "caller">;
}

export function doctor({ pi, configuration, versions, runtime }: DoctorCommandParts): Run {
  return async ({ ctx, options, reply }) => {
    // Read before anything is waited for: the session may be replaced meanwhile.
    const { model, modelRegistry, cwd } = ctx;
    const root = real(fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, ""));
    const commands = pi
      .getCommands()
      .filter(({ source }) => source === "extension")
      .map(({ name, sourceInfo }) => ({ name, path: real(sourceInfo.path) }));
    const { caller } = runtime;
    const session = { model, modelRegistry };
    const parts = { configuration, versions, caller, session, commands, root, cwd };
    const report = await examine(parts, realProbes());
    if (options.has("--json")) reply.json(reportJson(report));
    else reply.say(reportLines(report, options.has("--all")));
    if (badChecks(report).length > 0) reply.fail();
  };
}

/** Makes all checks beside one another. */
export async function examine(parts: DoctorParts, probes: Probes): Promise<Report> {
  const { configuration, versions } = parts;
  const { auth, models, usage } = ownFiles(configuration.agentDir);
  const { runtime, system } = probes;
  const displayPath = displayPaths(configuration);
  const logins = await lookAtLogins(parts, probes.now());
  const { account, now } = logins;
  const stores = logins.looks.map(({ store }) => store);
  const groups = await makeChecks({
    program: programChecks(parts, runtime, displayPath),
    logins: loginChecks(logins, displayPath),
    files: fileChecks({ stores, authPath: auth, configuration }, probes, displayPath),
    locks: lockChecks(stores, auth, probes, displayPath),
    network: networkChecks(configuration, account, probes),
    plan: planChecks({ models, usage }, account, now),
  });
  const { bun, node } = runtime;
  return {
    about: { ...versions, runtime: bun === undefined ? `Node ${node}` : `Bun ${bun}`, system },
    groups,
  };
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function realProbes(): Probes {
  const { env, pid, versions } = process;
  return {
    look: lookAtFile,
    flock: lookAtFlock,
    folder: (path) => lookAtFolderLock(path, Date.now()),
    canFlock,
    sleep,
    pid,
    env,
    runtime: versions,
    system: `${platform()} ${arch()}`,
    fetch: (input, init) => fetch(input, init),
    now: Date.now,
    usesProxies: goesByProxies(env, versions),
  };
}
