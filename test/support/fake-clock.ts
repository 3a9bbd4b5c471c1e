/** A clock that stands still until a test moves it, so that nothing that waits takes real time. */
import type { Clock } from "../../extensions/lib/clock.ts";

export interface FakeClock extends Clock {
  /** Moves time forward and wakes, in order, everybody whose time has come. */
  readonly advance: (ms: number) => void;
  /** From now on a sleep moves time itself and ends at once (until called with false). */
  readonly autoAdvance: (on?: boolean) => void;
  /** What every sleep so far was asked for, ms, in order. */
  readonly sleeps: readonly number[];
  /** How many are asleep now. */
  readonly sleeping: () => number;
  /** In how many ms the next of them wakes. */
  readonly next: () => number | undefined;
  /** Resolves as soon as at least `count` are asleep. */
  readonly asleep: (count?: number) => Promise<void>;
}

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

/** `start` in ms since the epoch. */
export function createFakeClock(start = Date.UTC(2026, 10, 20)): FakeClock {
  let time = start;
  let auto = false;
  const sleeps: number[] = [];
  const sleepers = new Set<Sleeper>();
  const watchers = new Set<() => void>();

  const advance = (ms: number): void => {
    time += ms;
    const due = [...sleepers].filter(({ until }) => until <= time).sort((a, b) => a.until - b.until);
    for (const { wake } of due) wake();
  };

  return {
    now: () => time,
    sleep: (ms, signal) => {
      sleeps.push(ms);
      if (signal?.aborted) return Promise.resolve();
      if (auto) {
        advance(ms);
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        const wake = () => {
          sleepers.delete(sleeper);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper: Sleeper = { until: time + ms, wake };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", wake);
        for (const look of [...watchers]) look();
      });
    },
    advance,
    autoAdvance: (on = true) => {
      auto = on;
    },
    sleeps,
    sleeping: () => sleepers.size,
    next: () =>
      sleepers.size === 0
        ? undefined
        : Math.max(0, Math.min(...[...sleepers].map((one) => one.until)) - time),
    asleep: (count = 1) =>
      new Promise((resolve) => {
        const look = () => {
          if (sleepers.size < count) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      }),
  };
}
