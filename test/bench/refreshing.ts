/**
 * The background refresh with its real parts (stores, locks, mirror, token endpoint) on a clock that only this script
 * moves. Arguments: how many refreshes before the heap is measured, and how many after. Needs `--expose-gc`.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { createBackgroundRefresh } from "../../extensions/background-refresh.ts";
import { CLIENT_ID } from "../../extensions/configuration.ts";
import { kimiCliStore } from "../../extensions/credentials/kimi-cli.ts";
import { piAuth } from "../../extensions/credentials/pi-auth.ts";
import { createSharedCredential } from "../../extensions/credentials/shared-credential.ts";
import { createIdentity } from "../../extensions/identity.ts";
import { refresh } from "../../extensions/oauth/token-endpoint.ts";
import { createFakeClock } from "../support/fake-clock.ts";

/** ms; the background refresh ticks every 30 s. */
const TICK = 30_000;

const [warmUp = 0, refreshes = 0] = process.argv.slice(2).map(Number);
const host = process.env.KIMI_CODE_OAUTH_HOST;
const { gc } = globalThis;
if (host === undefined || gc === undefined) throw new Error("needs KIMI_CODE_OAUTH_HOST and --expose-gc");

const share = join(homedir(), ".kimi");
const agentDir = join(homedir(), ".pi", "agent");
const clock = createFakeClock(Date.now());
const identity = createIdentity(share, { extension: "bench", pi: "bench" });
const server = { host, clientId: CLIENT_ID, fetch, identity: () => identity(true) };
const store = kimiCliStore({ share });
let presented = 0;
const credential = createSharedCredential({
  stores: [store],
  loginStore: store,
  piAuth: piAuth({ path: join(agentDir, "auth.json") }),
  memoryPath: join(agentDir, "kimi-coder.json"),
  rotationsPath: join(agentDir, "kimi-coder-renewals.json"),
  refresh: (refreshToken) => {
    presented += 1;
    return refresh(server, refreshToken, clock.now, 15_000);
  },
  clock,
  listener: ({ kind }) => {
    if (kind !== "mirrored") throw new Error(`not written: ${kind}`);
  },
});

const ticks = new Set<() => void>();
let checking: Promise<unknown> = Promise.resolve();
const background = createBackgroundRefresh(
  () => {
    checking = credential.renewal();
  },
  credential.expiresAt,
  clock.now,
  {
    every: (_ms, tick) => {
      ticks.add(tick);
      return () => ticks.delete(tick);
    },
  },
);
background.start();
await checking;

/** Lets time pass until so many tokens more were presented. */
async function letRefresh(count: number): Promise<void> {
  const end = presented + count;
  while (presented < end) {
    clock.advance(TICK);
    for (const tick of ticks) tick();
    await checking;
  }
  // What is written after an answer is out by then.
  await credential.settle(0).catch(() => {});
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
const intervals = ticks.size;
background.stop();
console.log(
  JSON.stringify({
    heapBefore: before.heap,
    heapAfter: after.heap,
    timersBefore: before.timers,
    timersAfter: after.timers,
    intervals,
  }),
);
process.exit(0);
