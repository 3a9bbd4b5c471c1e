/** The guard over a real folder, with a clock that tests move. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createGuard, type Waiting } from "../../extensions/concurrency/guard.ts";
import { createLiveness } from "../../extensions/concurrency/liveness.ts";
import { createFakeClock } from "../support/fake-clock.ts";

function scene() {
  const path = mkdtempSync(join(tmpdir(), "guard-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const clock = createFakeClock(Date.now());
  const told: (Waiting | undefined)[] = [];
  const signs: (() => void)[] = [];
  /** A process of its own, as far as this module can tell. */
  const process = () =>
    createGuard({
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
  return { path, folder, clock, told, signs, process, names: () => readdirSync(folder) };
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
    const child = spawn("sleep", ["60"]);
    const { pid } = child;
    if (pid === undefined) throw new Error("no child");
    const id = createLiveness(pid).newId();
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

  test("are also those who gave no sign of life for two minutes", () => {
    const liveness = createLiveness();
    const own = liveness.newId();
    const elsewhere = `00000000${own.slice(8)}`;
    const now = Date.now();
    for (const id of [own, elsewhere]) {
      expect(liveness.judge(id, now - 119_000, now)).toBe("alive");
      expect(liveness.judge(id, now - 121_000, now)).toBe("silent");
      expect(liveness.judge(id, now - 86_500_000, now)).toBe("gone");
    }
  });

  test("a stopped holder is waited for no longer than two minutes", async () => {
    const { process, folder, clock } = scene();
    await process()("account", one).enter(undefined);
    const old = new Date(clock.now() - 121_000);
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), old, old);
    expect(await process()("account", one).enter(undefined)).toBe(false);
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
