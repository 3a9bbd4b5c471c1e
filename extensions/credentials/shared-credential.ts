/**
 * The one login of this process: which token a request may use now, when it is renewed, and its mirror in pi's
 * auth.json. Everything that wants a token asks here; renewals are single-flight.
 */
import type { Clock } from "../oauth/clock.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { RefreshOutcome } from "../oauth/token-endpoint.ts";
import { type Access, unavailable } from "./access.ts";
import { searchLogin } from "./login-search.ts";
import { notingRotations, recall, remember, sighting } from "./memory.ts";
import type { PiAuth } from "./pi-auth.ts";
import { createPiMirror, type MirrorEvent, type ToMirror } from "./pi-mirror.ts";
import { type Renewal, type RenewalFailure, renew } from "./renewal.ts";
import { noteRotation, type Rotation } from "./rotations.ts";
import type { Choice } from "./selection.ts";
import type { CredentialStore, LoginStore, WriteOutcome } from "./store.ts";

export type { Access, Unavailable } from "./access.ts";

export interface SharedCredentialParts {
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  /** Where a login made in pi is saved unless another store is named. */
  readonly loginStore: LoginStore;
  readonly piAuth: PiAuth;
  /** The file that outlives pi's entry; see memory.ts. */
  readonly memoryPath: string;
  /** Where it is noted who renewed what; see rotations.ts. */
  readonly rotationsPath: string;
  /** Presents a refresh token of the store once, to the store's region; never throws, cannot be cancelled. */
  readonly refresh: (refreshToken: string, store: CredentialStore) => Promise<RefreshOutcome>;
  readonly clock: Clock;
  /** Told when auth.json was changed by us, and when a renewed login could not be written. Must not throw. */
  readonly listener: (event: CredentialEvent) => void;
}

export type CredentialEvent =
  | MirrorEvent
  | { readonly kind: "unsaved"; readonly path: string; readonly code: string };

type Ready = Extract<Access, { state: "ready" }>;
/** Upon what a login was chosen. */
type Basis = Pick<ToMirror, "seen" | "seed">;

export type SharedCredential = ReturnType<typeof createSharedCredential>;

