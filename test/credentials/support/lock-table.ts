/**
 * flock(2) among simulated processes: falls when its holder dies and not when it stops, waits in turn, and is given to
 * a waiter that is stopped, whose child has been waiting for it. Optionally the real lock is taken with it, which must
 * then be free: so the table is known to say what the system says.
 */
import { existsSync } from "node:fs";
import { lockFile } from "../../../extensions/credentials/flock.ts";
import type { RenewalSteps } from "../../../extensions/credentials/renew.ts";
import type { Release } from "../../../extensions/credentials/store.ts";
import type { Clock } from "../../../extensions/lib/clock.ts";

interface Waiter {
  readonly holder: object;
  readonly given: (held: Held) => void;
}

interface Held {
  readonly holder: object;
  readonly fall: Release;
}

export class LockTable {
  private readonly held = new Map<string, Held>();
  private readonly waiting = new Map<string, Waiter[]>();
  private readonly isReal: boolean;

  constructor(isReal: boolean) {
    this.isReal = isReal;
  }

  /** Takes the lock if nobody has it. */
  async tryTake(path: string, holder: object): Promise<Release | undefined> {
    return this.held.has(path) ? undefined : this.give(path, holder);
  }

  /** Waits for the lock until `patience` is over; told when it is given, so that the patience may end. */
  async take(
    path: string,
    holder: object,
    patience: (given: AbortSignal) => Promise<void>,
  ): Promise<Release | undefined> {
    if (!this.held.has(path)) return this.give(path, holder);
    const given = new AbortController();
    const turn = new Promise<Held>((resolve) => {
      const waiter = {
        holder,
        given: (held: Held) => {
          given.abort();
          resolve(held);
        },
      };
      this.waiting.set(path, [...(this.waiting.get(path) ?? []), waiter]);
    });
    const outcome = await Promise.race([turn, patience(given.signal)]);
    if (outcome || given.signal.aborted) return this.releaseOf(path, await turn);
    this.forget(path, holder);
    return undefined;
  }

  /** As the system does for a process that has ended. */
  async fallOf(holder: object): Promise<void> {
    for (const path of this.waiting.keys()) this.forget(path, holder);
    for (const [path, held] of [...this.held]) if (held.holder === holder) await this.letGo(path, held);
  }

  isHeld(path: string): boolean {
    return this.held.has(path);
  }

  private async give(path: string, holder: object): Promise<Release> {
    const taking = this.isReal ? takeReal(path) : undefined;
    const held: Held = { holder, fall: async () => (await taking)?.() };
    this.held.set(path, held);
    await taking;
    return this.releaseOf(path, held);
  }

  private releaseOf(path: string, held: Held): Release {
    return () => this.letGo(path, held);
  }

  private async letGo(path: string, held: Held): Promise<void> {
    if (this.held.get(path) !== held) return;
    await held.fall();
    // Its holder may have released it and died at once: it falls only one time.
    if (this.held.get(path) !== held) return;
    this.held.delete(path);
    const [next, ...others] = this.waiting.get(path) ?? [];
    this.waiting.set(path, others);
    if (!next) return;
    await this.give(path, next.holder);
    const now = this.held.get(path);
    if (now) next.given(now);
  }

  private forget(path: string, holder: object): void {
    const left = this.waiting.get(path)?.filter((waiter) => waiter.holder !== holder);
    if (left) this.waiting.set(path, left);
  }
}

/**
 * Takes a store's locks from the table, for a process that is let on at `gate`: before and after each step.
 * Nothing is made where there is no login, as `takeLocks` of locks.ts.
 */
export function takingFrom(
  table: LockTable,
  holder: object,
  clock: Clock,
  gate: () => Promise<void> = async () => {},
): RenewalSteps["takeLocks"] {
  return async (store, { timeout, signal }) => {
    await gate();
    if (!existsSync(store.path)) {
      return { state: "failed", failure: { kind: "lock", code: "ENOENT", path: store.path } };
    }
    const releases: Release[] = [];
    const release = async () => {
      for (const letGo of releases.splice(0)) {
        await gate();
        await letGo();
      }
      await gate();
    };
    for (const { path } of store.locks) {
      const patience = (given: AbortSignal) =>
        clock.sleep(timeout, signal ? AbortSignal.any([given, signal]) : given);
      const letGo = await table.take(path, holder, patience);
      await gate();
      if (letGo) releases.unshift(letGo);
      else {
        await release();
        return { state: "failed", failure: { kind: "busy" } };
      }
    }
    return { state: "held", release };
  };
}

async function takeReal(path: string): Promise<Release> {
  const real = await lockFile(path, { timeout: 0 });
  if (real.state === "held") return real.release;
  throw new Error(`nobody holds ${path}, but the system says ${real.state}`);
}
