/** Time as everything that waits sees it, so that tests need not. */
export interface Clock {
  /** ms since the epoch. */
  readonly now: () => number;
  /** Resolves after `ms` in which this process was awake, or at once when `signal` fires. Never rejects. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        stop();
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const stop = afterAwake(ms, wake);
      signal?.addEventListener("abort", wake);
    }),
};

/** What is counted at once, ms. */
const SLICE = 1_000;

/**
 * Calls `then` after `ms` in which this process was awake; returns what ends the waiting. A timer that fires after the
 * machine slept, or the process was stopped, says nothing: the answer may lie in the socket, and Node runs timers
 * before it reads sockets. So what passes in a slice counts as that slice at the most, and a late last one is followed
 * by another. `unref`: the waiting does not keep the process alive.
 */
export function afterAwake(ms: number, then: () => void, { unref = false } = {}): () => void {
  let left = ms;
  let timer: NodeJS.Timeout;
  const next = () => {
    const slice = Math.min(left, SLICE);
    const due = performance.now() + slice;
    timer = setTimeout(() => {
      left -= slice;
      if (left <= 0 && performance.now() - due > SLICE) left = SLICE;
      if (left > 0) next();
      else then();
    }, slice);
    if (unref) timer.unref();
  };
  next();
  return () => clearTimeout(timer);
}

/** RFC 9110 §10.2.3, the form in seconds; returns ms. */
export function readRetryAfter(value: string | null): number | undefined {
  return value !== null && /^\d{1,6}$/.test(value.trim()) ? Number(value) * 1000 : undefined;
}
