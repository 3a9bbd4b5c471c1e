/** The guard over a real folder, with a clock that tests move. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createGuard, type Waiting } from "../../extensions/concurrency/guard.ts";
import { createLiveness, type Liveness } from "../../extensions/concurrency/liveness.ts";
import { createFreePlace } from "../../extensions/concurrency/place.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { eventually } from "../support/waiting.ts";

function scene() {
  const path = mkdtempSync(join(tmpdir(), "guard-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const clock = createFakeClock(Date.now());
  const told: (Waiting | undefined)[] = [];
  const signs: (() => void)[] = [];
  /** A process of its own, as far as this module can tell. */
  const process = (liveness?: Liveness) =>
    createGuard({
      ...(liveness && { liveness }),
      path,
      clock,
      timer: {
        every: (_ms, tick) => {
          signs.push(tick);
          return () => signs.splice(signs.indexOf(tick), 1);
        },
      },
      random: () => 0,
      waiting: (waiting) => told.push(waiting),
    });
  const folder = join(path, "account");
  /** As if all files were made, or touched last, at `at` (ms since the epoch). */
  const setTimes = (at: number) => {
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), new Date(at), new Date(at));
  };
  return { path, folder, clock, told, signs, process, setTimes, names: () => readdirSync(folder) };
}

/** For a process of another machine or container: only its signs tell that it lives. */
function elsewhere(): Liveness {
  const { newId, judge } = createLiveness();
  return { newId: () => `00000000${newId().slice(8)}`, judge };
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
    child,
    id: createLiveness(pid).newId(),
    async stop() {
      child.kill("SIGSTOP");
      await eventually(() => /\) T /.test(stat()) || undefined, stat, 5_000);
    },
  };
}

const three = () => 3;
const one = () => 1;
const unknown = () => undefined;

describe("places", () => {
  test("are given in order, whichever process asks, and leave nothing", async () => {
    const { process, clock, told, names } = scene();
    const [here, there] = [process(), process()];
    const order: string[] = [];
    const first = here("account", one);
    await first.enter(undefined);
    const second = there("account", one);
    const third = here("account", one);
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
    clock.advance(250);
    await waiting[0];
    expect(order).toEqual(["second"]);
    second.release();
    second.release();
    await clock.asleep(1);
    clock.advance(250);
    await waiting[1];
    third.release();
    expect(order).toEqual(["second", "third"]);
    expect(told.at(-1)).toBeUndefined();
    expect(names()).toEqual([]);
  });

  test("of different accounts have nothing to do with each other", async () => {
    const { process } = scene();
    const guard = process();
    await guard("account", one).enter(undefined);
    expect(await guard("another", one).enter(undefined)).toBe(false);
  });

  test("are given up by a request that is stopped while it waits", async () => {
    const { process, clock, names } = scene();
    const guard = process();
    await guard("account", one).enter(undefined);
    const stop = new AbortController();
    const waiter = guard("account", one);
    const waited = waiter.enter(stop.signal);
    await clock.asleep();
    stop.abort();
    expect(await waited).toBe(true);
    waiter.release();
    expect(names()).toHaveLength(2);
    expect(clock.sleeping()).toBe(0);
  });

  test("give signs of life, and no longer when the last has left", async () => {
    const { process, signs } = scene();
    const guard = process();
    const [first, second] = [guard("account", three), guard("account", three)];
    await first.enter(undefined);
    await second.enter(undefined);
    expect(signs).toHaveLength(1);
    first.release();
    expect(signs).toHaveLength(1);
    second.release();
    expect(signs).toEqual([]);
  });
});

