import { expect, it } from "vitest";
import { waitForLock } from "../../extensions/credentials/lock-wait.ts";
import type { LockOutcome } from "../../extensions/credentials/store.ts";

const BUSY: LockOutcome = { state: "busy" };

/** Tries that give these outcomes in turn, the last one from then on; how many there were. */
function outcomes(...list: LockOutcome[]) {
  let made = 0;
  return {
    made: () => made,
    attempt: () => list[Math.min(made++, list.length - 1)] ?? BUSY,
  };
}

it.each<LockOutcome>([
  { state: "failed", code: "EACCES" },
  { state: "held", release: async () => {} },
])("waits no longer where the lock is $state", async (outcome) => {
  const tries = outcomes(BUSY, BUSY, outcome, BUSY);
  expect(await waitForLock(10_000, tries.attempt)).toBe(outcome);
  expect(tries.made()).toBe(3);
});

it("tries once where there is no time", async () => {
  const tries = outcomes(BUSY);
  expect(await waitForLock(0, tries.attempt)).toEqual(BUSY);
  expect(tries.made()).toBe(1);
});

it("tries until the time is over, at first soon, later at most every 75 ms", async () => {
  const tries = outcomes(BUSY);
  const started = performance.now();
  expect(await waitForLock(600, tries.attempt)).toEqual(BUSY);
  expect(performance.now() - started).toBeGreaterThanOrEqual(595);
  // 10, 20, 40, 80 and 150 ms apart, each by half at the least.
  expect(tries.made()).toBeGreaterThanOrEqual(5);
  expect(tries.made()).toBeLessThanOrEqual(13);
});

it("throws what a try throws", async () => {
  const broken = () => Promise.reject(new Error("broken"));
  await expect(waitForLock(10_000, broken)).rejects.toThrow("broken");
});
