/**
 * The one login of this process: which token a request may use now, when it is renewed, and its mirror in pi's
 * auth.json. Files are read each time, so that what other programs do is seen at once; renewals are shared by
 * all that want one.
 */
import type { Clock } from "../lib/clock.ts";
import { systemCode } from "../lib/json.ts";
import { inTurn, lazy } from "../lib/lazy.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { RefreshOutcome } from "../oauth/token-endpoint.ts";
import { lookForLogin, type NoLogin } from "./choose.ts";
import type { InFlight, Renewal, RenewalFailure } from "./in-flight.ts";
import type { mirror, PiFiles } from "./mirror.ts";
import { hadEntry, isMirrorOf, type PiEntry } from "./pi-entry.ts";
import type { RenewalSteps } from "./renew.ts";
import type { CredentialStore } from "./store.ts";

export interface LoginParts extends PiFiles {
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  readonly tokenEndpoint: TokenEndpoint;
  readonly clock: Clock;
  readonly inFlight: InFlight;
  /** Told when auth.json was changed by us, and when it, or a renewed login, could not be written. Must not throw. */
  readonly listener: (event: LoginEvent) => void;
  /** In place of the real ones, where a process is only simulated. */
  readonly steps?: Partial<Steps>;
}

export interface TokenEndpoint {
  /** Loads what `refresh` needs. */
  readonly load: () => Promise<unknown>;
  /** Presents a refresh token of the store once, to the store's region; never throws. See RenewalParts. */
  readonly refresh: (
    refreshToken: string,
    store: CredentialStore,
    signal: AbortSignal,
  ) => Promise<RefreshOutcome>;
}

/** What the login does to files and their locks. */
export type Steps = RenewalSteps & { readonly mirror: typeof mirror };

export type LoginEvent =
  | { readonly kind: "mirrored" }
  /** `path`: what could not be used, where it is not auth.json itself. */
  | { readonly kind: "unmirrored"; readonly code: string; readonly path?: string | undefined }
  | { readonly kind: "unsaved"; readonly path: string; readonly code: string };

/** What a request that needs the login gets: a token, or the reason why there is none. */
export type Access =
  | { readonly state: "ready"; readonly token: Token; readonly store: CredentialStore }
  | { readonly state: "unavailable"; readonly reason: Unavailable };

export type Unavailable =
  | NoLogin
  | { readonly kind: "refused"; readonly store: CredentialStore }
  | {
      readonly kind: "failed";
      readonly store: CredentialStore;
      /** slow: the renewal goes on, and the request does not wait any longer. */
      readonly cause: RenewalFailure | { readonly kind: "slow" };
    };

/** How long a request waits for a renewal, ms awake; the renewal goes on. */
const REQUEST_WAIT = 28_000;
/** A renewal that is only due begins after this, ms: by then the request that noticed it has been sent. */
const AFTER_REQUEST = 20;

export type Login = ReturnType<typeof createLogin>;

