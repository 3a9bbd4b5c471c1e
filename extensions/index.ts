/** Composition root: builds the real clock, fetch and folders, and registers. No logic, no waiting, no network. */
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ExtensionAPI, VERSION } from "@mariozechner/pi-coding-agent";
import { createBackgroundRefresh } from "./background-refresh.ts";
import { CLIENT_ID, PROVIDER, readConfiguration, readConfiguredKey } from "./configuration.ts";
import { kimiCliStore } from "./credentials/kimi-cli.ts";
import { kimiCodeStore } from "./credentials/kimi-code.ts";
import { opencodeKimiAuthStore } from "./credentials/opencode-kimi-auth.ts";
import { opencodeKimiFullStore } from "./credentials/opencode-kimi-full.ts";
import { piAuth } from "./credentials/pi-auth.ts";
import { createSharedCredential } from "./credentials/shared-credential.ts";
import { createIdentity } from "./identity.ts";
import { offerLogin } from "./login-command.ts";
import { readMirroredAccount } from "./models/cache.ts";
import { createCatalogue } from "./models/catalogue.ts";
import { fetchModels } from "./models/fetch.ts";
import { systemClock } from "./oauth/clock.ts";
import { refresh } from "./oauth/token-endpoint.ts";
import { kimiCoder } from "./provider.ts";
import { followSessions } from "./session.ts";
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
  const { kimiShare, kimiCodeHome, dataHome, home, agentDir, oauthHost, baseUrl } = configuration;
  const identity = createIdentity(kimiShare, { extension: version, pi: VERSION });
  const server = { host: oauthHost, clientId: CLIENT_ID, fetch, identity: () => identity(true) };
  const configuredKey = () => readConfiguredKey(process.env, agentDir);

  const loginStore = kimiCliStore({ share: kimiShare });
  const authPath = join(agentDir, "auth.json");
  const credential = createSharedCredential({
    stores: [
      loginStore,
      kimiCodeStore({ home: kimiCodeHome, oauthHost, baseUrl }),
      opencodeKimiFullStore({ data: dataHome }),
      opencodeKimiAuthStore({ folder: join(home, ".opencode-kimi-auth") }),
    ],
    loginStore,
    piAuth: piAuth({ path: authPath }),
    memoryPath: join(agentDir, `${PROVIDER}.json`),
    refresh: (refreshToken) => refresh(server, refreshToken, now, TOKEN_TIMEOUT),
    clock,
    listener: (event) => session.hear(event),
  });

  const catalogue = createCatalogue({
    path: join(agentDir, `${PROVIDER}-models.json`),
    baseUrl,
    account: readMirroredAccount(authPath, PROVIDER),
    ask: (accessToken, signal) =>
      fetchModels({ baseUrl, fetch, timeout: MODELS_TIMEOUT }, accessToken, signal),
    clock,
  });

  const backgroundRefresh = createBackgroundRefresh(() => session.check(), credential.expiresAt, now);
  const session = followSessions(pi, {
    configuration,
    credential,
    catalogue,
    refresh: backgroundRefresh,
    hasKey: () => configuredKey() !== undefined,
    keyArgument: process.argv.some((argument) => /^--api-key(=|$)/.test(argument)),
    authPath,
  });
  pi.registerProvider(
    PROVIDER,
    kimiCoder({
      configuration,
      credential,
      loginStore,
      server,
      clock,
      configuredKey,
      identity,
      catalogue,
      register: (provider) => {
        try {
          pi.registerProvider(PROVIDER, provider);
        } catch {
          // The session was replaced meanwhile; its successor has read the new list from the file.
        }
      },
    }),
  );
  offerLogin(pi);
  offerThinking(pi, VERSION);
}
