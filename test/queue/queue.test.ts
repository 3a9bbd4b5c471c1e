/** The queue over a real folder, with a clock that tests move. Each queue is a process of its own, as far as it can tell. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createQueue, type Waiting } from "../../extensions/queue/queue.ts";
import { diskFolder, type Folder, isAlive, ownerOf } from "../../extensions/queue/tickets.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { eventually } from "../support/waiting.ts";

/** How often a waiting request looks, in ms. */
const LOOK = 100;

function scene() {
  const path = temporaryDirectory();
  const clock = createFakeClock(Date.now());
  const told: (Waiting | undefined)[] = [];
  const signs: (() => void)[] = [];
  /** The place of a request of a process that sends no other. */
  const place = (limit?: number, { account = "account", openFolder = diskFolder } = {}) =>
    createQueue({
      openFolder,
      path,
      limit: () => limit,
      clock,
      every: (_ms, tick) => {
        signs.push(tick);
        return () => signs.splice(signs.indexOf(tick), 1);
      },
      random: () => 0,
      waiting: (waiting) => told.push(waiting),
    }).place(account);
  /** A place that is held. */
  const held = async (limit?: number) => {
    const holder = place(limit);
    expect(await holder.enter(undefined)).toBe(false);
    return holder;
  };
  /** Whether it still waits, with `count` others that sleep. */
  const waits = (entered: Promise<unknown> | undefined, count = 1) =>
    Promise.race([entered?.then(() => false), clock.asleep(count).then(() => true)]);
  const folder = join(path, "account");
  return { path, folder, clock, told, signs, place, held, waits, names: () => readdirSync(folder) };
}

