/**
 * Renews the login of one store, and is the only place from which a refresh token is ever presented: lock among pi →
 * owner's lock → read → adopt what a peer wrote, or reserve room and refresh → write → release.
 */
import type { Clock } from "../lib/clock.ts";
import { fingerprint } from "../lib/safe-text.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { Failure, RefreshOutcome } from "../oauth/token-endpoint.ts";
import type { InFlight, Renewal, RenewalFailure } from "./in-flight.ts";
import { takeLocks } from "./locks.ts";
import type { CredentialStore, StoredLogin } from "./store.ts";
import { reserveSuccessor, type Successor } from "./successor.ts";

export interface RenewalParts {
  readonly store: CredentialStore;
  /** Presents a refresh token once; never throws. `signal` fires when the process has waited long enough for it. */
  readonly refresh: (refreshToken: string, signal: AbortSignal) => Promise<RefreshOutcome>;
  readonly clock: Clock;
  readonly inFlight: InFlight;
  /** In place of the real ones, where a process is only simulated. */
  readonly steps?: Partial<RenewalSteps> | undefined;
}

/** What a renewal does to the file and its locks. */
export interface RenewalSteps {
  readonly takeLocks: typeof takeLocks;
  readonly reserveSuccessor: typeof reserveSuccessor;
}

const REAL: RenewalSteps = { takeLocks, reserveSuccessor };

/** How long to wait for each lock, ms; kimi-cli holds its own through a whole token call. */
const LOCK_WAIT = 60_000;
/** Before the second and the third attempt, ms; the official clients' figures. */
const BACK_OFF = [1_000, 2_000];
/** Longest wait for the next attempt, in ms. */
const LONGEST_BACK_OFF = 5_000;
/** How long a refresh token is not presented again after its attempts have failed, ms. */
const REST = 30_000;
/** How long a peer gets to write the successor of a refresh token that was refused to us, ms. */
const REFUSAL_WAIT = [100, 400, 1_000];
/** Quick repeats before a failed write is reported, ms. */
const WRITE_AGAIN = [50, 200];
/** Between two later attempts to write, ms. */
const WRITE_LATER = [1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * Brings the store's login to a token that needs no refresh, or one other than `rejected` (an access token that the
 * API answered 401 to). Sends one refresh at a time. A lost answer is asked for once more: had the server not committed
 * it works, had it the login is gone either way. Never throws.
 */
export async function renew(parts: RenewalParts, rejected?: string): Promise<Renewal> {
  const { clock, inFlight } = parts;
  const { leaving } = inFlight;
  let isLost = false;
  for (let attempt = 0; ; attempt++) {
    const result = await renewOnce(parts, rejected, leaving, { backOff: BACK_OFF[attempt], isLost });
    if ("state" in result) return result;
    isLost ||= result.isLost;
    // Without the locks: kimi-cli would lose patience, and present the same refresh token as we then do.
    await clock.sleep(result.again, leaving);
  }
}

/** What decides whether an attempt that fails has a successor. */
interface Attempt {
  /** Until the next attempt, ms; undefined in the last. */
  readonly backOff: number | undefined;
  /** The answer to an earlier one was lost. */
  readonly isLost: boolean;
}

/** One attempt, under the locks; `again`: ms until the next one. */
async function renewOnce(
  parts: RenewalParts,
  rejected: string | undefined,
  leaving: AbortSignal,
  { backOff, isLost }: Attempt,
): Promise<Renewal | { readonly again: number; readonly isLost: boolean }> {
  const { store, inFlight } = parts;
  const steps = { ...REAL, ...parts.steps };
  const locking = await steps.takeLocks(store, { timeout: LOCK_WAIT, signal: leaving });
  if (locking.state === "failed") {
    // Its folder may just have gone with a logout.
    const found = await store.read();
    if (found.state !== "present") return { state: "gone", found };
    return failed(leaving.aborted ? { kind: "leaving" } : locking.failure);
  }
  let release = locking.release;
  let successor: Successor | undefined;
  try {
    for (;;) {
      const found = await store.read();
      const settled = settle(parts, found, rejected);
      if ("renewal" in settled) return settled.renewal;
      if (leaving.aborted) return failed({ kind: "leaving" });
      if (!successor) {
        const reservation = await steps.reserveSuccessor(store);
        if (reservation.state === "failed") return failed({ kind: "write", code: reservation.code });
        successor = reservation.successor;
        continue; // the disk took its time
      }
      const { refreshToken } = settled.token;
      const exchange = exchangeFor(parts, refreshToken, successor);
      const { outcome, written } = await inFlight.protect(exchange);
      switch (outcome.state) {
        case "refreshed":
          if (written.state === "failed") {
            // The used-up token must not be presented again: locks and room are kept until its successor is written.
            keepWriting(
              parts,
              { token: outcome.token, replaces: refreshToken, code: written.code },
              successor,
              release,
            );
            successor = undefined;
            release = async () => {};
          }
          if (written.state !== "superseded") return { state: "fresh", token: outcome.token };
          // The owner logged out, or in again, while we were asking: its word stands.
          return written.found.state === "present"
            ? { state: "fresh", token: written.found.token }
            : { state: "gone", found: written.found };
        case "refused": {
          const judged = await judgeRefusal(parts, refreshToken, rejected);
          if (judged) return judged;
          continue; // a peer wrote the successor, and that one is due as well
        }
        case "failed": {
          const wait = Math.max(backOff ?? 0, outcome.retryAfter ?? 0);
          const isLostNow = outcome.committed === "unknown";
          if (backOff !== undefined && wait <= LONGEST_BACK_OFF && !(isLost && isLostNow))
            return { again: wait, isLost: isLostNow };
          letRest(parts, refreshToken, outcome);
          return failed(outcome.cause);
        }
      }
    }
  } finally {
    successor?.discard();
    await release();
  }
}

