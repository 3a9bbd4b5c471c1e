/** Reads every file that we read, wherever the given home leads to, and says what came of it; see places.test.ts. */
import { join } from "node:path";
import { findConfiguredKey, readConfiguration } from "../../../extensions/configuration.ts";
import { recall } from "../../../extensions/credentials/memory.ts";
import { piAuth } from "../../../extensions/credentials/pi-auth.ts";
import { readDeviceId } from "../../../extensions/identity.ts";
import { readKeptList, readMirroredAccount } from "../../../extensions/models/cache.ts";
import { regionQuestion } from "../../../extensions/region-choice.ts";
import { createStores } from "../../../extensions/stores.ts";
import { SECOND } from "../../credentials/support/homes.ts";

const [, , , home = ""] = process.argv;
const configuration = readConfiguration({}, home);
const { agentDir, kimiShare, kimiCodeHome, baseUrl } = configuration;
const before = process.memoryUsage.rss();
const begun = performance.now();

const answers: Record<string, unknown> = {};
for (const store of createStores(configuration).all) {
  answers[`${store.path} read`] = await store.read();
  answers[`${store.path} replace`] = await store.replace("refresh-1", SECOND);
}
const auth = piAuth({ path: join(agentDir, "auth.json"), timeout: 500 });
answers["auth.json read"] = await auth.read();
answers["auth.json update"] = await auth.update(() => ({ token: SECOND, owner: "kimi-cli", source: "x" }));
answers.memory = await recall(join(agentDir, "kimi-coder.json"));
answers.account = readMirroredAccount(join(agentDir, "auth.json"), "kimi-coder");
answers.models = readKeptList(join(agentDir, "kimi-coder-models.json"), baseUrl, undefined);
answers.key = findConfiguredKey({}, agentDir);
answers.deviceId = await readDeviceId(kimiShare, true, "fresh");
answers.region = regionQuestion(configuration, join(kimiCodeHome, "region"))
  .options()
  .map(({ id }) => id);

const ms = performance.now() - begun;
process.stdout.write(JSON.stringify({ answers, ms, grown: process.memoryUsage.rss() - before }));
