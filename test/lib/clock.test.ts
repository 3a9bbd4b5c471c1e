import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { afterAwake, systemClock } from "../../extensions/lib/clock.ts";
import { startNode } from "../credentials/support/processes.ts";

describe("the system's clock", () => {
  it("sleeps for the time given and leaves no listener behind", async () => {
    const { signal } = new AbortController();
    const start = performance.now();
    await systemClock.sleep(20, signal);
    expect(performance.now() - start).toBeGreaterThanOrEqual(18);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("wakes at once when the signal fires, and leaves no timer behind", async () => {
    const stop = new AbortController();
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    const asleep = systemClock.sleep(1_000_000, stop.signal);
    expect(timers()).toBe(before + 1);
    stop.abort();
    await asleep;
    expect(timers()).toBe(before);
    expect(getEventListeners(stop.signal, "abort")).toHaveLength(0);
  });

  it("does not wake at once from a sleep that is longer than a timer can hold", async () => {
    const stop = new AbortController();
    const asleep = systemClock.sleep(366 * 86_400_000, stop.signal).then(() => "awake");
    expect(await Promise.race([asleep, systemClock.sleep(30)])).toBeUndefined();
    stop.abort();
    expect(await asleep).toBe("awake");
  });

  it("does not fall asleep when the signal has fired before", async () => {
    await systemClock.sleep(1_000_000, AbortSignal.abort());
  });
});

describe("time awake", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  /** A time of `ms` awake; `asleep` is what passes unseen before a timer fires, ms: the machine sleeps. */
  function start(ms: number) {
    let time = 0;
    let over = false;
    vi.spyOn(performance, "now").mockImplementation(() => time);
    const stop = afterAwake(ms, () => {
      over = true;
    });
    const pass = (awake: number, asleep = 0) => {
      time += awake + asleep;
      vi.advanceTimersByTime(awake);
      return over;
    };
    return { pass, stop };
  }

  it.each([1, 1_000, 2_500])("is over after %i ms without a sleep, and not before", (ms) => {
    const { pass } = start(ms);
    expect([pass(ms - 1), pass(1)]).toEqual([false, true]);
  });

  it("counts an hour asleep as the second in which it began", () => {
    const { pass } = start(5_000);
    pass(1_000);
    pass(1_000, 3_600_000);
    for (let s = 0; s < 2; s++) expect(pass(1_000)).toBe(false);
    expect(pass(1_000)).toBe(true);
  });

  it("ends for good where it is told to, in whichever slice", () => {
    const { pass, stop } = start(5_000);
    pass(2_500);
    stop();
    expect(pass(10_000)).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it("is not passed by a process that was stopped, and what has come meanwhile is heard first", async () => {
  const peer = startNode("wait-awake.ts", ["800"]);
  expect(await peer.says()).toBe("waiting");
  peer.signal("SIGSTOP");
  peer.tell("the answer");
  await systemClock.sleep(2_500);
  peer.signal("SIGCONT");
  expect(await peer.rest()).toEqual(["heard: the answer"]);
});
