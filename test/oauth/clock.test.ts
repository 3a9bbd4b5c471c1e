import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../extensions/oauth/clock.ts";

describe("the system's clock", () => {
  it("tells the time", () => {
    const before = Date.now();
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
  });

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
