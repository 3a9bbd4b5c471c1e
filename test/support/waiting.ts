/** Waiting on a condition that only another process can bring about, with a deadline and a reason. */
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";

/**
 * How long to wait for what comes at once on an idle machine, ms: several times what a machine needs that is five times
 * slower and starts other programs meanwhile. Only a test that fails waits that long.
 */
export const PATIENCE = 60_000;

/**
 * Asks again every `intervalMs` until `ask` answers something else than undefined. Throws after `timeoutMs` with what
 * `describe` says then.
 */
export async function eventually<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  describe: () => Promise<string> | string,
  timeoutMs = PATIENCE,
  intervalMs = 30,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() >= deadline) throw new Error(`after ${timeoutMs} ms: ${await describe()}`);
    await pause(intervalMs);
  }
}
