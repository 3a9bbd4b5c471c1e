/** Loads what answers a subcommand of `/kimi`, and gives it what it needs of the service. */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { type Configuration, ownFiles } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import type { Lazy } from "../lazy.ts";
import type { Service } from "../service.ts";
import { handKey as findHandKey } from "../usage/hand-key.ts";
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
  const { configuration, keyArgument } = parts;
  const handKey = (ctx: ExtensionContext) => findHandKey(ctx, keyArgument, used.credential.look);
  switch (name) {
    case "status": {
      const { status } = await import("./status.ts");
      return status({
        ...parts,
        look: used.credential.look,
        configuredKey: used.configuredKey,
        handKey,
        rotationsPath: ownFiles(configuration.agentDir).renewals,
        lastFigures: async (key) => (await used.usage.load()).last(key),
        identity: used.identity,
        lastRequest: used.lastRequest,
        now: used.clock.now,
      });
    }
    case "usage": {
      const { usage } = await import("./usage.ts");
      return usage({
        usage: await used.usage.load(),
        handKey,
        clock: used.clock,
        columns: process.stdout.columns,
      });
    }
    case "doctor": {
      const { doctor } = await import("./doctor.ts");
      return doctor({
        ...parts,
        stores: used.stores.all,
        configuredKey: used.configuredKey,
        handKey,
      });
    }
  }
}
