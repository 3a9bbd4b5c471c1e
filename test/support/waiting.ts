/** Waiting on a condition that only another process can bring about, with a deadline and a reason. */
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks again every `intervalMs` until `ask` answers something else than undefined. Throws after `timeoutMs` with what
 * `describe` says then.
 */
export async function eventually<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  describe: () => Promise<string> | string,
  timeoutMs: number,
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
