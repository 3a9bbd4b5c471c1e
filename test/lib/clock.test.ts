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

  /** What passes unseen before a timer fires, ms: the machine sleeps, or the process is stopped. */
  function lateBy(late: () => number) {
    let time = 0;
    vi.spyOn(performance, "now").mockImplementation(() => time);
    return (ms: number) => {
      time += ms + late();
      vi.advanceTimersByTime(ms);
    };
  }

  it.each([1, 1_000, 2_500])("is over after %i ms without a sleep, and not before", (ms) => {
    const pass = lateBy(() => 0);
    let over = false;
    afterAwake(ms, () => {
      over = true;
    });
    pass(ms - 1);
    expect(over).toBe(false);
    pass(1);
    expect(over).toBe(true);
  });

  it("counts an hour asleep as the second in which it began", () => {
    let asleep = 0;
    const pass = lateBy(() => asleep);
    let over = false;
    afterAwake(5_000, () => {
      over = true;
    });
    pass(1_000);
    asleep = 3_600_000;
    pass(1_000);
    asleep = 0;
    for (let s = 0; s < 2; s++) pass(1_000);
    expect(over).toBe(false);
    pass(1_000);
    expect(over).toBe(true);
  });

  it("gives who slept through the end another second, in which what has come meanwhile is read", () => {
    let asleep = 3_600_000;
    const pass = lateBy(() => asleep);
    let over = false;
    afterAwake(10, () => {
      over = true;
    });
    pass(10);
    asleep = 0;
    pass(999);
    expect(over).toBe(false);
    pass(1);
    expect(over).toBe(true);
  });

  it("ends for good where it is told to, in whichever slice", () => {
    const pass = lateBy(() => 0);
    const then = vi.fn();
    const stop = afterAwake(5_000, then);
    pass(2_500);
    stop();
    pass(10_000);
    expect(then).not.toHaveBeenCalled();
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
