/** The queue over a real folder, with a clock that tests move. Each queue is a process of its own, as far as it can tell. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
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
  const process = (limit?: number, openFolder?: (path: string) => Folder) =>
    createQueue({
      ...(openFolder && { openFolder }),
      path,
      limit: () => limit,
      clock,
      every: (_ms, tick) => {
        signs.push(tick);
        return () => signs.splice(signs.indexOf(tick), 1);
      },
      random: () => 0,
      waiting: (waiting) => told.push(waiting),
    });
  /** The place of a request of a process that sends no other. */
  const place = (limit?: number, openFolder?: (path: string) => Folder) =>
    process(limit, openFolder).place("account");
  const folder = join(path, "account");
  /** As if all files were made, or touched last, at `at` (ms since the epoch). */
  const setTimes = (at: number) => {
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), new Date(at), new Date(at));
  };
  const plant = (...names: string[]) => {
    mkdirSync(folder, { recursive: true });
    for (const name of names) writeFileSync(join(folder, name), "");
  };
  return {
    path,
    folder,
    clock,
    told,
    signs,
    process,
    place,
    plant,
    setTimes,
    names: () => readdirSync(folder),
  };
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

/** Of another machine or container: only its signs tell that it lives. */
const FOREIGN = "00000000.1.1.a";