export function createLogin(parts: LoginParts) {
  const { memoryPath, tokenEndpoint, clock, inFlight, listener } = parts;
  const renewing = lazy(() => inTurn(() => import("./renew.ts")));
  const mirroring = lazy(() => inTurn(() => import("./mirror.ts")));
  /** When the access token in hand ends, ms since the epoch. */
  let expiresAt: number | undefined;
  let mirrored: Promise<unknown> = Promise.resolve();
  /** The renewal that is to begin once a request has been sent. Never rejects. */
  let soon: Promise<unknown> = Promise.resolve();

  const look = () => lookForLogin(parts, clock.now);

  /** Brings pi's entry in line, one at a time, beside everything else. */
  function keepMirror(store: CredentialStore, token: Token, seen: PiEntry): void {
    if (isMirrorOf(seen, token, store) && hadEntry(memoryPath)) return;
    mirrored = mirrored.then(async () => {
      const mirror = parts.steps?.mirror ?? (await mirroring.load()).mirror;
      const outcome = await mirror(parts, store, token, seen);
      if (outcome.state === "written") listener({ kind: "mirrored" });
      // The holder of pi's lock lets go of it some time, and the next request tries again.
      else if (outcome.state === "failed" && outcome.code !== "ELOCKED")
        listener({ kind: "unmirrored", code: outcome.code, path: outcome.path });
    });
    mirrored = mirrored.catch((error: unknown) => listener({ kind: "unmirrored", code: systemCode(error) }));
  }

  /** Starts a renewal, or joins the one under way; one that began before `rejected` was rejected may not do. */
  async function renewal(store: CredentialStore, seen: PiEntry, rejected?: string): Promise<Renewal> {
    const running = inFlight.renewals.get(store.path);
    if (running) {
      const shared = await running;
      if (shared.state !== "fresh" || shared.token.accessToken !== rejected) return shared;
      return renewal(store, seen, rejected);
    }
    const unsaved = inFlight.unsaved.get(store.path);
    if (unsaved) return { state: "failed", cause: { kind: "write", code: unsaved.code } };
    const started = begin(store, rejected).finally(() => inFlight.renewals.delete(store.path));
    inFlight.renewals.set(store.path, started);
    const result = await started;
    if (result.state === "fresh") keepMirror(store, result.token, seen);
    return result;
  }

  async function begin(store: CredentialStore, rejected: string | undefined): Promise<Renewal> {
    const refresh = (token: string, signal: AbortSignal) => tokenEndpoint.refresh(token, store, signal);
    try {
      const { renew } = await renewing.load();
      const renewed = renew({ store, refresh, clock, inFlight, steps: parts.steps }, rejected);
      // While the first lock is waited for; where it cannot be loaded, `refresh` says so.
      tokenEndpoint.load().catch(() => {});
      const result = await renewed;
      const unsaved = inFlight.unsaved.get(store.path);
      if (unsaved) listener({ kind: "unsaved", path: store.path, code: unsaved.code });
      return result;
    } catch (error) {
      return { state: "failed", cause: { kind: "lock", code: systemCode(error), path: store.path } };
    }
  }

  /** What the renewal gives, waited for as long as a request waits. */
  async function waitFor(store: CredentialStore, work: Promise<Renewal>): Promise<Access> {
    const answered = new AbortController();
    const result = await Promise.race([work, clock.sleep(REQUEST_WAIT, answered.signal)]);
    answered.abort();
    if (!result) {
      return { state: "unavailable", reason: { kind: "failed", store, cause: { kind: "slow" } } };
    }
    switch (result.state) {
      case "fresh":
        expiresAt = result.token.expiresAt;
        return { state: "ready", token: result.token, store };
      case "gone":
        return { state: "unavailable", reason: { kind: "problem", problem: { store, found: result.found } } };
      case "refused":
        return { state: "unavailable", reason: { kind: "refused", store } };
      case "failed":
        return { state: "unavailable", reason: { kind: "failed", store, cause: result.cause } };
    }
  }

  /** A token that is valid and was not `rejected`; renewed first where there is none. */
  async function access(rejected: string | undefined): Promise<Access> {
    const { choice, entry } = await look();
    if (choice.state === "none") {
      expiresAt = undefined;
      return { state: "unavailable", reason: choice.reason };
    }
    if (choice.state === "mirror") {
      const { token, problem } = choice;
      return token.accessToken === rejected
        ? { state: "unavailable", reason: { kind: "problem", problem } }
        : { state: "ready", token, store: problem.store };
    }
    const { store } = choice;
    const token = newest(choice.token, store);
    const isUsable = isValid(token, clock.now()) && token.accessToken !== rejected;
    if (!isUsable) return waitFor(store, renewal(store, entry, rejected));
    expiresAt = token.expiresAt;
    keepMirror(store, token, entry);
    if (needsRefresh(token, clock.now())) soon = beginSoon(store, entry);
    return { state: "ready", token, store };
  }

  /** The successor of what the store's file holds, where it could not be written yet. */
  function newest(stored: Token, { path }: CredentialStore): Token {
    const unsaved = inFlight.unsaved.get(path);
    return unsaved?.replaces === stored.refreshToken ? unsaved.token : stored;
  }

  async function beginSoon(store: CredentialStore, entry: PiEntry): Promise<void> {
    const { leaving } = inFlight;
    await clock.sleep(AFTER_REQUEST, leaving);
    if (!leaving.aborted) await renewal(store, entry);
  }

  /** Resolves with `work`, at the latest after `timeout` ms. */
  async function atMost(timeout: number, work: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    await Promise.race([work, clock.sleep(timeout, done.signal)]);
    done.abort();
  }

  /**
   * For the timer: brings the login to a token that needs no refresh. A refresh that failed, or was
   * refused, takes nothing away from an access token that is still good.
   */
  async function keepFresh(): Promise<Access> {
    const { choice, entry } = await look();
    if (choice.state !== "use") return access(undefined);
    const { store } = choice;
    const token = newest(choice.token, store);
    if (!needsRefresh(token, clock.now())) return access(undefined);
    const result = await renewal(store, entry);
    const hasFailed = result.state === "failed" || result.state === "refused";
    if (hasFailed && isValid(token, clock.now())) {
      expiresAt = token.expiresAt;
      return { state: "ready", token, store };
    }
    return waitFor(store, Promise.resolve(result));
  }

  return {
    /** The token for a request. Waits for the network only when the access token has ended, and no longer than 28 s. */
    current: () => access(undefined),
    /** A token other than `accessToken`, which the API has rejected; all that ask at once share one renewal. */
    afterRejection: (accessToken: string) => access(accessToken),
    keepFresh,
    /** Looks at pi's entry and at every store. Nothing is renewed or written. Never throws. */
    look,
    /** When the access token in hand ends, ms since the epoch. */
    expiresAt: () => expiresAt,
    /** Loads what a renewal needs, so that an update under a running pi cannot take it away. Never rejects. */
    prepare: async () => {
      await Promise.allSettled([renewing.load(), mirroring.load(), tokenEndpoint.load()]);
    },
    /** For the end of the process: waits for what was sent until it is saved, and for pi's entry. */
    async end(): Promise<void> {
      // What is due is begun, or the next short run would find it ended; but no lock of others is waited for.
      await atMost(BEGIN_WAIT, soon);
      await inFlight.end();
      await atMost(MIRROR_WAIT, mirrored);
    },
  };
}

/** How long the end of the process waits for a renewal that is due to be sent, ms. */
const BEGIN_WAIT = 800;
/** … and for pi's lock, ms. */
const MIRROR_WAIT = 1_500;
