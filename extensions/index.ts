/**
 * Finds the Kimi login that is there, seeds pi's entry with it, registers the provider, and keeps it fresh every ten
 * minutes. At pi's start only this happens: no network, no waiting, few modules; the rest is loaded at its first use.
 *
 * - configuration, region, identity: what is set, where Kimi is, as whom we ask
 * - provider, session, screen, caller, runtime: the provider in pi's words, a session's life, the open session, what a
 *   request is sent with, what is built once Kimi is used; messages: the sentences shown to users
 * - credentials, oauth: the logins of all programs, their locks, their renewal; the token endpoint and the device flow
 * - chat: a request's way, its payload, its errors; queue: the account's limit of requests at once
 * - commands: what can be typed; models, quota, login, status, doctor, worker, tools: one feature each
 * - lib: what knows nothing of Kimi or pi
 */
import { homedir } from "node:os";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import { type ExtensionAPI, VERSION } from "@mariozechner/pi-coding-agent";
import { offerKimi, offerLogin, offerThinking } from "./commands.ts";
import {
  asksForStatus,
  choosesNoModel,
  findConfiguredKey,
  hasKeyArgument,
  loginRefusal,
  ownFiles,
  readConfiguration,
  readToolSwitches,
} from "./configuration.ts";
import { isJsonObject, readJsonSync } from "./lib/json.ts";
import { inTurn, lazy } from "./lib/lazy.ts";
import { readListAtStart } from "./models/list.ts";
import { KimiProvider } from "./provider.ts";
import { Screen } from "./screen.ts";
import { followQuota, followSessions } from "./session.ts";

const manifest = readJsonSync(fileURLToPath(new URL("../package.json", import.meta.url)));
const version = isJsonObject(manifest) ? String(manifest.version) : "unknown";

export default function (pi: ExtensionAPI): void | Promise<void> {
  const configuration = readConfiguration(process.env, homedir());
  const { home, agentDir, regions } = configuration;
  const versions = { extension: version, pi: VERSION };
  const keyArgument = hasKeyArgument(process.argv);
  const isTerminal = isatty(0) && isatty(1);
  const refusal = configuration.refusal ?? loginRefusal(process.env, process.argv, isTerminal);
  const configuredKey = () => findConfiguredKey(process.env, agentDir);
  const registered = readListAtStart(ownFiles(agentDir), regions, configuredKey()?.key);

  const screen = new Screen();
  const provider = new KimiProvider(pi, {
    configuration,
    piVersion: VERSION,
    screen,
    choosesNone: choosesNoModel(process.argv),
    loginRefusal: refusal,
  });
  const runtime = lazy(async () => {
    const { createRuntime } = await inTurn(() => import("./runtime.ts"));
    return createRuntime({ configuration, versions, screen, provider, registered, keyArgument });
  });

  provider.register(runtime, registered);
  const hasKey = () => configuredKey() !== undefined || (keyArgument && screen.isOurs);
  followSessions(pi, { configuration, screen, runtime, hasKey });
  followQuota(pi, screen, runtime, configuration.footer);
  offerLogin(pi, runtime, refusal);
  offerThinking(pi, VERSION, screen);
  const tools = lazy(async () => {
    const { Tools } = await inTurn(() => import("./tools/offer.ts"));
    return new Tools(pi, { configuration, runtime });
  });
  pi.on("session_start", async (_event, session) => {
    const { search, fetch } = readToolSwitches(configuration, session.cwd);
    if (search.is === "off" && fetch.is === "off") return;
    await tools.load().then(
      (loaded) => loaded.apply(session),
      () => {},
    );
  });
  offerKimi(pi, { configuration, versions, runtime, tools });

  if (!asksForStatus(process.env)) return;
  // pi waits for it, so that no event is missed; what a missing file means is said by the first request.
  return inTurn(() => import("./worker/follow.ts"))
    .then(({ followWorker }) =>
      screen.watchedBy(followWorker(pi, process.env, { home, cwd: process.cwd(), agentDir }, VERSION)),
    )
    .catch(() => {});
}
