/**
 * Waiting for a lock of which nobody tells when it gets free: it is looked at again and again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { LockOutcome } from "./store.ts";

/** Between two looks at a lock that somebody holds, ms; doubles from the one to the other. */
const SHORTEST_PAUSE = 10;
const LONGEST_PAUSE = 150;

/** Makes `attempt` until it is not told "busy" or `timeout` ms are over; at least once. Throws what `attempt` throws. */
export async function waitForLock(
  timeout: number,
  attempt: () => LockOutcome | Promise<LockOutcome>,
): Promise<LockOutcome> {
  const giveUpAt = performance.now() + timeout;
  for (let pause = SHORTEST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    const outcome = await attempt();
    const left = giveUpAt - performance.now();
    if (outcome.state !== "busy" || left <= 0) return outcome;
    await sleep(Math.min(left, pause * (0.5 + Math.random() / 2)));
  }
}
