/** Composition root: builds the real clock, fetch and folders, and registers. No logic, no waiting, no network. */
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ExtensionAPI, VERSION } from "@mariozechner/pi-coding-agent";
import { createBackgroundRefresh } from "./background-refresh.ts";
import { CLIENT_ID, findConfiguredKey, PROVIDER, readConfiguration } from "./configuration.ts";
import { piAuth } from "./credentials/pi-auth.ts";
import { createSharedCredential } from "./credentials/shared-credential.ts";
import { createIdentity } from "./identity.ts";
import { offerKimi } from "./kimi-command.ts";
import { createLastRequest } from "./last-request.ts";
import { offerLogin } from "./login-command.ts";
import { readMirroredAccount } from "./models/cache.ts";
import { createCatalogue } from "./models/catalogue.ts";
import { fetchModels } from "./models/fetch.ts";
import { systemClock } from "./oauth/clock.ts";
import { refresh } from "./oauth/token-endpoint.ts";
import { kimiCoder } from "./provider.ts";
import { hostsOf, type Region, USUAL_REGION } from "./region.ts";
import { regionQuestion } from "./region-choice.ts";
import { followSessions } from "./session.ts";
import { statusCommand } from "./status-command.ts";
import { createStores } from "./stores.ts";
import { offerThinking } from "./thinking-command.ts";

const { version } = createRequire(import.meta.url)("../package.json");

/** A token call may take this long before its answer counts as lost, ms. */
const TOKEN_TIMEOUT = 15_000;
/** Nobody waits for the list of models, ms. */
const MODELS_TIMEOUT = 20_000;

export default function (pi: ExtensionAPI): void {
  const clock = systemClock;
  const { now } = clock;
  const configuration = readConfiguration(process.env, homedir());
  const { kimiShare, kimiCodeHome, agentDir, regions } = configuration;
  const versions = { extension: version, pi: VERSION };
  const identity = createIdentity(kimiShare, versions, configuration.identity);
  const server = (region: Region) => ({
    host: hostsOf(regions, region).oauthHost,
    clientId: CLIENT_ID,
    fetch,
    identity: () => identity(true),
  });
  const configuredKey = () => findConfiguredKey(process.env, agentDir);

  const stores = createStores(configuration);
  const question = regionQuestion(configuration, join(kimiCodeHome, "region"));
  const authPath = join(agentDir, "auth.json");
  const credential = createSharedCredential({
    stores: stores.all,
    loginStore: stores.forLogin(question.usual),
    piAuth: piAuth({ path: authPath }),
    memoryPath: join(agentDir, `${PROVIDER}.json`),
    refresh: (refreshToken, { region }) => refresh(server(region), refreshToken, now, TOKEN_TIMEOUT),
    clock,
    listener: (event) => session.hear(event),
  });

  const catalogue = createCatalogue({
    path: join(agentDir, `${PROVIDER}-models.json`),
    baseUrl: (account) => (account ? hostsOf(regions, account.region ?? USUAL_REGION) : regions[0]).baseUrl,
    account: readMirroredAccount(authPath, PROVIDER),
    ask: (baseUrl, accessToken, signal) =>
      fetchModels({ baseUrl, fetch, timeout: MODELS_TIMEOUT }, accessToken, signal),
    clock,
  });

  const lastRequest = createLastRequest();
  const keyArgument = process.argv.some((argument) => /^--api-key(=|$)/.test(argument));
  const backgroundRefresh = createBackgroundRefresh(() => session.check(), credential.expiresAt, now);
  const session = followSessions(pi, {
    configuration,
    credential,
    catalogue,
    refresh: backgroundRefresh,
    hasKey: () => configuredKey() !== undefined,
    keyArgument,
    authPath,
  });
  pi.registerProvider(
    PROVIDER,
    kimiCoder({
      configuration,
      credential,
      loginStore: stores.forLogin,
      server,
      question,
      clock,
      configuredKey: () => configuredKey()?.key,
      identity,
      catalogue,
      lastRequest,
      openSession: session.id,
      warnUnwatched: session.warnUnwatched,
      register: (provider) => {
        try {
          pi.registerProvider(PROVIDER, provider);
        } catch {
          // The session was replaced meanwhile; its successor has read the new list from the file.
        }
      },
    }),
  );
  offerLogin(pi, question, (region) => stores.forLogin(region).owner);
  offerThinking(pi, VERSION);
  offerKimi(pi, [
    statusCommand({
      versions,
      configuration,
      look: credential.look,
      configuredKey,
      keyArgument,
      authPath,
      identity,
      lastRequest,
      now,
    }),
  ]);
}
