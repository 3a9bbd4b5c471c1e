/**
 * The one login of this process: which token a request may use now, when it is renewed, and its mirror in pi's
 * auth.json. Everything that wants a token asks here; renewals are single-flight.
 */
import type { Clock } from "../oauth/clock.ts";
import { isValid, needsRefresh, type Token } from "../oauth/token.ts";
import type { RefreshOutcome } from "../oauth/token-endpoint.ts";
import { isNewLogin, type Memory, recall, remember, type Sighting, sighting } from "./memory.ts";
import type { PiAuth } from "./pi-auth.ts";
import { type RenewalFailure, renew } from "./renewal.ts";
import { type Choice, chooseLogin, type Look, type NoLogin } from "./selection.ts";
import type { CredentialStore, LoginStore, WriteOutcome } from "./store.ts";

export interface SharedCredentialParts {
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  /** Where a login made in pi is saved. */
  readonly loginStore: LoginStore;
  readonly piAuth: PiAuth;
  /** The file that outlives pi's entry; see memory.ts. */
  readonly memoryPath: string;
  /** Presents a refresh token once; never throws, cannot be cancelled. */
  readonly refresh: (refreshToken: string) => Promise<RefreshOutcome>;
  readonly clock: Clock;
  /** Told when auth.json was changed by us, and when a renewed login could not be written. Must not throw. */
  readonly listener: (event: CredentialEvent) => void;
}

export type CredentialEvent =
  | { readonly kind: "mirrored" }
  | { readonly kind: "unsaved"; readonly path: string; readonly code: string }
  | { readonly kind: "unmirrored"; readonly code: string };

export type Access =
  | { readonly state: "ready"; readonly token: Token; readonly store: CredentialStore }
  | { readonly state: "unavailable"; readonly reason: Unavailable };

export type Unavailable =
  | NoLogin
  | { readonly kind: "refused"; readonly store: CredentialStore }
  | { readonly kind: "failed"; readonly store: CredentialStore; readonly cause: RenewalFailure };

type Ready = Extract<Access, { state: "ready" }>;

export type SharedCredential = ReturnType<typeof createSharedCredential>;

