/** `/kimi doctor`: what could be wrong, and what to do about it. Nothing is renewed, written or locked. */
import { arch, platform } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Configuration, ownFiles } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import type { Run } from "../reply.ts";
import type { Runtime } from "../runtime.ts";
import { fileChecks, lookAtFile } from "./files.ts";
import { canFlock, type LockProbes, lockChecks } from "./locks.ts";
import { type LoginParts, loginChecks, lookAtLogins } from "./logins.ts";
import { displayPaths } from "./names.ts";
import { type NetworkProbes, networkChecks } from "./network.ts";
import { planChecks } from "./plan.ts";
import { type ProgramParts, programChecks } from "./program.ts";
import { badChecks, makeChecks, type Report, reportJson, reportLines } from "./report.ts";

export interface DoctorParts extends ProgramParts, LoginParts {
  readonly configuration: Configuration;
}

/** What is looked at, so that tests can make it fail. */
export interface Probes extends LockProbes, NetworkProbes {
  /** `process.versions`, and "linux x64". */
  readonly runtime: NodeJS.Dict<string>;
  readonly system: string;
}

export interface DoctorCommandParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly runtime: Pick<Runtime, "caller">;
}

export function doctor({ configuration, versions, runtime: { caller } }: DoctorCommandParts): Run {
  return async ({ ctx: { model, modelRegistry, cwd }, options, reply }) => {
    const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");
    const session = { model, modelRegistry };
    const report = await examine({ configuration, versions, caller, session, root, cwd }, realProbes());
    if (options.has("--json")) reply.json(reportJson(report));
    else reply.say(reportLines(report, options.has("--all")));
    if (badChecks(report).length > 0) reply.fail();
  };
}

/** Makes all checks beside one another. */
export async function examine(parts: DoctorParts, probes: Probes): Promise<Report> {
  const { configuration, versions } = parts;
  const { auth, usage } = ownFiles(configuration.agentDir);
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
    plan: planChecks(usage, account, now),
  });
  const { bun, node = "" } = runtime;
  const names = bun === undefined ? { node, runtime: `Node ${node}` } : { node: null, runtime: `Bun ${bun}` };
  const { extension, pi } = versions;
  return { about: { extension, pi, ...names, system }, groups };
}

function realProbes(): Probes {
  return {
    look: lookAtFile,
    proc: "/proc",
    canFlock,
    sleep,
    env: process.env,
    runtime: process.versions,
    system: `${platform()} ${arch()}`,
    fetch: (input, init) => fetch(input, init),
    now: Date.now,
  };
}
