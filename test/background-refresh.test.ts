import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  createBackgroundRefresh,
  isCheckDue,
  type Ticks,
  type Timer,
} from "../extensions/background-refresh.ts";

const NOW = Date.UTC(2026, 10, 20);

describe("isCheckDue", () => {
  /** Ages in ms; `left` of the access token. */
  const ticks = (sinceTick: number, sinceCheck: number, left?: number): Ticks => ({
    now: NOW,
    lastTick: NOW - sinceTick,
    lastCheck: NOW - sinceCheck,
    expiresAt: left === undefined ? undefined : NOW + left,
  });

  it.each([
    ["nothing has happened", ticks(30_000, 30_000), false],
    ["the last check is nearly ten minutes ago", ticks(30_000, 599_999), false],
    ["the last check is ten minutes ago", ticks(30_000, 600_000), true],
    ["the last check is longer ago", ticks(30_000, 600_001), true],
    ["the tick is nearly two minutes late", ticks(119_999, 119_999), false],
    ["the tick is two minutes late: the machine has slept", ticks(120_000, 120_000), true],
    ["the clock stands still", ticks(0, 0), false],
    ["the clock was set back", ticks(-1, 30_000), true],
    ["the clock was set back far", ticks(-86_400_000, -86_400_000), true],
    ["the token lasts 90 s", ticks(30_000, 120_000, 90_000), false],
    ["the token lasts less than 90 s", ticks(30_000, 120_000, 89_999), true],
    ["the token has ended", ticks(30_000, 120_000, -1), true],
    ["the token is ending but was looked at", ticks(30_000, 119_999, 89_999), false],
    ["the token has ended but was looked at", ticks(30_000, 119_999, -1), false],
    ["the token lasts", ticks(30_000, 599_999, 900_000), false],
  ])("when %s: %#", (_name, at, due) => {
    expect(isCheckDue(at)).toBe(due);
  });
});

describe("the background refresh", () => {
  /** A timer the test fires, and a clock it moves. */
  function setUp(expiresAt: () => number | undefined = () => undefined) {
    let now = NOW;
    const running = new Set<() => void>();
    const periods: number[] = [];
    const checks: number[] = [];
    const timer: Timer = {
      every: (ms, tick) => {
        periods.push(ms);
        running.add(tick);
        return () => running.delete(tick);
      },
    };
    const refresh = createBackgroundRefresh(
      () => checks.push(now - NOW),
      expiresAt,
      () => now,
      timer,
    );
    const pass = (ms: number) => {
      now += ms;
      for (const tick of [...running]) tick();
    };
    return { refresh, running, periods, checks, pass };
  }

  it("checks at once, and every ten minutes from then on", () => {
    const { refresh, periods, checks, pass } = setUp();
    refresh.start();
    for (let tick = 0; tick < 60; tick++) pass(30_000);
    expect(periods).toEqual([30_000]);
    expect(checks).toEqual([0, 600_000, 1_200_000, 1_800_000]);
  });

  it("checks as soon as the machine wakes, and then at its pace again", () => {
    const { refresh, checks, pass } = setUp();
    refresh.start();
    pass(30_000);
    pass(28_800_000);
    pass(30_000);
    expect(checks).toEqual([0, 28_830_000]);
  });

  it("is not silenced by a clock that is set back", () => {
    const { refresh, checks, pass } = setUp();
    refresh.start();
    pass(-86_400_000);
    pass(30_000);
    expect(checks).toEqual([0, -86_400_000]);
  });

  it("does not leave a token that ends to the next check, nor storm where the network is away", () => {
    const { refresh, checks, pass } = setUp(() => NOW + 300_000);
    refresh.start();
    for (let tick = 0; tick < 20; tick++) pass(30_000);
    expect(checks).toEqual([0, 240_000, 360_000, 480_000, 600_000]);
  });

  it("has one timer, however often it is started, and none when it is stopped", () => {
    const { refresh, running, checks } = setUp();
    refresh.start();
    refresh.start();
    expect(running.size).toBe(1);
    expect(checks).toEqual([0, 0]);
    refresh.stop();
    refresh.stop();
    expect(running.size).toBe(0);
    refresh.start();
    expect(running.size).toBe(1);
  });

  it("does not keep the process alive", () => {
    const module = new URL("../extensions/background-refresh.ts", import.meta.url).href;
    const jiti = fileURLToPath(new URL("../node_modules/jiti/lib/jiti.cjs", import.meta.url));
    const script = `
      const { createJiti } = require(${JSON.stringify(jiti)});
      createJiti(${JSON.stringify(module)}).import(${JSON.stringify(module)}).then(({ createBackgroundRefresh }) => {
        createBackgroundRefresh(() => console.log("checked"), () => undefined, Date.now).start();
      });`;
    expect(execFileSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: 20_000 })).toBe(
      "checked\n",
    );
  });
});
