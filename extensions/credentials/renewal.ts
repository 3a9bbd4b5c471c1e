/**
 * Renews the login of one store: lock → re-read the owner's file → adopt what a peer wrote, or refresh → write the
 * owner's file → release. The only place from which a refresh token is ever presented.
 */
import type { Clock } from "../oauth/clock.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { FailureCause, RefreshOutcome } from "../oauth/token-endpoint.ts";
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
  /** Fires when the session ends: nothing is presented any more, and no wait goes on. */
  readonly leaving: AbortSignal;
  /** A renewed token that could not be written: while the file holds what it `replaces`, it goes there first. */
  readonly successor?: { readonly replaces: string; readonly token: Token } | undefined;
}

export type Renewal =
  | { readonly state: "fresh"; readonly token: Token; readonly how: "adopted" | "refreshed" }
  /** Renewed, but the owner's file could not be written. The locks stay held until `retry` has succeeded. */
  | {
      readonly state: "unsaved";
      readonly token: Token;
      /** The fingerprint of the refresh token that the file still holds. */
      readonly replaces: string;
      readonly code: string;
      readonly retry: () => Promise<boolean>;
      /** Lets go of the locks without having written. */
      readonly release: Release;
    }
  /** The file holds no login. */
  | { readonly state: "gone"; readonly found: Exclude<StoredLogin, { state: "present" }> }
  /** The login is dead: its refresh token was refused and is still the one on disk. */
  | { readonly state: "refused" }
  | { readonly state: "failed"; readonly cause: RenewalFailure };

export type RenewalFailure =
  | FailureCause
  | LockFailure
  /** The file cannot be written; `code` is the system's. */
  | { readonly kind: "write"; readonly code: string };

/** The session ended before anything was sent. */
const LEFT: RenewalFailure = { kind: "network", code: "ABORT_ERR" };

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
  const { store, clock, leaving } = parts;
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
    if (leaving.aborted) return failed(LEFT);
    if (clock.now() >= giveUpAt) return failed({ kind: "busy" });
    await clock.sleep(LOOK_EVERY, leaving);
  }
}

/** What the file says: the matter is settled, or `token` has to be refreshed, or replaced by its successor. */
function look(
  parts: RenewalParts,
  found: StoredLogin,
  rejected: string | undefined,
): { readonly settled: Renewal } | { readonly token: Token; readonly successor?: Token } {
  if (found.state !== "present") return { settled: { state: "gone", found } };
  const { token } = found;
  const { refused, successor } = parts;
  if (successor && successor.replaces === fingerprint(token.refreshToken)) {
    return { token, successor: successor.token };
  }
  if (isUsable(parts, token, rejected)) return { settled: { state: "fresh", token, how: "adopted" } };
  if (refused.has(fingerprint(token.refreshToken))) return { settled: { state: "refused" } };
  return { token };
}

/** After a rejection any other valid token will do: a peer has renewed already. */
function isUsable({ clock }: RenewalParts, token: Token, rejected: string | undefined): boolean {
  const now = clock.now();
  return rejected === undefined
    ? !needsRefresh(token, now)
    : token.accessToken !== rejected && isValid(token, now);
}

async function renewLocked(parts: RenewalParts, releasePi: Release, rejected?: string): Promise<Renewal> {
  const { store, leaving } = parts;
  let keepLocks = false;
  let releaseOwner: Release | undefined;
  let lostAnswers = 0;

  /** Writes `token`; where that fails both locks stay held, so that nobody presents what is used up. */
  async function write(replaces: string, token: Token, release: Release): Promise<Renewal> {
    const saved = await save(parts, replaces, token);
    if (saved.state !== "failed") return saved;
    keepLocks = true;
    const releaseBoth = async () => {
      await release();
      await releasePi();
    };
    return {
      state: "unsaved",
      token,
      replaces: fingerprint(replaces),
      code: saved.code,
      release: releaseBoth,
      async retry() {
        const again = await store.replace(replaces, token);
        if (again.state !== "failed") await releaseBoth();
        return again.state !== "failed";
      },
    };
  }

  try {
    for (let attempt = 0; ; attempt++) {
      if (leaving.aborted) return failed(LEFT);
      const [lock, rehearsed] = await Promise.all([takeOwnersLock(store), store.rehearse()]);
      if ("failure" in lock) return failed(lock.failure);
      releaseOwner = lock.release;
      const seen = look(parts, await store.read(), rejected);
      if ("settled" in seen) return seen.settled;
      const { refreshToken } = seen.token;
      if (seen.successor) {
        const written = await write(refreshToken, seen.successor, lock.release);
        if (written.state !== "fresh" || isUsable(parts, written.token, rejected)) return written;
        await lock.release();
        continue; // it is due as well
      }
      // What could not be written afterwards is not asked for.
      if (rehearsed.state === "failed") return failed({ kind: "write", code: rehearsed.code });
      if (leaving.aborted) return failed(LEFT);

      const sent = parts.refresh(refreshToken);
      const { outcome, release } = await answerUnderOwnersLock(parts, sent, lock.release);
      releaseOwner = release;
      if (outcome.state === "refreshed") return await write(refreshToken, outcome.token, release);
      await release();
      if (outcome.state === "refused") {
        const judged = await judgeRefusal(parts, refreshToken, rejected);
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
      await parts.clock.sleep(wait, leaving);
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
): Promise<
  Extract<Renewal, { state: "fresh" | "gone" }> | { readonly state: "failed"; readonly code: string }
> {
  let outcome = await store.replace(replaces, token);
  for (const pause of SAVE_AGAIN) {
    if (outcome.state !== "failed") break;
    await clock.sleep(pause);
    outcome = await store.replace(replaces, token);
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
      return outcome;
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
