/**
 * Renews the login of one store: lock → re-read the owner's file → adopt what a peer wrote, or refresh → write the
 * owner's file → release. The only place from which a refresh token is ever presented.
 */
import type { Clock } from "../oauth/clock.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { FailureCause, RefreshOutcome } from "../oauth/token-endpoint.ts";
import { loadWriter } from "./file.ts";
import { fingerprint } from "./fingerprint.ts";
import { answerUnderOwnersLock, type LockFailure, takeOwnersLock } from "./owners-lock.ts";
import type { CredentialStore, Release, StoredLogin } from "./store.ts";

export interface RenewalParts {
  readonly store: CredentialStore;
  /** Presents a refresh token once; never throws, cannot be cancelled. */
  readonly refresh: (refreshToken: string) => Promise<RefreshOutcome>;
  readonly clock: Clock;
  /** Fingerprints of refresh tokens this process has seen refused: they are not presented again. */
  readonly refused: Set<string>;
}

export type Renewal =
  | { readonly state: "fresh"; readonly token: Token; readonly how: "adopted" | "refreshed" }
  /** Renewed, but the owner's file could not be written. The locks stay held until `retry` has succeeded. */
  | {
      readonly state: "unsaved";
      readonly token: Token;
      readonly code: string;
      readonly retry: () => Promise<boolean>;
    }
  /** The file holds no login. */
  | { readonly state: "gone"; readonly found: Exclude<StoredLogin, { state: "present" }> }
  /** The login is dead: its refresh token was refused and is still the one on disk. */
  | { readonly state: "refused" }
  | { readonly state: "failed"; readonly cause: RenewalFailure };

export type RenewalFailure = FailureCause | LockFailure;

/** How long to wait for other pi processes, ms: one that is renewing over a bad network takes this long at worst. */
const PI_WAIT = 60_000;
/** How often a waiting process looks at the file and the lock, ms. */
const LOOK_EVERY = 60;
/** Before the second and the third attempt, ms; the official clients' figures. */
const BACK_OFF = [1_000, 2_000];
/** Nobody waits longer than this for the next attempt, ms. */
const LONGEST_BACK_OFF = 5_000;
/** How long a peer gets to write the successor of a refresh token that was refused to us, ms. */
const REFUSAL_WAIT = [100, 400, 1_000];

/**
 * Brings the store's login to a token that needs no refresh, or one other than `rejected` (an access token that the
 * API answered 401 to). Sends at most one refresh at a time; never throws.
 */
export async function renew(parts: RenewalParts, rejected?: string): Promise<Renewal> {
  const { store, clock } = parts;
  const giveUpAt = clock.now() + PI_WAIT;
  for (;;) {
    const seen = look(parts, await store.read(), rejected);
    if ("settled" in seen) return seen.settled;
    const lock = await store.lockAmongPi(0);
    if (lock.state === "failed") {
      const again = look(parts, await store.read(), rejected); // its folder may just have gone with a logout
      return "settled" in again ? again.settled : failed({ kind: "lock", code: lock.code });
    }
    if (lock.state === "held") return renewLocked(parts, lock.release, rejected);
    if (clock.now() >= giveUpAt) return failed({ kind: "busy" });
    await clock.sleep(LOOK_EVERY);
  }
}

/** What the file says: the matter is settled, or `token` has to be refreshed. */
function look(
  { clock, refused }: RenewalParts,
  found: StoredLogin,
  rejected: string | undefined,
): { readonly settled: Renewal } | { readonly token: Token } {
  if (found.state !== "present") return { settled: { state: "gone", found } };
  const { token } = found;
  const now = clock.now();
  // After a rejection any other valid token will do: a peer has renewed already.
  const usable =
    rejected === undefined
      ? !needsRefresh(token, now)
      : token.accessToken !== rejected && isValid(token, now);
  if (usable) return { settled: { state: "fresh", token, how: "adopted" } };
  if (refused.has(fingerprint(token.refreshToken))) return { settled: { state: "refused" } };
  return { token };
}

