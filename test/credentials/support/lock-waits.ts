/** How the code under test waits for a lock. Until the end of the test that asks. */
import { onTestFinished, vi } from "vitest";
import { type Clock, systemClock } from "../../../extensions/lib/clock.ts";

const { sleep } = systemClock;

/** Resolves once somebody has found a lock held `times` times, and waits to look again. The waits stay as they are. */
export function lockFoundHeld(times = 1): Promise<void> {
  return new Promise((resolve) => {
    let waits = 0;
    whenWaiting((...wait) => {
      if (++waits === times) resolve();
      return sleep(...wait);
    });
  });
}

/** The waits from now on, in ms; they take no time. */
export function skippedLockWaits(): number[] {
  const waits: number[] = [];
  whenWaiting(async (ms) => {
    waits.push(ms);
  });
  return waits;
}

function whenWaiting(then: Clock["sleep"]): void {
  const spy = vi.spyOn(systemClock, "sleep").mockImplementation(then);
  onTestFinished(() => spy.mockRestore());
}
