/** `/kimi doctor`: what could be wrong, and what to do about it. Nothing is renewed or written. */
import { realpathSync } from "node:fs";
import { arch, platform } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "../configuration.ts";
import { type DoctorParts, examine, type Probes } from "../doctor/doctor.ts";
import { lookAtFile } from "../doctor/files.ts";
import { lookAtFlock, lookAtFolderLock } from "../doctor/lock-holders.ts";
import type { NeighboursSeen } from "../doctor/neighbours.ts";
import { realNetwork } from "../doctor/network.ts";
import { usesProxies } from "../doctor/proxies.ts";
import { badChecks, reportJson, reportLines } from "../doctor/report.ts";
import type { Run } from "./kimi.ts";

export type DoctorCommandParts = Omit<DoctorParts, "commands" | "root" | "cwd" | "handKey"> & {
  readonly pi: Pick<ExtensionAPI, "getCommands">;
  readonly handKey: (ctx: ExtensionContext) => Promise<string | undefined>;
};

export function doctor({ pi, ...parts }: DoctorCommandParts): Run {
  return async ({ ctx, options, reply }) => {
    // Read before anything is waited for: the session may be replaced meanwhile.
    const { model, cwd } = ctx;
    const keyArgument = parts.keyArgument && model?.provider === PROVIDER;
    const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");
    const commands = extensionCommands(pi);
    const handKey = await parts.handKey(ctx);
    const given = { ...parts, keyArgument, handKey, commands, root: real(root), cwd };
    const report = await examine(given, realProbes());
    if (options.has("--json")) reply.json(reportJson(report));
    else reply.say(reportLines(report).join("\n"));
    if (badChecks(report).length > 0) reply.fail();
  };
}

function extensionCommands(pi: DoctorCommandParts["pi"]): NeighboursSeen["commands"] {
  return pi
    .getCommands()
    .filter(({ source }) => source === "extension")
    .map(({ name, sourceInfo }) => ({ name, path: real(sourceInfo.path) }));
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function realProbes(): Probes {
  return {
    ...realNetwork,
    look: lookAtFile,
    flock: (path) => lookAtFlock(path),
    folder: (path) => lookAtFolderLock(path, Date.now()),
    sleep: async (ms) => {
      await sleep(ms);
    },
    pid: process.pid,
    env: process.env,
    node: process.version,
    system: `${platform()} ${arch()}`,
    usesProxies: usesProxies(process.env, process.version),
  };
}
