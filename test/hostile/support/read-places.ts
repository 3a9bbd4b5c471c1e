/** Reads every file that we read, wherever the given home leads to, and says what came of it; see places.test.ts. */
import { dirname, join } from "node:path";
import { createGuard } from "../../../extensions/concurrency/guard.ts";
import { findConfiguredKey, readConfiguration } from "../../../extensions/configuration.ts";
import { recall } from "../../../extensions/credentials/memory.ts";
import { piAuth } from "../../../extensions/credentials/pi-auth.ts";
import { readRotation } from "../../../extensions/credentials/rotations.ts";
import { lookAtFlock, lookAtFolderLock } from "../../../extensions/doctor/lock-holders.ts";
import { reportLines } from "../../../extensions/doctor/report.ts";
import { readDeviceId } from "../../../extensions/identity.ts";
import { readKeptList, readMirroredAccount } from "../../../extensions/models/cache.ts";
import { systemClock } from "../../../extensions/oauth/clock.ts";
import { regionQuestion } from "../../../extensions/region-choice.ts";
import { BEGINNING } from "../../../extensions/status-file/lifecycle.ts";
import { statusPath } from "../../../extensions/status-file/path.ts";
import { createPublisher } from "../../../extensions/status-file/publish.ts";
import { contentOf } from "../../../extensions/status-file/record.ts";
import { readBefore } from "../../../extensions/status-file/restore.ts";
import { createStores } from "../../../extensions/stores.ts";
import { readKeptFigures } from "../../../extensions/usage/kept.ts";
import { SECOND } from "../../credentials/support/homes.ts";
import { createPatient } from "../../doctor/support.ts";

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
answers.figures = readKeptFigures(join(agentDir, "kimi-coder-usage.json"));
answers.rotation = readRotation(join(agentDir, "kimi-coder-renewals.json"), "/x", SECOND);

const asked = statusPath({ CAO_TERMINAL_ID: "a" }, { home, cwd: home, agentDir });
if (asked?.state !== "asked") throw new Error("there is a status file");
const said: string[] = [];
const publish = createPublisher({
  path: asked.path,
  before: readBefore(asked.path, process.pid),
  now: Date.now,
  warn: (sentence) => said.push(sentence),
});
publish(contentOf(BEGINNING, process.pid, null));
answers.publish = said;
// One whose long message is elsewhere.
answers.restored = readBefore(join(dirname(asked.path), "b.json"), 7);

const guard = createGuard({
  path: join(agentDir, "kimi-coder-requests"),
  clock: systemClock,
  timer: { every: () => () => {} },
  random: () => 0,
  waiting: () => {},
});
const place = guard("account", () => 1);
answers.waited = await place.enter(AbortSignal.timeout(3_000));
place.release();

const report = await createPatient({}, home).examine({
  flock: lookAtFlock,
  folder: (path) => lookAtFolderLock(path, Date.now()),
});
answers.doctor = reportLines(report);

const ms = performance.now() - begun;
process.stdout.write(JSON.stringify({ answers, ms, grown: process.memoryUsage.rss() - before }));