describe("places", { timeout: 10_000 }, () => {
  test("are given in order, whichever process asks, and leave nothing", async () => {
    const { process, clock, told, names } = scene();
    const [here, there] = [process(1), process(1)];
    const order: string[] = [];
    const first = here.place("account");
    expect(await first.enter(undefined)).toBe(false);
    const second = there.place("account");
    const third = here.place("account");
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

  test("are as many as the limit, and any number where there is none", async () => {
    const { place, clock } = scene();
    for (let index = 0; index < 3; index++) expect(await place(3).enter(undefined)).toBe(false);
    const fourth = place(3).enter(undefined);
    expect(await Promise.race([fourth, clock.asleep().then(() => "waits")])).toBe("waits");
    expect(await place().enter(undefined)).toBe(false);
  });

  test("are given back by one that took the last together with another", async () => {
    const { folder, place, plant, clock, names } = scene();
    const holder = place(1);
    await holder.enter(undefined);
    let slowpoke: string | undefined = `ticket-0-${ownerOf(process.pid)}.a`;
    const waiter = place(1, () => {
      const real = diskFolder(folder);
      const list = () => {
        const seen = real.list();
        // It drew its number long ago, and takes its place in this very instant.
        if (slowpoke && seen.length === 2 && seen.every((name) => name.includes("-2-"))) plant(slowpoke);
        return seen;
      };
      return { ...real, list };
    });
    const waited = waiter.enter(undefined);
    await clock.asleep();
    holder.release();
    for (const looks of [1, 2]) {
      clock.advance(LOOK);
      expect(await Promise.race([waited, clock.asleep().then(() => looks)])).toBe(looks);
    }
    expect(names()).toHaveLength(3);
    unlinkSync(join(folder, slowpoke));
    slowpoke = undefined;
    clock.advance(LOOK);
    expect(await waited).toBe(true);
    expect(names()).toHaveLength(1);
  });

  test("of different accounts have nothing to do with each other", async () => {
    const { process } = scene();
    const queue = process(1);
    await queue.place("account").enter(undefined);
    expect(await queue.place("another").enter(undefined)).toBe(false);
  });

  test("are given up by a request that is stopped while it waits", async () => {
    const { place, clock, names, told } = scene();
    await place(1).enter(undefined);
    const stop = new AbortController();
    const waiter = place(1);
    const waited = waiter.enter(stop.signal);
    await clock.asleep();
    stop.abort();
    expect(await waited).toBe(true);
    expect(told.at(-1)).toBeUndefined();
    waiter.release();
    expect(names()).toHaveLength(1);
    expect(clock.sleeping()).toBe(0);
  });

  test("are waited for no longer when they are released meanwhile", async () => {
    const { place, clock, names } = scene();
    await place(1).enter(undefined);
    const waiter = place(1);
    const waited = waiter.enter(undefined);
    await clock.asleep();
    waiter.release();
    clock.advance(LOOK);
    expect(await waited).toBe(true);
    expect(names()).toHaveLength(1);
  });

  test("cost one file and two looks, and nothing before they are entered", async () => {
    const { place, path, folder } = scene();
    const done: string[] = [];
    const counted = place(3, (at) => {
      const real = diskFolder(at);
      return {
        ...real,
        list: () => {
          done.push("list");
          return real.list();
        },
        create: (name) => {
          done.push("create");
          real.create(name);
        },
        remove: (name) => {
          done.push("remove");
          real.remove(name);
        },
      };
    });
    expect(readdirSync(path)).toEqual([]);
    await counted.enter(undefined);
    expect(await counted.enter(undefined)).toBe(false);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    counted.served();
    counted.release();
    expect(done).toEqual(["list", "create", "list", "remove"]);
  });
});

describe("a sign of life", { timeout: 10_000 }, () => {
  test("is given for each request until it is over, also for one whose file somebody took away", async () => {
    const { place, signs, setTimes, folder, clock, names } = scene();
    const [holder, waiter] = [place(1), place(1)];
    await holder.enter(undefined);
    const waited = waiter.enter(undefined);
    await clock.asleep();
    const before = names();
    expect(before).toHaveLength(3);
    setTimes(clock.now() - 130_000);
    for (const sign of signs) sign();
    for (const name of names())
      expect(Date.now() - statSync(join(folder, name)).mtimeMs).toBeLessThan(60_000);
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
  const silences = [0, 119_000, -119_000, 121_000, -121_000, 86_500_000, -86_500_000];
  const alive = (id: string) => silences.filter((silence) => isAlive(id, now - silence, now));

  test("within two minutes is what tells of one elsewhere, or stopped", async () => {
    const { id: stopped, stop } = startOther();
    await stop();
    // A sign from the future: the clock was set back.
    for (const id of [stopped, FOREIGN]) expect(alive(id)).toEqual([0, 119_000, -119_000]);
    // Where the system does not tell when a process was started.
    expect(alive(ownerOf(process.pid).replace(/\d+$/, "0"))).toEqual([0, 119_000, -119_000]);
  });

  test("is not asked for where a process is seen to run, or seen to have ended", async () => {
    const own = ownerOf(process.pid);
    expect(alive(`${own}.a`)).toEqual(silences);
    const { id, kill } = startOther();
    expect(alive(id)).toEqual(silences);
    await kill();
    expect(alive(id)).toEqual([]);
    expect(alive(id.replace(/\.\d+\.a$/, ".0.a"))).toEqual([]);
    // Another process has its number now.
    expect(alive(own.replace(/\d+$/, "1"))).toEqual([]);
  });
});

describe("the dead", { timeout: 10_000 }, () => {
  test("hold no place, and are cleared away by whoever waits", async () => {
    const { place, plant, clock, names } = scene();
    const { id, kill } = startOther();
    plant(`ticket-1-${id}`);
    const waited = place(1).enter(undefined);
    await clock.asleep();
    await kill();
    clock.advance(LOOK);
    expect(await waited).toBe(true);
    expect(names().filter((name) => name.includes(id))).toEqual([]);
  });

  test("who were only thought so are seen again when they take a place", async () => {
    const { place, folder, clock, names } = scene();
    const holder = place(1);
    await holder.enter(undefined);
    const waiter = place(1);
    const waited = waiter.enter(undefined);
    await clock.asleep();
    holder.release();
    for (const name of names()) unlinkSync(join(folder, name));
    clock.advance(LOOK);
    expect(await waited).toBe(true);
    expect(names()).toEqual([expect.stringContaining("ticket-2-")]);
  });
});

describe("a clock that jumps", { timeout: 10_000 }, () => {
  const MINUTE = 60_000;
  const DAY = 86_400_000;

  test.each([3 * MINUTE, 16 * MINUTE, DAY + MINUTE, -DAY - MINUTE])("by %i ms lets nobody in", async (ms) => {
    const { place, clock, names } = scene();
    await place(1).enter(undefined);
    const held = names();
    const first = Array.from({ length: 3 }, () => place(1).enter(undefined));
    await clock.asleep(3);
    clock.advance(ms);
    // A request that comes only now clears up what it takes for dead.
    const last = place(1).enter(undefined);
    const entered = Promise.race([...first, last]);
    expect(await Promise.race([clock.asleep(4).then(() => "all wait"), entered])).toBe("all wait");
    expect(names()).toEqual(expect.arrayContaining(held));
  });

  test("does not shorten the quarter of an hour after which a line that stands still is left", async () => {
    const { place, clock } = scene();
    await place(1).enter(undefined);
    const begun = clock.now();
    clock.autoAdvance();
    expect(await place(1).enter(undefined)).toBe(true);
    expect(clock.now() - begun).toBeGreaterThanOrEqual(15 * MINUTE);
    expect(clock.now() - begun).toBeLessThan(15 * MINUTE + 1_000);
  });
});

describe("a refusal", { timeout: 10_000 }, () => {
  test("makes all processes wait, also those that were not refused, and keeps the order", async () => {
    const { place, clock, told } = scene();
    const refused = place();
    await refused.enter(undefined);
    refused.refused({ concurrency: false, retryAfter: 7_000 });
    const other = place();
    const both = [other.enter(undefined), refused.enter(undefined)];
    await clock.asleep(2);
    expect(clock.sleeps).toEqual([7_000, 7_000]);
    expect(told[0]).toEqual({ for: "time", until: clock.now() + 7_000 });
    clock.advance(7_000);
    expect(await Promise.all(both)).toEqual([true, true]);
  });

  test("costs no place in the line", async () => {
    const { place, clock } = scene();
    const order: string[] = [];
    const [refused, other] = [place(1), place(1)];
    await refused.enter(undefined);
    const second = other.enter(undefined).then(() => order.push("other"));
    await clock.asleep();
    refused.refused({ concurrency: false, retryAfter: 1_000 });
    const first = refused.enter(undefined).then(() => order.push("refused"));
    clock.advance(LOOK);
    await clock.asleep(2);
    clock.advance(1_000);
    await first;
    expect(order).toEqual(["refused"]);
    refused.release();
    await clock.asleep();
    clock.advance(LOOK);
    await second;
  });

  test("makes for a longer pause the next time, unless a request has gone well since", async () => {
    const { process, clock, names } = scene();
    const queue = process();
    const steps = () => names().flatMap((name) => /^pause-\d+-(\d+)$/.exec(name)?.[1] ?? []);
    const place = queue.place("account");
    await place.enter(undefined);
    for (const step of ["0", "1", "2"]) {
      place.refused({ concurrency: false, retryAfter: undefined });
      expect(steps()).toContain(step);
      const again = place.enter(undefined);
      await clock.asleep();
      clock.advance(15_000);
      await again;
    }
    place.served();
    place.release();
    expect(steps()).toEqual([]);
    const next = queue.place("account");
    await next.enter(undefined);
    next.refused({ concurrency: false, retryAfter: undefined });
    expect(steps()).toEqual(["0"]);
  });

  test("teaches how many requests the account may have", async () => {
    const { place, clock, names } = scene();
    const places = Array.from({ length: 4 }, () => place());
    for (const one of places) await one.enter(undefined);
    const [first, , third, last] = places;
    last?.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-3-"))).toHaveLength(1);
    const again = last?.enter(undefined);
    await clock.asleep();
    clock.advance(1_000);
    expect(await Promise.race([again, clock.asleep().then(() => "waits")])).toBe("waits");
    first?.release();
    clock.advance(LOOK);
    expect(await again).toBe(true);
    // What is under way counts whatever its number: the first that was refused waits for those that came after it.
    third?.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-2-"))).toHaveLength(1);
    const held = third?.enter(undefined);
    await clock.asleep();
    clock.advance(3_000);
    expect(await Promise.race([held, clock.asleep().then(() => "waits")])).toBe("waits");
  });
});

describe("where the folder cannot be used", { timeout: 10_000 }, () => {
  test("requests go without, and wait only for what they were asked themselves", async () => {
    const { path, place, clock, signs } = scene();
    writeFileSync(join(path, "account"), "no folder");
    await place(1).enter(undefined);
    const one = place(1);
    expect(await one.enter(undefined)).toBe(false);
    one.refused({ concurrency: true, retryAfter: 2_000 });
    clock.autoAdvance();
    expect(await one.enter(undefined)).toBe(true);
    expect(clock.sleeps).toEqual([2_000]);
    one.release();
    expect(signs).toHaveLength(1);
  });

  test("also when it becomes unusable while a place is held, and the next request makes a new one", async () => {
    const { place, folder, names, clock } = scene();
    const one = place(1);
    await one.enter(undefined);
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "no folder");
    one.refused({ concurrency: false, retryAfter: 3_000 });
    rmSync(folder);
    clock.autoAdvance();
    expect(await one.enter(undefined)).toBe(true);
    expect(clock.sleeps).toEqual([3_000]);
    one.release();
    expect(existsSync(folder)).toBe(false);
    expect(await place(1).enter(undefined)).toBe(false);
    expect(names()).toHaveLength(1);
  });
});