export function createSharedCredential(parts: SharedCredentialParts) {
  const { stores, loginStore, piAuth, memoryPath, clock, listener } = parts;
  const refused = new Set<string>();
  const background = new Set<Promise<unknown>>();
  let leaving = new AbortController();
  let held: Ready | undefined;
  let renewing: Promise<Access> | undefined;
  /** Tries again to write a renewed token to its owner's file; the locks are held until that succeeds. */
  let unsaved: (() => Promise<boolean>) | undefined;

  function inBackground(work: Promise<unknown>): void {
    background.add(work);
    void work.finally(() => background.delete(work));
  }

  async function choose(): Promise<Choice> {
    const [entry, memory, ...looks] = await Promise.all([
      piAuth.read(),
      recall(memoryPath),
      ...stores.map(async (store): Promise<Look> => ({ store, found: await store.read() })),
    ]);
    const choice = chooseLogin(entry, looks, memory, clock.now());
    const loggedOut = entry.state === "absent" && memory.seeded && choice.state === "none";
    if (loggedOut) await noteLogout(memory, looks);
    return choice;
  }

  /** Remembers what stands where after a logout in pi, so that the next login of an owner is told from a rotation. */
  async function noteLogout(memory: Memory, looks: readonly Look[]): Promise<void> {
    const seen: Record<string, Sighting> = { ...memory.seen };
    for (const { store, found } of looks) {
      const before = seen[store.path];
      if (found.state === "present") {
        if (!isNewLogin(before, found)) seen[store.path] = sighting(found.token);
      } else if (found.state === "absent" || found.state === "signed-out") {
        seen[store.path] = "gone";
      }
    }
    if (JSON.stringify(seen) !== JSON.stringify(memory.seen)) await remember(memoryPath, { ...memory, seen });
  }

  /** Brings auth.json in line with the store; one at a time, and never while a lock of a store is held. */
  let mirroring: Promise<void> = Promise.resolve();
  function mirror(ready: Ready, seed: boolean): void {
    mirroring = mirroring.then(async () => {
      const changed = await piAuth.mirror(ready.token, ready.store, seed);
      if (changed.state === "failed") return listener({ kind: "unmirrored", code: changed.code });
      if (changed.state === "left") return;
      const memory = await recall(memoryPath);
      const seen = { ...memory.seen, [ready.store.path]: sighting(ready.token) };
      await remember(memoryPath, { seeded: true, seen });
      listener({ kind: "mirrored" });
    });
    inBackground(mirroring);
  }

  function hold(token: Token, store: CredentialStore, seed: boolean): Ready {
    held = { state: "ready", token, store };
    mirror(held, seed);
    return held;
  }

  /** Writes what could not be written; true when nothing is left to write. */
  async function saveUnsaved(): Promise<boolean> {
    if (unsaved && (await unsaved())) unsaved = undefined;
    return unsaved === undefined;
  }

  async function keepTrying(): Promise<void> {
    const { signal } = leaving;
    for (let pause = 1_000; !(await saveUnsaved()); pause = Math.min(pause * 2, 30_000)) {
      if (signal.aborted) return;
      await clock.sleep(pause, signal);
    }
  }

  async function runRenewal(rejected: string | undefined): Promise<Access> {
    // What stands on disk then is a refresh token that is used up: nobody may present it.
    if (held && !(await saveUnsaved())) return held;
    const choice = await choose();
    if (choice.state === "none") return { state: "unavailable", reason: choice.reason };
    if (choice.state === "mirror") {
      const { token, problem } = choice;
      return token.accessToken === rejected
        ? { state: "unavailable", reason: { kind: "problem", problem } }
        : { state: "ready", token, store: problem.store };
    }
    const { store, seed } = choice;
    const result = await renew({ store, refresh: parts.refresh, clock, refused }, rejected);
    switch (result.state) {
      case "fresh":
        return hold(result.token, store, seed);
      case "unsaved":
        unsaved = result.retry;
        listener({ kind: "unsaved", path: store.path, code: result.code });
        inBackground(keepTrying());
        return hold(result.token, store, seed);
      case "gone":
        return { state: "unavailable", reason: { kind: "problem", problem: { store, found: result.found } } };
    }
    // A refresh that failed takes nothing away from an access token that is still good.
    if (isValid(choice.token, clock.now()) && choice.token.accessToken !== rejected) {
      return hold(choice.token, store, seed);
    }
    return {
      state: "unavailable",
      reason:
        result.state === "refused"
          ? { kind: "refused", store }
          : { kind: "failed", store, cause: result.cause },
    };
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
    if (held && !(await saveUnsaved())) return held;
    const choice = await choose();
    if (choice.state === "use" && isValid(choice.token, clock.now())) {
      const ready = hold(choice.token, choice.store, choice.seed);
      if (needsRefresh(choice.token, clock.now())) void renewal();
      return ready;
    }
    return renewal();
  }

  /** A token other than `accessToken`, which the API has rejected; all that ask at once share one renewal. */
  async function afterRejection(accessToken: string): Promise<Access> {
    if (held && held.token.accessToken !== accessToken && isValid(held.token, clock.now())) return held;
    const shared = await renewing;
    const settled = shared && !(shared.state === "ready" && shared.token.accessToken === accessToken);
    return settled ? shared : renewal(accessToken);
  }

  /** Saves a login made in pi for the owner; what pi writes into auth.json then is its mirror. */
  async function saveLogin(token: Token): Promise<WriteOutcome> {
    const outcome = await loginStore.save(token);
    if (outcome.state !== "written") return outcome;
    held = { state: "ready", token, store: loginStore };
    const memory = await recall(memoryPath);
    await remember(memoryPath, {
      seeded: true,
      seen: { ...memory.seen, [loginStore.path]: sighting(token) },
    });
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
  }

  /** When the access token in hand ends, in ms since the epoch. */
  const expiresAt = (): number | undefined => held?.token.expiresAt;

  return { current, afterRejection, renewal, saveLogin, settle, expiresAt };
}