describe("the dead", () => {
  test("hold no place: neither a process that is gone nor one that was replaced under its id", async () => {
    const { process, folder, clock } = scene();
    const { child, id } = startOther();
    const [place, , , nonce] = id.split(".");
    mkdirSync(folder, { recursive: true });
    for (const name of [`ticket-1-${id}`, `held-${id}`]) writeFileSync(join(folder, name), "");
    const waited = process()("account", one).enter(undefined);
    await clock.asleep();
    child.kill("SIGKILL");
    await once(child, "exit");
    clock.advance(250);
    expect(await waited).toBe(true);
    expect(readdirSync(folder).filter((name) => name.includes(id))).toEqual([]);
    const reused = `${place}.${globalThis.process.pid}.1.${nonce}`;
    writeFileSync(join(folder, `held-${reused}`), "");
    expect(createLiveness().judge(reused, Date.now(), Date.now())).toBe("gone");
  });

  test("are also those who gave no sign of life for two minutes, where they are stopped or cannot be looked at", async () => {
    const liveness = createLiveness();
    const { id: stopped, stop } = startOther();
    await stop();
    const foreign = elsewhere().newId();
    const now = Date.now();
    for (const id of [stopped, foreign]) {
      for (const silence of [119_000, -119_000]) expect(liveness.judge(id, now - silence, now)).toBe("alive");
      // In the future: the clock was set back.
      for (const silence of [121_000, -121_000, -86_500_000])
        expect(liveness.judge(id, now - silence, now)).toBe("silent");
    }
    expect(liveness.judge(stopped, now - 86_500_000, now)).toBe("silent");
    expect(liveness.judge(foreign, now - 86_500_000, now)).toBe("gone");
  });

  test("are none whose process runs, whatever the clock says, and none whose file has gone just now", () => {
    const liveness = createLiveness();
    const own = liveness.newId();
    const now = Date.now();
    for (const silence of [0, 121_000, 86_500_000, -86_500_000])
      expect(liveness.judge(own, now - silence, now)).toBe("alive");
    for (const id of [own, elsewhere().newId()]) expect(liveness.judge(id, undefined, now)).toBe("alive");
  });

  test("a stopped holder is waited for no longer than two minutes", async () => {
    const { process, folder, setTimes, clock } = scene();
    const { id, stop } = startOther();
    await stop();
    mkdirSync(folder, { recursive: true });
    for (const name of [`ticket-1-${id}`, `held-${id}`]) writeFileSync(join(folder, name), "");
    setTimes(clock.now() - 119_000);
    const waited = process()("account", one).enter(undefined);
    await clock.asleep();
    setTimes(clock.now() - 121_000);
    clock.advance(250);
    expect(await waited).toBe(true);
  });

  test("are cleared away also where a file of one of them cannot be removed", async () => {
    const { process, folder, clock } = scene();
    const { child, id } = startOther();
    child.kill("SIGKILL");
    await once(child, "exit");
    for (let index = 0; index < 8; index++) {
      mkdirSync(join(folder, `held-${id}${index}`), { recursive: true });
      mkdirSync(join(folder, `learned-${index}-1`));
      writeFileSync(join(folder, `ticket-${index}-${id}`), "");
      writeFileSync(join(folder, `pause-${index}-0`), "");
    }
    expect(await process()("account", one).enter(undefined)).toBe(false);
    expect(clock.sleeps).toEqual([]);
    const left = readdirSync(folder).filter((name) => /^(?:ticket|pause)-\d-/.test(name));
    expect(left.filter((name) => name.startsWith("pause") || name.includes(id))).toEqual([]);
  });
});

describe("a clock that jumps", () => {
  const MINUTE = 60_000;
  const DAY = 86_400_000;

  test.each([3 * MINUTE, 16 * MINUTE, DAY + MINUTE, -DAY - MINUTE])("by %i ms lets nobody in", async (ms) => {
    const { process, clock, names } = scene();
    await process()("account", one).enter(undefined);
    const held = names();
    const first = Array.from({ length: 3 }, () => process()("account", one).enter(undefined));
    await clock.asleep(3);
    clock.advance(ms);
    // A request that comes only now clears up what it takes for dead.
    const last = process()("account", one).enter(undefined);
    const entered = Promise.race([...first, last]);
    expect(await Promise.race([clock.asleep(4).then(() => "all wait"), entered])).toBe("all wait");
    expect(names()).toEqual(expect.arrayContaining(held));
  });

  test("does not shorten the quarter of an hour after which a line that stands still is left", async () => {
    const { process, clock } = scene();
    await process()("account", one).enter(undefined);
    const begun = clock.now();
    clock.autoAdvance();
    expect(await process()("account", one).enter(undefined)).toBe(true);
    expect(clock.now() - begun).toBeGreaterThanOrEqual(15 * MINUTE);
    expect(clock.now() - begun).toBeLessThan(15 * MINUTE + 1_000);
  });

  test("costs a request on another machine nothing for longer than until its next sign", async () => {
    const { process, folder, signs, clock, names } = scene();
    await process(elsewhere())("account", one).enter(undefined);
    // Cleared away by somebody whose clock had jumped.
    for (const name of names()) unlinkSync(join(folder, name));
    for (const sign of signs) sign();
    const other = process()("account", one).enter(undefined);
    expect(await Promise.race([clock.asleep().then(() => "waits"), other])).toBe("waits");
  });
});

