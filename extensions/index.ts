/**
 * Composition root. At pi's start it registers what pi must know by then, and nothing more: no network, no waiting, and
 * few modules. The rest is loaded at its first use.
 */
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ExtensionAPI, VERSION } from "@mariozechner/pi-coding-agent";
import { createBackgroundRefresh } from "./background-refresh.ts";
import { offerKimi } from "./commands/kimi.ts";
import { offerLogin } from "./commands/login.ts";
import { offerThinking } from "./commands/thinking.ts";
import { findConfiguredKey, PROVIDER, readConfiguration } from "./configuration.ts";
import { createEntryTokens } from "./entry-tokens.ts";
import { lazy } from "./lazy.ts";
import { readKeptList, readMirroredAccount } from "./models/cache.ts";
import { piModels } from "./models/pi-models.ts";
import type { ServerModel } from "./models/server-list.ts";
import { kimiCoder } from "./provider.ts";
import { hostsOf, USUAL_REGION } from "./region.ts";
import { followSessions } from "./session.ts";

const { version } = createRequire(import.meta.url)("../package.json");

export default function (pi: ExtensionAPI): void {
  const configuration = readConfiguration(process.env, homedir());
  const { agentDir, regions } = configuration;
  const versions = { extension: version, pi: VERSION };
  const authPath = join(agentDir, "auth.json");
  const modelsPath = join(agentDir, `${PROVIDER}-models.json`);

  const account = readMirroredAccount(authPath, PROVIDER);
  const { baseUrl } = account ? hostsOf(regions, account.region ?? USUAL_REGION) : regions[0];
  const registered = readKeptList(modelsPath, baseUrl, account)?.models ?? [];

  const entryTokens = createEntryTokens();
  const service = lazy(async () => {
    const { createService } = await import("./service.ts");
    return createService({
      configuration,
      versions,
      authPath,
      registered,
      modelsPath,
      isFromEntry: entryTokens.has,
      mirrored: session.mirrored,
      warn: session.warn,
      warnUnwatched: session.warnUnwatched,
      openSession: session.id,
      offerModels(models) {
        try {
          offer(models);
        } catch {
          // The session was replaced meanwhile; its successor has read the new list from the file.
        }
      },
    });
  });

  const keyArgument = process.argv.some((argument) => /^--api-key(=|$)/.test(argument));
  const expiresAt = () => service.loaded()?.credential.expiresAt();
  const session = followSessions(pi, {
    configuration,
    service,
    refresh: createBackgroundRefresh(() => session.check(), expiresAt, Date.now),
    hasKey: () => findConfiguredKey(process.env, agentDir) !== undefined,
    keyArgument,
  });

  const offer = (models: readonly ServerModel[]) => {
    const { note: noteFromEntry } = entryTokens;
    const provider = kimiCoder({ configuration, models: piModels(models), service, noteFromEntry });
    pi.registerProvider(PROVIDER, provider);
  };
  offer(registered);

  offerLogin(pi, service);
  offerThinking(pi, VERSION);
  offerKimi(pi, [
    {
      name: "status",
      description: "The login in use, and what was really sent",
      options: [],
      load: async () => {
        const [{ status }, { credential, configuredKey, identity, lastRequest, clock }] = await Promise.all([
          import("./commands/status.ts"),
          service.load(),
        ]);
        const { look } = credential;
        const { now } = clock;
        return status({
          versions,
          configuration,
          look,
          configuredKey,
          keyArgument,
          authPath,
          identity,
          lastRequest,
          now,
        });
      },
    },
  ]);
}