/** A process other than this, which can be stopped. */
function startOther() {
  const child = spawn("sleep", ["60"]);
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const { pid } = child;
  if (pid === undefined) throw new Error("no child");
  const stat = () => readFileSync(`/proc/${pid}/stat`, "utf8");
  return {
    id: `${ownerOf(pid)}.a`,
    async stop() {
      child.kill("SIGSTOP");
      await eventually(() => /\) T /.test(stat()) || undefined, stat, 5_000);
    },
    async kill() {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

describe("places", { timeout: 10_000 }, () => {
  test("are given in order, whichever process asks, and leave nothing", async () => {
    const { place, held, clock, told, names } = scene();
    const first = await held(1);
    const [second, third] = [place(1), place(1)];
    const order: string[] = [];
    const waiting = [
      second.enter(undefined).then(() => order.push("second")),
      third.enter(undefined).then(() => order.push("third")),
    ];
    await clock.asleep(2);
    expect(told).toEqual([
      { for: "place", position: 1 },
      { for: "place", position: 2 },
    ]);
    first.release();
    clock.advance(LOOK);
    await waiting[0];
    await clock.asleep(1);
    expect(order).toEqual(["second"]);
    expect(told.slice(2)).toEqual([undefined, { for: "place", position: 1 }]);
    second.release();
    second.release();
    clock.advance(LOOK);
    await waiting[1];
    third.release();
    expect(order).toEqual(["second", "third"]);
    expect(told.at(-1)).toBeUndefined();
    expect(names()).toEqual([]);
  });

  test("are as many as the limit, of each account, and any number where there is none", async () => {
    const { place, held, waits } = scene();
    for (let index = 0; index < 3; index++) await held(3);
    expect(await waits(place(3).enter(undefined))).toBe(true);
    await held();
    expect(await place(3, { account: "another" }).enter(undefined)).toBe(false);
  });

  test("are given back by one that took the last together with another", async () => {
    const { folder, place, held, waits, clock, names } = scene();
    const holder = await held(1);
    const slowpoke = join(folder, `request-0-${ownerOf(process.pid)}.a`);
    let comes = true;
    const openFolder = (path: string): Folder => {
      const real = diskFolder(path);
      const list = () => {
        const seen = real.list();
        // It drew its number long ago, and takes its place in this very instant.
        if (comes && seen.length === 1 && seen[0]?.startsWith("request-2-")) writeFileSync(slowpoke, "");
        return seen;
      };
      return { ...real, list };
    };
    const waited = place(1, { openFolder }).enter(undefined);
    await clock.asleep();
    holder.release();
    for (let looks = 0; looks < 2; looks++) {
      clock.advance(LOOK);
      expect(await waits(waited)).toBe(true);
    }
    comes = false;
    unlinkSync(slowpoke);
    clock.advance(LOOK);
    expect(await waited).toBe(true);
    expect(names()).toHaveLength(1);
  });

  test("cost nothing before they are entered, and are the account's own folder's", async () => {
    const { place, path, folder, names } = scene();
    const one = place(3);
    expect(readdirSync(path)).toEqual([]);
    await one.enter(undefined);
    expect(await one.enter(undefined)).toBe(false);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(names()).toHaveLength(1);
  });
});

describe("a sign of life", { timeout: 10_000 }, () => {
  test("is given for each request until it is over, also for one whose file somebody took away", async () => {
    const { place, held, signs, folder, clock, names } = scene();
    const holder = await held(1);
    const waiter = place(1);
    const waited = waiter.enter(undefined);
    await clock.asleep();
    const before = names();
    expect(before).toHaveLength(2);
    const long = new Date(Date.now() - 130_000);
    for (const name of before) utimesSync(join(folder, name), long, long);
    for (const sign of signs) sign();
    for (const name of before) expect(Date.now() - statSync(join(folder, name)).mtimeMs).toBeLessThan(60_000);
    for (const name of before) unlinkSync(join(folder, name));
    for (const sign of signs) sign();
    expect(names()).toEqual(before);
    holder.release();
    clock.advance(LOOK);
    await waited;
    waiter.release();
    expect(signs).toEqual([]);
    expect(names()).toEqual([]);
  });

  const now = Date.now();
  const silences = [0, 119_000, -119_000, 121_000, -121_000];
  const alive = (id: string) => silences.filter((silence) => isAlive(id, now - silence, now));

  test("within two minutes is what tells of one elsewhere, or stopped", async () => {
    const { id: stopped, stop } = startOther();
    await stop();
    const foreign = "00000000.1.1.a";
    // Where the system does not tell when a process was started.
    const unknown = ownerOf(process.pid).replace(/\d+$/, "0");
    // A sign from the future: the clock was set back.
    for (const id of [stopped, foreign, unknown]) expect(alive(id)).toEqual([0, 119_000, -119_000]);
  });

  test("is not asked for where a process is seen to run, or seen to have ended", async () => {
    const { id, kill } = startOther();
    expect(alive(id)).toEqual(silences);
    await kill();
    expect(alive(id)).toEqual([]);
    expect(alive(id.replace(/\.\d+\.a$/, ".0.a"))).toEqual([]);
    // Another process has its number now.
    expect(alive(ownerOf(process.pid).replace(/\d+$/, "1"))).toEqual([]);
  });
});

describe("a clock that jumps", { timeout: 10_000 }, () => {
  const DAY = 86_400_000;

  test.each([DAY, -DAY])("by %i ms lets nobody in", async (ms) => {
    const { place, held, waits, clock, names } = scene();
    await held(1);
    const holders = names();
    const first = place(1).enter(undefined);
    await clock.asleep();
    clock.advance(ms);
    // A request that comes only now clears up what it takes for dead.
    const last = place(1).enter(undefined);
    expect(await waits(Promise.race([first, last]), 2)).toBe(true);
    expect(names()).toEqual(expect.arrayContaining(holders));
  });

  test("does not shorten the quarter of an hour after which a line that stands still is left", async () => {
    const { place, held, clock } = scene();
    await held(1);
    const begun = clock.now();
    clock.autoAdvance();
    expect(await place(1).enter(undefined)).toBe(true);
    expect(clock.now() - begun).toBe(900_000);
  });
});

describe("a refusal", { timeout: 10_000 }, () => {
  test("makes all processes wait, also those that were not refused, and costs no place in the line", async () => {
    const { place, held, clock, told } = scene();
    const order: string[] = [];
    const refused = await held(1);
    const other = place(1);
    const second = other.enter(undefined).then(() => order.push("other"));
    await clock.asleep();
    refused.refused({ concurrency: false, retryAfter: 7_000 });
    const first = refused.enter(undefined).then(() => order.push("refused"));
    clock.advance(LOOK);
    await clock.asleep(2);
    expect(clock.sleeps).toEqual([LOOK, 7_000, 7_000 - LOOK]);
    expect(told.at(-1)).toEqual({ for: "time", until: clock.now() + 7_000 - LOOK });
    clock.advance(7_000);
    await first;
    expect(order).toEqual(["refused"]);
    refused.release();
    await clock.asleep();
    clock.advance(LOOK);
    await second;
  });

  test("makes for a longer pause the next time, unless a request has gone well since", async () => {
    const { held, clock, names } = scene();
    const lengths = () => names().flatMap((name) => /^pause-\d+-(\d+)$/.exec(name)?.[1] ?? []);
    const place = await held();
    for (const length of ["1000", "2000", "4000"]) {
      place.refused({ concurrency: false, retryAfter: undefined });
      expect(lengths()).toContain(length);
      const again = place.enter(undefined);
      await clock.asleep();
      clock.advance(15_000);
      await again;
    }
    place.served();
    place.release();
    expect(lengths()).toEqual([]);
  });

  test("teaches how many requests the account may have", async () => {
    const { held, waits, clock, names } = scene();
    const [first, , third, last] = [await held(), await held(), await held(), await held()];
    last.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-3-"))).toHaveLength(1);
    const again = last.enter(undefined);
    await clock.asleep();
    clock.advance(1_000);
    expect(await waits(again)).toBe(true);
    first.release();
    clock.advance(LOOK);
    expect(await again).toBe(true);
    // What is under way counts whatever its number: the third waits for the last, which came after it.
    third.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-2-"))).toHaveLength(1);
    const later = third.enter(undefined);
    await clock.asleep();
    clock.advance(3_000);
    expect(await waits(later)).toBe(true);
  });
});

test("where the folder cannot be used, requests wait only for what they were asked themselves", async () => {
  const { folder, held, names, clock, signs } = scene();
  writeFileSync(folder, "no folder");
  await held(1);
  const one = await held(1);
  one.refused({ concurrency: true, retryAfter: 2_000 });
  clock.autoAdvance();
  expect(await one.enter(undefined)).toBe(true);
  expect(clock.sleeps).toEqual([2_000]);
  one.release();
  expect(signs).toHaveLength(1);
  unlinkSync(folder);
  await held(1);
  expect(names()).toHaveLength(1);
});

test("where it becomes unusable while a place is held, the refused request waits by itself", async () => {
  const { folder, held, clock } = scene();
  const one = await held(1);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "no folder");
  one.refused({ concurrency: false, retryAfter: 3_000 });
  clock.autoAdvance();
  expect(await one.enter(undefined)).toBe(true);
  expect(clock.sleeps).toEqual([3_000]);
});