describe("a refusal", () => {
  test("makes all processes wait, also those that were not refused, and keeps the order", async () => {
    const { process, clock, told } = scene();
    const refused = process()("account", unknown);
    await refused.enter(undefined);
    refused.refused({ concurrency: false, retryAfter: 7_000 });
    const other = process()("account", unknown);
    const both = [other.enter(undefined), refused.enter(undefined)];
    await clock.asleep(2);
    expect(clock.sleeps).toEqual([7_000, 7_000]);
    expect(told[0]).toEqual({ for: "time", until: clock.now() + 7_000 });
    clock.advance(7_000);
    expect(await Promise.all(both)).toEqual([true, true]);
  });

  test("makes for a longer pause the next time, unless a request has gone well since", async () => {
    const { process, clock, names } = scene();
    const guard = process();
    const steps = () => names().flatMap((name) => /^pause-\d+-(\d+)$/.exec(name)?.[1] ?? []);
    const place = guard("account", unknown);
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
    const next = guard("account", unknown);
    await next.enter(undefined);
    next.refused({ concurrency: false, retryAfter: undefined });
    expect(steps()).toEqual(["0"]);
  });

  test("that asks for no wait at all makes for one nevertheless, which grows", async () => {
    const { process, clock } = scene();
    const guarded = process()("account", unknown);
    for (const place of [guarded, createFreePlace(clock)]) {
      clock.autoAdvance();
      await place.enter(undefined);
      const begun = clock.now();
      for (let times = 0; times < 4; times++) {
        place.refused({ concurrency: true, retryAfter: 0 });
        expect(await place.enter(undefined)).toBe(true);
      }
      expect(clock.now() - begun).toBeGreaterThanOrEqual(place === guarded ? 10_000 : 4_000);
    }
  });

  test("counts requests that have been under way for long", async () => {
    const { process, setTimes, signs, clock, names } = scene();
    const guard = process(elsewhere());
    for (let index = 0; index < 10; index++) await guard("account", unknown).enter(undefined);
    setTimes(clock.now() - 130_000);
    for (const sign of signs) sign();
    const late = guard("account", unknown);
    await late.enter(undefined);
    late.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-10-"))).toHaveLength(1);
  });

  test("teaches how many requests the account may have", async () => {
    const { process, clock, names } = scene();
    const guard = process();
    const places = Array.from({ length: 4 }, () => guard("account", unknown));
    for (const place of places) await place.enter(undefined);
    const [first, last] = [places[0], places[3]];
    last?.refused({ concurrency: true, retryAfter: undefined });
    expect(names().filter((name) => name.startsWith("learned-3-"))).toHaveLength(1);
    let entered = false;
    const again = last?.enter(undefined).then(() => {
      entered = true;
    });
    await clock.asleep();
    clock.advance(1_000);
    await clock.asleep();
    expect(entered).toBe(false);
    first?.release();
    clock.advance(250);
    await again;
    expect(entered).toBe(true);
  });
});

describe("where the folder cannot be used", () => {
  test("requests go without, and wait only for what they were asked themselves", async () => {
    const { path, process, clock } = scene();
    writeFileSync(join(path, "account"), "no folder");
    const place = process()("account", one);
    expect(await place.enter(undefined)).toBe(false);
    place.refused({ concurrency: false, retryAfter: 2_000 });
    clock.autoAdvance();
    expect(await place.enter(undefined)).toBe(true);
    expect(clock.sleeps).toEqual([2_000]);
    place.release();
  });

  test("also when it becomes unusable while a place is held", async () => {
    const { path, process } = scene();
    const guard = process();
    const place = guard("account", one);
    await place.enter(undefined);
    rmSync(join(path, "account"), { recursive: true });
    place.refused({ concurrency: true, retryAfter: 1 });
    place.release();
    // A new one is made.
    expect(await guard("account", one).enter(undefined)).toBe(false);
    expect(readdirSync(join(path, "account"))).toHaveLength(2);
  });
});
