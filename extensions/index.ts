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
import type { Waiting } from "./concurrency/guard.ts";
import { findConfiguredKey, ownFiles, PROVIDER, readConfiguration } from "./configuration.ts";
import { createEntryTokens } from "./entry-tokens.ts";
import { lazy } from "./lazy.ts";
import { readKeptList, readMirroredAccount } from "./models/cache.ts";
import { piModels } from "./models/pi-models.ts";
import type { ServerModel } from "./models/server-list.ts";
import { kimiCoder } from "./provider.ts";
import { followQuota } from "./quota-footer.ts";
import { hostsOf, USUAL_REGION } from "./region.ts";
import { followSessions } from "./session.ts";
import type { StatusFile } from "./status-file/follow.ts";
import { asksForStatus, loginRefusal } from "./unattended.ts";

const { version } = createRequire(import.meta.url)("../package.json");

export default function (pi: ExtensionAPI): void | Promise<void> {
  const configuration = readConfiguration(process.env, homedir());
  const { agentDir, regions } = configuration;
  const versions = { extension: version, pi: VERSION };
  const authPath = join(agentDir, "auth.json");
  const { models: modelsPath } = ownFiles(agentDir);

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
      noteFailure: (sentence, why) => statusFile?.noteFailure(sentence, why),
      waiting: (what) => showWaiting(what).catch(() => {}),
      openSession: session.id,
      besideLogin: (verification) => loginCommand.beside(verification),
      offerModels(models) {
        try {
          offer(models);
        } catch {
          // The session was replaced meanwhile; its successor has read the new list from the file.
        }
      },
    });
  });

  /** In the order in which it is told, which loading could change. */
  let told: Waiting | undefined;
  async function showWaiting(what: Waiting | undefined): Promise<void> {
    told = what;
    const note = what && (await import("./concurrency/words.ts")).sayWaiting(what, Date.now());
    if (told !== what) return;
    session.waiting(note);
    statusFile?.waiting(note);
  }

  const noLogin = loginRefusal(process.env, process.argv);
  let statusFile: StatusFile | undefined;
  const keyArgument = process.argv.some((argument) => /^--api-key(=|$)/.test(argument));
  const expiresAt = () => service.loaded()?.credential.expiresAt();
  const session = followSessions(pi, {
    configuration,
    service,
    refresh: createBackgroundRefresh(() => session.check(), expiresAt, Date.now),
    hasKey: () => findConfiguredKey(process.env, agentDir) !== undefined,
    keyArgument,
  });

  const quotaFooter = lazy(async () => {
    const [{ loadFooter }, used] = await Promise.all([import("./usage/load.ts"), service.load()]);
    return loadFooter(await used.usage.load(), used, keyArgument);
  });
  followQuota(pi, quotaFooter, configuration.footer);

  const offer = (models: readonly ServerModel[]) => {
    const { note: noteFromEntry } = entryTokens;
    const provider = kimiCoder({
      configuration,
      models: piModels(models),
      service,
      loginRefusal: noLogin,
      noteFromEntry,
    });
    pi.registerProvider(PROVIDER, provider);
  };
  offer(registered);

  const loginPlaces = lazy(async () => {
    const { logins, stores } = await service.load();
    const { question } = await logins.load();
    return { question, stores };
  });
  const loginCommand = offerLogin(pi, loginPlaces, noLogin);
  offerThinking(pi, VERSION);
  offerKimi(pi, async (name) => {
    const { loadSubcommand } = await import("./commands/load.ts");
    const parts = { pi, configuration, versions, authPath, modelsPath, keyArgument, service };
    return loadSubcommand(name, parts);
  });
  if (!asksForStatus(process.env)) return;
  // pi waits for it, so that no event is missed; what a missing file means is said by the first request.
  const { home } = configuration;
  const surroundings = { home, cwd: process.cwd(), agentDir };
  return import("./status-file/offer.ts")
    .then(({ offerStatusFile }) => {
      statusFile = offerStatusFile(pi, process.env, surroundings, VERSION);
    })
    .catch(() => {});
}
