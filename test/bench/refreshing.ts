/**
 * A login that is renewed again and again as the timer of a session does it, with its real parts (stores, locks, mirror,
 * token endpoint) on a clock that only this script moves. Arguments: how many refreshes before the heap is measured, and
 * how many after. Needs `--expose-gc`.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { CLIENT_ID, ownFiles } from "../../extensions/configuration.ts";
import { InFlight } from "../../extensions/credentials/in-flight.ts";
import { createLogin } from "../../extensions/credentials/login.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { createIdentity } from "../../extensions/identity.ts";
import { refresh } from "../../extensions/oauth/token-endpoint.ts";
import { createFakeClock } from "../support/fake-clock.ts";

/** ms; how often a session looks at its login. */
const CHECK = 600_000;

const [warmUp = 0, refreshes = 0] = process.argv.slice(2).map(Number);
const host = process.env.KIMI_CODE_OAUTH_HOST;
const { gc } = globalThis;
if (host === undefined || gc === undefined) throw new Error("needs KIMI_CODE_OAUTH_HOST and --expose-gc");

const share = join(homedir(), ".kimi");
const files = ownFiles(join(homedir(), ".pi", "agent"));
const clock = createFakeClock(Date.now());
const identity = createIdentity(share, { extension: "bench", pi: "bench" }, "kimi-cli");
const server = { host, clientId: CLIENT_ID, fetch, identity: () => identity(true) };
let presented = 0;
const login = createLogin({
  stores: [kimiCliStore(share)],
  authPath: files.auth,
  memoryPath: files.memory,
  tokenEndpoint: {
    load: async () => {},
    refresh: (refreshToken, _store, signal) => {
      presented += 1;
      return refresh(server, refreshToken, clock.now, 15_000, signal);
    },
  },
  clock,
  inFlight: new InFlight(),
  listener: ({ kind }) => {
    if (kind !== "mirrored") throw new Error(`not written: ${kind}`);
  },
});

/** Lets time pass until so many tokens more were presented. */
async function letRefresh(count: number): Promise<void> {
  const end = presented + count;
  while (presented < end) {
    clock.advance(CHECK);
    await login.keepFresh();
  }
  // What is written after an answer is out by then.
  await login.end();
}

async function measure() {
  for (let round = 0; round < 4; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    gc?.();
  }
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout");
  return { heap: process.memoryUsage().heapUsed, timers: timers.length };
}

await letRefresh(warmUp);
const before = await measure();
await letRefresh(refreshes);
const after = await measure();
console.log(
  JSON.stringify({
    heapBefore: before.heap,
    heapAfter: after.heap,
    timersBefore: before.timers,
    timersAfter: after.timers,
  }),
);
process.exit(0);
