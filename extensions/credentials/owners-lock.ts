/**
 * How the lock of the program that owns a login is used: waited for, and held no longer than that program tolerates.
 */
import type { Clock } from "../oauth/clock.ts";
import type { RefreshOutcome } from "../oauth/token-endpoint.ts";
import type { CredentialStore, LockOutcome, Release } from "./store.ts";

export type LockFailure =
  /** Another program held the lock all the time we were ready to wait. */
  | { readonly kind: "busy" }
  /** The lock cannot be taken here. */
  | { readonly kind: "lock"; readonly code: string };

/** kimi-cli holds its lock through its whole token call; longer than any that succeeds, ms. */
const OWNER_WAIT = 30_000;
/** What writing the answer may take of the time for which the owner tolerates its lock being held, ms. */
const WRITE_MARGIN = 700;
/** How long to wait for the owner's lock once more, to write an answer that came late, ms. */
const LATE_WRITE_WAIT = 2_000;

/** Waits for the owner to finish what it is doing with the login. */
export async function takeOwnersLock(
  store: CredentialStore,
): Promise<{ readonly release: Release } | { readonly failure: LockFailure }> {
  const lock: LockOutcome = await store.lockOfOwner(OWNER_WAIT);
  if (lock.state === "held") return { release: lock.release };
  if (lock.state === "busy") return { failure: { kind: "busy" } };
  // Where the owner's lock cannot be had at all (Windows), reading before and after is the best there is.
  if (lock.code === "ENOTSUP") return { release: async () => {} };
  return { failure: { kind: "lock", code: lock.code } };
}

/**
 * Waits for the answer, but keeps the owner's lock no longer than the owner tolerates: kimi-cli goes on without it
 * after five seconds or more, so then it is given back while the answer is still under way, and taken again for the
 * write if it can be had. Other pi processes stay excluded.
 */
export async function answerUnderOwnersLock(
  { store, clock }: { readonly store: CredentialStore; readonly clock: Clock },
  sent: Promise<RefreshOutcome>,
  release: Release,
): Promise<{ readonly outcome: RefreshOutcome; readonly release: Release }> {
  const limit = store.ownerLockLimit;
  if (limit === undefined) return { outcome: await sent, release };
  const answered = new AbortController();
  const inTime = await Promise.race([sent, clock.sleep(limit - WRITE_MARGIN, answered.signal)]);
  answered.abort();
  if (inTime) return { outcome: inTime, release };
  await release();
  const outcome = await sent;
  const again = await store.lockOfOwner(LATE_WRITE_WAIT);
  return { outcome, release: again.state === "held" ? again.release : release };
}
