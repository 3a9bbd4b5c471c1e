import { getEventListeners } from "node:events";
import { afterEach, expect, it, vi } from "vitest";
import { withinTime } from "../../extensions/oauth/bounds.ts";

afterEach(() => {
  vi.useRealTimers();
});

it("leaves nothing on the signal it was given, nor a timer, when the work is done or has failed", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const outer = new AbortController();
  const during: number[] = [];
  const work = async () => during.push(getEventListeners(outer.signal, "abort").length, vi.getTimerCount());
  await withinTime(5_000, outer.signal, work);
  const failing = async () => Promise.reject(new Error("refused"));
  await expect(withinTime(5_000, outer.signal, failing)).rejects.toThrow("refused");
  expect(during).toEqual([1, 1]);
  expect([getEventListeners(outer.signal, "abort").length, vi.getTimerCount()]).toEqual([0, 0]);
});
