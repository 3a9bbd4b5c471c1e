/**
 * Any interleaving of processes of ours, kimi-cli, the user, the network and the disk. Real files, real directory locks
 * and the strict simulator over HTTP; time is fake. A flock costs a child process of a few ms each time, so one
 * sequence in eight takes it really, the others hold its place in memory.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FakeClock } from "../support/fake-clock.ts";
import { type KimiService, startKimiService } from "../support/kimi-service/index.ts";
import { temporaryDirectory } from "./support/homes.ts";
import { type Interleaving, interleavingIn, type Work } from "./support/interleaving.ts";

const SEQUENCES = Number(process.env.SEQUENCES ?? 1_000);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const SLOTS = 3;

/** Which processes live; everything else is asked of the real thing. */
interface Living {
  readonly alive: boolean[];
}

type Command = fc.AsyncCommand<Living, Interleaving>;

function command(
  name: string,
  run: (real: Interleaving) => Promise<void>,
  check: (model: Living) => boolean = () => true,
  update: (model: Living) => void = () => {},
): Command {
  return {
    check,
    async run(model, real) {
      update(model);
      await run(real);
    },
    toString: () => name,
  };
}

const slot = fc.nat(SLOTS - 1);
const living = (i: number) => (model: Living) => model.alive[i] === true;
const set = (i: number, alive: boolean) => (model: Living) => {
  model.alive[i] = alive;
};
const works = fc.constantFrom<Work>("request", "known request", "check", "rejection");
const SECOND = 1_000;
const sleeps = fc.constantFrom(
  100,
  2 * SECOND,
  5 * SECOND,
  12 * SECOND,
  480 * SECOND,
  480 * SECOND,
  960 * SECOND,
  28_800 * SECOND,
);
const drops = fc.constantFrom("before" as const, "after" as const);

const start = slot.map((i) =>
  command(
    `start ${i}`,
    (real) => real.start(i),
    (model) => model.alive[i] !== true,
    set(i, true),
  ),
);
const begin = fc.tuple(slot, works, fc.constantFrom(0, 3, 6, 7, 8, 9, 12, 40)).map(([i, work, n]) =>
  command(
    `${work} by ${i}, ${n} steps`,
    async (real) => {
      await real.begin(i, work);
      await real.step(i, n);
    },
    living(i),
  ),
);
const step = fc
  .tuple(slot, fc.integer({ min: 1, max: 6 }))
  .map(([i, n]) => command(`${i} goes ${n} steps`, (real) => real.step(i, n), living(i)));
const run = slot.map((i) => command(`${i} runs`, (real) => real.run(i), living(i)));
const kill = slot.map((i) => command(`kill ${i}`, (real) => real.kill(i), living(i), set(i, false)));
const exit = slot.map((i) => command(`exit ${i}`, (real) => real.exit(i), living(i), set(i, false)));
const sleep = sleeps.map((ms) => command(`sleep ${ms}`, (real) => real.sleep(ms)));
const network = drops.map((drop) =>
  command(`network fails ${drop}`, async (real) => real.breakNetwork({ drop })),
);
const busy = fc.constant(
  command("429", async (real) =>
    real.breakNetwork({ status: 429, body: {}, headers: { "retry-after": "2" } }),
  ),
);
const disk = fc
  .constantFrom(true, true, false)
  .map((broken) => command(`disk ${broken ? "fails" : "works"}`, (real) => real.breakDisk(broken)));
const loginInPi = slot.map((i) => command(`/login in ${i}`, (real) => real.loginInPi(i), living(i)));
const logoutInPi = fc.constant(command("/logout", (real) => real.logoutInPi()));
const ownerLogsIn = fc.constant(command("kimi-cli logs in", (real) => real.ownerLogsIn()));
const ownerLogsOut = fc.constant(command("kimi-cli logs out", (real) => real.ownerLogsOut()));
const ownerRotates = fc.constant(command("kimi-cli rotates", (real) => real.ownerRotates()));

const usual = [begin, begin, begin, step, step, run, sleep, sleep, ownerRotates, start];
const revoked = fc.constant(command("Kimi ends the login", (real) => real.serviceEndsLogin()));
const rare = [
  kill,
  kill,
  exit,
  network,
  network,
  busy,
  disk,
  disk,
  revoked,
  loginInPi,
  logoutInPi,
  ownerLogsIn,
  ownerLogsOut,
];
const commands = fc.commands([...usual, ...usual, ...usual, ...rare], { maxCommands: 40, size: "max" });
/** How old the login is at first, ms: good, due, ended. */
const age = fc.constantFrom(0, 480 * SECOND, 960 * SECOND);

let service: KimiService;
let clock: FakeClock | undefined;

beforeAll(async () => {
  service = await startKimiService({ now: () => clock?.now() ?? 0 });
});
afterAll(() => service.close());

test(`${SEQUENCES} sequences of anything lose no login, seed ${SEED}`, { timeout: 600_000 }, async () => {
  console.log(`any interleaving: SEED=${SEED} SEQUENCES=${SEQUENCES}`);
  const base = temporaryDirectory();
  const total: Record<string, number> = {};
  let sequence = 0;
  let executed = 0;
  await fc.assert(
    fc.asyncProperty(age, commands, async (ms, sequenceOfCommands) => {
      const home = join(base, String(sequence++));
      mkdirSync(home);
      const real = interleavingIn(
        home,
        service,
        (next) => {
          clock = next;
        },
        sequence % 8 === 0,
      );
      try {
        await real.ownerLogsIn();
        await real.sleep(ms);
        for (let i = 0; i < SLOTS; i++) await real.start(i);
        const alive = Array.from({ length: SLOTS }, () => true);
        await fc.asyncModelRun(() => ({ model: { alive }, real }), sequenceOfCommands);
        await real.end();
      } finally {
        await real.bury();
      }
      executed += 1;
      for (const [what, count] of Object.entries(real.tally)) total[what] = (total[what] ?? 0) + count;
    }),
    { numRuns: SEQUENCES, seed: SEED, endOnFailure: false },
  );
  console.log(total);
  expect(executed).toBeGreaterThanOrEqual(SEQUENCES);
  // A model that never gets anywhere proves nothing.
  for (const what of [
    "presented",
    "rotations by the owner",
    "logouts in pi",
    "at the end: ready",
    "excused: killed",
  ]) {
    expect(total[what], what).toBeGreaterThan(SEQUENCES / 500);
  }
});
