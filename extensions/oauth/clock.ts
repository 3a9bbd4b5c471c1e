/** Time as everything that waits sees it, so that tests need not. */
export interface Clock {
  /** ms since the epoch. */
  readonly now: () => number;
  /** Resolves after `ms` (25 days at the most), or at once when `signal` fires. Never rejects. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** What a timer can hold, ms: with more it fires at once. */
const LONGEST = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: Date.now,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(ms, LONGEST));
      signal?.addEventListener("abort", wake);
    }),
};
