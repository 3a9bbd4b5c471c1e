/** The timer that keeps the login alive while a session lives. */

/** How often the login is looked at, ms. */
const CHECK_EVERY = 600_000;
/** How often the clock is looked at, ms: a laptop that slept is noticed this soon after it woke. */
const TICK = 30_000;
/** A tick this late means that the machine slept, ms. */
const LATE = 120_000;
/** An access token that ends before this is not left to the next check, ms. */
const ENDING = 90_000;
/** … but looked at again only after this, ms, in case the network is away. */
const ENDING_AGAIN = 120_000;

export interface Ticks {
  readonly now: number;
  readonly lastTick: number;
  readonly lastCheck: number;
  /** When the access token in hand ends, ms since the epoch. */
  readonly expiresAt: number | undefined;
}

/** Whether a tick has to look at the login. All in ms since the epoch. */
export function isCheckDue({ now, lastTick, lastCheck, expiresAt }: Ticks): boolean {
  // A clock that was set back would otherwise silence the timer.
  if (now - lastCheck >= CHECK_EVERY || now - lastTick >= LATE || now < lastTick) return true;
  return expiresAt !== undefined && expiresAt - now < ENDING && now - lastCheck >= ENDING_AGAIN;
}

export interface Timer {
  /** Calls `tick` every `ms` without keeping the process alive; returns what stops it. */
  readonly every: (ms: number, tick: () => void) => () => void;
}

export const systemTimer: Timer = {
  every: (ms, tick) => {
    const timer = setInterval(tick, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** One timer, however often it is started. `check` must not throw. */
export function createBackgroundRefresh(
  check: () => void,
  expiresAt: () => number | undefined,
  now: () => number,
  timer: Timer = systemTimer,
) {
  let stop: (() => void) | undefined;
  return {
    /** Checks at once, and from then on. */
    start(): void {
      stop?.();
      let lastTick = now();
      let lastCheck = lastTick;
      check();
      stop = timer.every(TICK, () => {
        const due = isCheckDue({ now: now(), lastTick, lastCheck, expiresAt: expiresAt() });
        lastTick = now();
        if (!due) return;
        lastCheck = lastTick;
        check();
      });
    },
    stop(): void {
      stop?.();
      stop = undefined;
    },
  };
}
