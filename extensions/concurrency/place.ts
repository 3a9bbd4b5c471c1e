/** A request's place among the requests of an account, as its sender sees it. */
import type { Clock } from "../oauth/clock.ts";
import { LONGEST_SHARED_WAIT, type Refusal } from "./notes.ts";

export interface Place {
  /**
   * Resolves when the request may be sent; with true if it had to wait. Resolves soon after `signal` fires, without a
   * place. Without effect while the place is held. Never rejects.
   */
  readonly enter: (signal: AbortSignal | undefined) => Promise<boolean>;
  /** The service refused the request: the place is given up, and the next `enter` waits. Never throws. */
  readonly refused: (refusal: Refusal) => void;
  /** The request went well. Never throws. */
  readonly served: () => void;
  /** To be called at the end, whatever happened; a second time without effect. Never throws. */
  readonly release: () => void;
}

/** Without anybody else: `enter` waits only for what the service asked this very request. */
export function createFreePlace(clock: Clock): Place {
  let until = 0;
  return {
    async enter(signal) {
      const ms = until - clock.now();
      until = 0;
      if (ms <= 0) return false;
      await clock.sleep(ms, signal);
      return true;
    },
    refused({ retryAfter = WITHOUT_WORD }) {
      if (retryAfter <= LONGEST_SHARED_WAIT) until = clock.now() + Math.max(SHORTEST, retryAfter);
    },
    served() {},
    release() {},
  };
}

/** How long to wait where the service does not say, ms. */
const WITHOUT_WORD = 5_000;
/** … and the least it may ask for, ms. */
const SHORTEST = 1_000;