export function createSharedCredential(parts: SharedCredentialParts) {
  const { loginStore, memoryPath, rotationsPath, clock, listener } = parts;
  const mirror = createPiMirror(parts);
  const refused = new Set<string>();
  const background = new Set<Promise<unknown>>();
  let leaving = new AbortController();
  let held: Ready | undefined;
  let renewing: Promise<Access> | undefined;
  /** How many logins were made here. */
  let logins = 0;
  /** A renewed token that its owner's file does not hold yet; the locks are held until it does. */
  let unsaved: Extract<Renewal, { state: "unsaved" }> | undefined;

  function inBackground(work: Promise<unknown>): void {
    background.add(work);
    void work.finally(() => background.delete(work));
  }

  /** `replaces`: the fingerprint of what the store's file still holds, where `token` is not in it. */
  function hold(token: Token, store: CredentialStore, basis: Basis, replaces?: string): Ready {
    held = { state: "ready", token, store };
    inBackground(mirror({ token, store, ...basis, replaces }));
    return held;
  }

  async function note(how: Rotation["how"], token: Token, store: CredentialStore): Promise<void> {
    await noteRotation(rotationsPath, store.path, token, { how, at: clock.now(), pid: process.pid });
  }

  /** Writes what could not be written; what is left to write. */
  async function saveUnsaved(): Promise<typeof unsaved> {
    if (unsaved && (await unsaved.retry())) unsaved = undefined;
    return unsaved;
  }

  /** What there is while the renewed token cannot be written: the token on disk is used up, nobody may present it. */
  async function whileUnsaved(rejected?: string): Promise<Access | undefined> {
    const left = await saveUnsaved();
    if (!held || !left) return undefined;
    if (isValid(held.token, clock.now()) && held.token.accessToken !== rejected) return held;
    const cause: RenewalFailure = { kind: "write", code: left.code };
    return { state: "unavailable", reason: { kind: "failed", store: held.store, cause } };
  }

  async function keepTrying(): Promise<void> {
    const { signal } = leaving;
    for (let pause = 1_000; await saveUnsaved(); pause = Math.min(pause * 2, 30_000)) {
      if (signal.aborted) return;
      await clock.sleep(pause, signal);
    }
  }

  async function runRenewal(rejected: string | undefined): Promise<Access> {
    const pending = await whileUnsaved(rejected);
    if (pending) return pending;
    const before = logins;
    const { choice, entry, memory } = await searchLogin(parts);
    if (choice.state === "none") {
      held = undefined;
      return { state: "unavailable", reason: choice.reason };
    }
    if (choice.state === "mirror") {
      const { token, problem } = choice;
      return token.accessToken === rejected
        ? { state: "unavailable", reason: { kind: "problem", problem } }
        : { state: "ready", token, store: problem.store };
    }
    const { store, token, replaces } = choice;
    const seed = choice.seed ? memory : undefined;
    const basis = { seen: entry, seed };
    const result = await renew(
      {
        store: notingRotations(store, memoryPath, seed),
        refresh: (refreshToken) => parts.refresh(refreshToken, store),
        clock,
        refused,
        leaving: leaving.signal,
        successor: replaces === undefined ? undefined : { replaces, token },
      },
      rejected,
    );
    if (result.state === "unsaved" || (result.state === "fresh" && result.how === "refreshed"))
      inBackground(note("renewed", result.token, store));
    if (result.state === "unsaved") {
      unsaved = result;
      listener({ kind: "unsaved", path: store.path, code: result.code });
      inBackground(keepTrying());
    }
    // A login made in pi meanwhile is what the user wants.
    if (logins !== before && held) return held;
    switch (result.state) {
      case "fresh":
        return hold(result.token, store, basis);
      case "unsaved":
        return hold(result.token, store, basis, result.replaces);
      case "gone": {
        const { state } = result.found;
        if (state === "unreadable" || state === "malformed") break;
        held = undefined;
        return unavailable(result, store);
      }
    }
    // A refresh that failed takes nothing away from an access token that is still good.
    return isValid(token, clock.now()) && token.accessToken !== rejected
      ? hold(token, store, basis, replaces)
      : unavailable(result, store);
  }

  /** Starts a renewal, or joins the one under way. */
  function renewal(rejected?: string): Promise<Access> {
    renewing ??= runRenewal(rejected).finally(() => {
      renewing = undefined;
    });
    inBackground(renewing);
    return renewing;
  }

  /**
   * The token for a request. Waits for the network only when the access token has ended. `known`: pi itself has
   * passed a token of this login, so a logout in pi need not be looked for.
   */
  async function current(known: boolean): Promise<Access> {
    if (known && held && isValid(held.token, clock.now())) {
      if (needsRefresh(held.token, clock.now())) void renewal();
      return held;
    }
    const pending = await whileUnsaved();
    if (pending) return pending;
    const { choice, entry, memory } = await searchLogin(parts);
    if (choice.state === "use" && choice.replaces === undefined && isValid(choice.token, clock.now())) {
      const { token, store, seed } = choice;
      const ready = hold(token, store, { seen: entry, seed: seed ? memory : undefined });
      if (needsRefresh(token, clock.now())) void renewal();
      return ready;
    }
    return renewal();
  }

  /** A token other than `accessToken`, which the API has rejected; all that ask at once share one renewal. */
  async function afterRejection(accessToken: string): Promise<Access> {
    for (;;) {
      if (held && held.token.accessToken !== accessToken && isValid(held.token, clock.now())) return held;
      if (!renewing) return renewal(accessToken);
      // What is under way may have begun before the rejection, and find nothing wrong with the token.
      const shared = await renewing;
      if (shared.state !== "ready" || shared.token.accessToken !== accessToken) return shared;
    }
  }

  /** Saves a login made in pi for the owner; what pi writes into auth.json then is its mirror. */
  async function saveLogin(token: Token, store: LoginStore = loginStore): Promise<WriteOutcome> {
    const outcome = await store.save(token);
    if (outcome.state !== "written") return outcome;
    logins += 1;
    held = { state: "ready", token, store };
    const memory = await recall(memoryPath);
    await remember(memoryPath, {
      seeded: true,
      seen: { ...memory.seen, [store.path]: sighting(token) },
    });
    await note("logged-in", token, store);
    return outcome;
  }

  /**
   * Waits until nothing of ours is under way that must not be cut off (a refresh that was sent, a file that is being
   * written), but no longer than `timeout` ms.
   */
  async function settle(timeout: number): Promise<void> {
    leaving.abort();
    leaving = new AbortController();
    const done = new AbortController();
    const all = (async () => {
      while (background.size > 0) await Promise.allSettled(background);
    })();
    await Promise.race([all, clock.sleep(timeout, done.signal)]);
    done.abort();
    await handOver();
  }

  /** Where pi's entry holds what could not be written, the next to use it writes it; it must not wait for our locks. */
  async function handOver(): Promise<void> {
    const left = unsaved;
    if (!left) return;
    const entry = await parts.piAuth.read();
    if (entry.state !== "oauth" || entry.replaces !== left.replaces) return;
    if (entry.token.refreshToken !== left.token.refreshToken) return;
    unsaved = undefined;
    await left.release();
  }

  /** What a request would be sent with, looked up anew; nothing is refreshed. */
  const look = async (): Promise<Choice> => (await searchLogin(parts)).choice;

  /** When the access token in hand ends, in ms since the epoch. */
  const expiresAt = (): number | undefined => held?.token.expiresAt;

  return { current, afterRejection, renewal, saveLogin, settle, look, expiresAt };
}