/** What the file says: the matter is settled, or `token` has to be refreshed. */
function settle(
  { clock, inFlight }: RenewalParts,
  found: StoredLogin,
  rejected: string | undefined,
): { readonly renewal: Renewal } | { readonly token: Token } {
  if (found.state !== "present") return { renewal: { state: "gone", found } };
  const { token } = found;
  const now = clock.now();
  // After a rejection any other valid token will do: a peer has renewed already.
  const isUsable =
    rejected === undefined
      ? !needsRefresh(token, now)
      : token.accessToken !== rejected && isValid(token, now);
  if (isUsable) return { renewal: { state: "fresh", token } };
  const before = inFlight.presented.get(fingerprint(token.refreshToken));
  if (before?.state === "refused") return { renewal: before };
  // A clock that was set back ends the rest.
  if (before && now >= before.since && now < before.since + REST) return { renewal: failed(before.cause) };
  return { token };
}

interface Exchange {
  readonly outcome: RefreshOutcome;
  readonly written: Awaited<ReturnType<Successor["write"]>>;
}

/** Presents the refresh token, and writes what comes back before anybody uses it. */
async function exchangeFor(
  { refresh, clock, inFlight }: RenewalParts,
  refreshToken: string,
  successor: Successor,
): Promise<Exchange> {
  const outcome = await refresh(refreshToken, inFlight.givenUp);
  if (outcome.state !== "refreshed") return { outcome, written: { state: "written" } };
  let written = await successor.write(refreshToken, outcome.token);
  for (const pause of WRITE_AGAIN) {
    if (written.state !== "failed") break;
    await clock.sleep(pause);
    written = await successor.write(refreshToken, outcome.token);
  }
  return { outcome, written };
}

/** Goes on writing, through /new and /reload, until the file holds the token or another login. */
function keepWriting(
  { store, clock, inFlight }: RenewalParts,
  unsaved: { readonly token: Token; readonly replaces: string; readonly code: string },
  successor: Successor,
  release: () => Promise<void>,
): void {
  const { path } = store;
  inFlight.unsaved.set(path, unsaved);
  const write = async () => {
    for (let attempt = 0; !inFlight.givenUp.aborted; attempt++) {
      await clock.sleep(WRITE_LATER[Math.min(attempt, WRITE_LATER.length - 1)] ?? 0, inFlight.leaving);
      const written = await successor.write(unsaved.replaces, unsaved.token);
      if (written.state !== "failed") break;
    }
    inFlight.unsaved.delete(path);
    successor.discard();
    await release();
  };
  void inFlight.protect(write());
}

/** Settles what a refusal means; undefined when another refresh token has appeared that may be presented. */
async function judgeRefusal(
  parts: RenewalParts,
  presented: string,
  rejected: string | undefined,
): Promise<Renewal | undefined> {
  const { store, clock, inFlight } = parts;
  for (const pause of REFUSAL_WAIT) {
    await clock.sleep(pause);
    const found = await store.read();
    if (found.state === "present" && found.token.refreshToken === presented) continue;
    const settled = settle(parts, found, rejected);
    return "renewal" in settled ? settled.renewal : undefined;
  }
  inFlight.presented.set(fingerprint(presented), { state: "refused" });
  return { state: "refused" };
}

/** Lets the refresh token rest after its last attempt. */
function letRest(
  { clock, inFlight }: RenewalParts,
  refreshToken: string,
  { cause, committed }: Failure,
): void {
  // What never reached the server may be tried again at any time.
  if (cause.kind === "network" && committed === "no") return;
  inFlight.presented.set(fingerprint(refreshToken), { state: "resting", since: clock.now(), cause });
}

function failed(cause: RenewalFailure): Renewal {
  return { state: "failed", cause };
}
