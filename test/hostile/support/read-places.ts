/** Reads every file that we read, wherever the given home leads to, and says what came of it; see places.test.ts. */
import { join } from "node:path";
import {
  findConfiguredKey,
  ownFiles,
  readConfiguration,
  requestsFolder,
} from "../../../extensions/configuration.ts";
import { mirror } from "../../../extensions/credentials/mirror.ts";
import { hadEntry, readPiEntry } from "../../../extensions/credentials/pi-entry.ts";
import { createStores } from "../../../extensions/credentials/stores.ts";
import { reserveSuccessor } from "../../../extensions/credentials/successor.ts";
import { reportLines } from "../../../extensions/doctor/report.ts";
import { readDeviceId } from "../../../extensions/identity.ts";
import { systemClock } from "../../../extensions/lib/clock.ts";
import { askedForLogin } from "../../../extensions/login/question.ts";
import { readKeptList, readListAtStart } from "../../../extensions/models/list.ts";
import { createQueue } from "../../../extensions/queue/queue.ts";
import { readKeptFigures } from "../../../extensions/quota/kept.ts";
import { BEGINNING, contentOf } from "../../../extensions/worker/record.ts";
import { openStatusFile, statusPath } from "../../../extensions/worker/status-file.ts";
import { SECOND } from "../../credentials/support/homes.ts";
import { createPatient } from "../../doctor/support.ts";

const [, , , home = ""] = process.argv;
const configuration = readConfiguration({}, home);
const { agentDir, kimiShare, kimiCodeHome, regions } = configuration;
const [{ baseUrl }] = regions;
const files = ownFiles(agentDir);
const { now } = Date;
const before = process.memoryUsage.rss();

const answers: Record<string, unknown> = {};
const everywhere = createStores(configuration);
const { all: stores, forLogin } = everywhere;
for (const store of stores) {
  answers[`${store.path} read`] = await store.read();
  const room = await reserveSuccessor(store);
  answers[`${store.path} write`] =
    room.state === "failed" ? room : await room.successor.write("refresh-1", SECOND);
  if (room.state === "reserved") room.successor.discard();
}
const entry = await readPiEntry(files.auth);
answers["auth.json read"] = entry;
const places = { authPath: files.auth, memoryPath: files.memory };
answers["auth.json mirror"] = await mirror(places, forLogin("kimi.com"), SECOND, entry);
answers.memory = hadEntry(files.memory);
answers.listAtStart = readListAtStart(files, regions, undefined);
answers.models = readKeptList(files.models, baseUrl, undefined);
answers.key = findConfiguredKey({}, agentDir);
answers.deviceId = await readDeviceId(kimiShare, true, "fresh");
const markerPath = join(kimiCodeHome, "region");
const { options } = await askedForLogin({ configuration, stores: everywhere, markerPath, now });
answers.offered = options.map(({ answer: { store, token } }) => (token ? store.path : store.region));
answers.figures = readKeptFigures(files.usage);

const asked = statusPath({ CAO_TERMINAL_ID: "a" }, { home, cwd: home, agentDir });
if (asked === undefined) throw new Error("there is a status file");
answers.publish = openStatusFile(asked)(contentOf(BEGINNING, process.pid));

const queue = createQueue({
  path: requestsFolder(home),
  limit: () => 1,
  clock: systemClock,
  every: () => () => {},
  random: () => 0,
  waiting: () => {},
});
const place = queue.place("account");
answers.waited = await place.enter(AbortSignal.timeout(3_000));
place.release();

const report = await createPatient({}, home).examine({ proc: "/proc" });
answers.doctor = reportLines(report, true).map(({ text }) => text);

process.stdout.write(JSON.stringify({ answers, grown: process.memoryUsage.rss() - before }));