async function renewLocked(parts: RenewalParts, releasePi: Release, rejected?: string): Promise<Renewal> {
  let keepLocks = false;
  let releaseOwner: Release | undefined;
  let lostAnswers = 0;
  try {
    for (let attempt = 0; ; attempt++) {
      const locking = takeOwnersLock(parts.store);
      loadWriter(); // beside the lock's own process: when the answer is there, nothing is left to load
      const lock = await locking;
      if ("failure" in lock) return failed(lock.failure);
      releaseOwner = lock.release;
      const seen = look(parts, await parts.store.read(), rejected);
      if ("settled" in seen) return seen.settled;

      const sent = parts.refresh(seen.token.refreshToken);
      const { outcome, release } = await answerUnderOwnersLock(parts, sent, lock.release);
      releaseOwner = release;
      if (outcome.state === "refreshed") {
        const saved = await save(parts, seen.token.refreshToken, outcome.token);
        keepLocks = saved.state === "unsaved";
        if (saved.state !== "unsaved") return saved;
        const unsaved = saved;
        return {
          ...unsaved,
          retry: async () => {
            const done = await unsaved.retry();
            if (done) {
              await release();
              await releasePi();
            }
            return done;
          },
        };
      }
      await release();
      if (outcome.state === "refused") {
        const judged = await judgeRefusal(parts, seen.token.refreshToken, rejected);
        if (judged) return judged;
        continue; // a peer wrote the successor, and that one is due as well
      }
      if (outcome.committed === "unknown") lostAnswers += 1;
      const pause = BACK_OFF[attempt];
      // One repeat after a lost answer is right: had the server not committed it works, had it the login is gone
      // either way. A second one could only hide which.
      if (pause === undefined || lostAnswers > 1) return failed(outcome.cause);
      const wait = Math.max(pause, outcome.retryAfter ?? 0);
      if (wait > LONGEST_BACK_OFF) return failed(outcome.cause); // asking sooner than we are told to is no use
      await parts.clock.sleep(wait);
    }
  } finally {
    if (!keepLocks) {
      await releaseOwner?.();
      await releasePi();
    }
  }
}

/** Quick repeats before a failed write is reported, ms. */
const SAVE_AGAIN = [50, 200];

async function save(
  { store, clock }: RenewalParts,
  replaces: string,
  token: Token,
): Promise<Extract<Renewal, { state: "fresh" | "unsaved" | "gone" }>> {
  const attempt = () => store.replace(replaces, token);
  let outcome = await attempt();
  for (const pause of SAVE_AGAIN) {
    if (outcome.state !== "failed") break;
    await clock.sleep(pause);
    outcome = await attempt();
  }
  switch (outcome.state) {
    case "written":
      return { state: "fresh", token, how: "refreshed" };
    case "superseded":
      // The owner logged out, or logged in anew, while we were asking: its word stands.
      return outcome.found.state === "present"
        ? { state: "fresh", token: outcome.found.token, how: "adopted" }
        : { state: "gone", found: outcome.found };
    case "failed":
      return {
        state: "unsaved",
        token,
        code: outcome.code,
        retry: async () => (await attempt()).state !== "failed",
      };
  }
}

/** Settles what a refusal means; undefined when another refresh token has appeared that may be presented. */
async function judgeRefusal(
  parts: RenewalParts,
  presented: string,
  rejected: string | undefined,
): Promise<Renewal | undefined> {
  for (const pause of REFUSAL_WAIT) {
    await parts.clock.sleep(pause);
    const found = await parts.store.read();
    if (found.state === "present" && found.token.refreshToken === presented) continue;
    const seen = look(parts, found, rejected);
    return "settled" in seen ? seen.settled : undefined;
  }
  parts.refused.add(fingerprint(presented));
  return { state: "refused" };
}

function failed(cause: RenewalFailure): Renewal {
  return { state: "failed", cause };
}
