/** Loads what answers a subcommand of `/kimi`, and gives it what it needs of the service. */
import { join } from "node:path";
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import { type Configuration, PROVIDER } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import type { Lazy } from "../lazy.ts";
import type { Service } from "../service.ts";
import type { Name, Run } from "./kimi.ts";

export interface CommandParts {
  readonly pi: ExtensionAPI;
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly authPath: string;
  readonly modelsPath: string;
  /** Whether pi was started with `--api-key`. */
  readonly keyArgument: boolean;
  readonly service: Lazy<Service>;
}

export async function loadSubcommand(name: Name, parts: CommandParts): Promise<Run> {
  const used = await parts.service.load();
  switch (name) {
    case "status": {
      const { status } = await import("./status.ts");
      return status({
        ...parts,
        look: used.credential.look,
        configuredKey: used.configuredKey,
        rotationsPath: used.rotationsPath,
        lastFigures: async () => (await used.usage.load()).last(),
        identity: used.identity,
        lastRequest: used.lastRequest,
        now: used.clock.now,
      });
    }
    case "usage": {
      const [{ usage }, { handKey }] = await Promise.all([
        import("./usage.ts"),
        import("../usage/hand-key.ts"),
      ]);
      return usage({
        usage: await used.usage.load(),
        handKey: (ctx) => handKey(ctx, parts.keyArgument, used.credential.look),
        clock: used.clock,
        columns: process.stdout.columns,
      });
    }
    case "doctor": {
      const { doctor } = await import("./doctor.ts");
      return doctor({
        ...parts,
        stores: used.stores.all,
        usagePath: join(parts.configuration.agentDir, `${PROVIDER}-usage.json`),
        configuredKey: used.configuredKey,
      });
    }
  }
}
