/**
 * Keeps the requests of all pi processes on one account within the account's limit, in the order in which they came,
 * and lets all of them wait when the service asks one to. Each request is a ticket in the account's folder; there is
 * no daemon, and a process that dies frees its place. Whatever goes wrong here costs no request: it is sent without.
 */
import { join } from "node:path";
import type { Timer } from "../background-refresh.ts";
import type { Clock } from "../oauth/clock.ts";
import { createFolder, type Folder } from "./folder.ts";
import { createLiveness, type Liveness, SIGN_EVERY } from "./liveness.ts";
import { endedPauses, learnedLimit, outdated, pauseAfter, type Refusal, readRules } from "./notes.ts";
import { createFreePlace, type Place } from "./place.ts";
import {
  countHeld,
  draw,
  leave,
  type Operation,
  runSteps,
  type Steps,
  stepBack,
  sweep,
  type Ticket,
  ticketName,
  tryToEnter,
} from "./tickets.ts";

/** What a request waits for. */
export type Waiting =
  /** For a place; 1 = the next. */
  | { readonly for: "place"; readonly position: number }
  /** For a time, ms since the epoch. */
  | { readonly for: "time"; readonly until: number };

export interface GuardParts {
  /** The folder with a folder for each account. */
  readonly path: string;
  readonly clock: Clock;
  readonly timer: Timer;
  /** In [0, 1). */
  readonly random: () => number;
  /** Told what the first of this process's requests waits for, and with undefined when none waits. Must not throw. */
  readonly waiting: (waiting: Waiting | undefined) => void;
  readonly liveness?: Liveness;
}

/** How often a waiting request looks, also where the system tells of no change, ms: a process that dies changes nothing. */
const LOOK_EVERY = 250;
/** After a pause everybody starts within this, ms. */
const SPREAD = 500;
/** A queue that has not moved for this long is not waited for, ms. */
const PATIENCE = 900_000;

export function createGuard({ path, clock, timer, random, waiting, ...parts }: GuardParts) {
  let liveness = parts.liveness;
  const folders = new Map<string, Folder>();
  const drawn = new Map<Ticket, Folder>();
  const waits = new Map<object, Waiting>();
  let told: string | undefined;
  let stopSigns: (() => void) | undefined;

  function tell(): void {
    const first = [...waits.values()].sort((a, b) => rank(a) - rank(b))[0];
    const text = JSON.stringify(first);
    if (text !== told) waiting(first);
    told = text;
  }

  function giveSigns(): void {
    for (const [ticket, folder] of drawn) folder.touch(ticketName(ticket));
  }

  function folderOf(account: string): { readonly folder: Folder; readonly isNew: boolean } {
    const known = folders.get(account);
    if (known) return { folder: known, isNew: false };
    const folder = createFolder(join(path, account));
    folders.set(account, folder);
    return { folder, isNew: true };
  }

  /** The place of one request; nothing is looked at or written before its first `enter`. */
  return (account: string, knownLimit: () => number | undefined): Place => {
    const alone = createFreePlace(clock);
    const key = {};
    let life: Liveness;
    let folder: Folder;
    let id: string | undefined;
    let ticket: Ticket | undefined;
    let state: "outside" | "inside" | "over" = "outside";
    let enteredAt = 0;
    let works = true;
    /** Pauses that were over when the request was sent. */
    let ended: readonly string[] = [];

    const run = <T>(steps: Steps<T>): T => runSteps(steps, (operation) => folder.perform(operation));
    const judge = (one: string, name: string) => life.judge(one, folder.touchedAt(name), clock.now());
    const isDead = (one: string, name: string) => judge(one, name) !== "alive";
    const list = () => folder.perform({ operation: "list" });

    function begin(): Ticket {
      liveness ??= createLiveness();
      life = liveness;
      const { folder: found, isNew } = folderOf(account);
      folder = found;
      if (isNew) clearUp();
      id = life.newId();
      const taken = run(draw(id));
      drawn.set(taken, folder);
      stopSigns ??= timer.every(SIGN_EVERY, giveSigns);
      return taken;
    }

    /** What the dead have left, and what is known no more. */
    function clearUp(): void {
      // There may be no such folder yet, and one file that stays is no reason to leave the others.
      const perform = (operation: Operation) => quietly(() => folder.perform(operation));
      runSteps(
        sweep((one, name) => judge(one, name) === "gone"),
        perform,
      );
      const names = perform({ operation: "list" });
      for (const name of outdated(names, clock.now())) perform({ operation: "remove", name });
    }

    function look(limit: number | undefined) {
      ticket ??= begin();
      const read = (names: readonly string[]) => {
        ended = endedPauses(names, clock.now());
        return readRules(names, clock.now(), limit);
      };
      return run(tryToEnter(ticket, read, isDead));
    }

    async function wait(signal: AbortSignal | undefined): Promise<boolean> {
      let waited = false;
      let changed = () => {};
      let unwatch: (() => void) | undefined;
      /** How long the line has not moved, ms: what was slept, for the clock may be set. */
      let stood = 0;
      let position = Number.POSITIVE_INFINITY;
      try {
        for (;;) {
          if (state === "over" || signal?.aborted) return waited;
          const limit = stood >= PATIENCE ? undefined : knownLimit();
          const seen = look(limit);
          if (seen.state === "entered") {
            state = "inside";
            enteredAt = clock.now();
            if (waited) clearUp();
            return waited;
          }
          waited = true;
          if (seen.state === "paused") {
            waits.set(key, { for: "time", until: seen.until });
            tell();
            await clock.sleep(seen.until - clock.now() + random() * SPREAD, signal);
            stood = 0;
            continue;
          }
          if (seen.position < position) stood = 0;
          position = seen.position;
          waits.set(key, { for: "place", position });
          tell();
          if (!unwatch) {
            unwatch = folder.watch(() => changed());
            clearUp();
            // What changed before the watch began.
            continue;
          }
          const pause = new AbortController();
          changed = () => pause.abort();
          signal?.addEventListener("abort", changed, { once: true });
          const asleepAt = clock.now();
          await clock.sleep(LOOK_EVERY, pause.signal);
          stood += Math.min(LOOK_EVERY, Math.max(0, clock.now() - asleepAt));
          signal?.removeEventListener("abort", changed);
        }
      } finally {
        unwatch?.();
        waits.delete(key);
        tell();
      }
    }

    function remember(refusal: Refusal): void {
      if (!ticket) return;
      run(stepBack(ticket));
      const now = clock.now();
      const pause = pauseAfter(list(), refusal, { now, sentAt: enteredAt, random: random() });
      const notes = pause === undefined ? [] : [pause];
      if (refusal.concurrency) notes.push(learnedLimit(run(countHeld(ticket, isDead)), now));
      for (const name of notes) folder.perform({ operation: "create", name });
    }

    return {
      async enter(signal) {
        if (state !== "outside") return false;
        if (!works) return alone.enter(signal);
        try {
          return await wait(signal);
        } catch {
          works = false;
          return alone.enter(signal);
        }
      },
      refused(refusal) {
        if (state !== "inside") return alone.refused(refusal);
        state = "outside";
        try {
          remember(refusal);
        } catch {
          works = false;
          alone.refused(refusal);
        }
      },
      served() {
        for (const name of ended) quietly(() => folder.perform({ operation: "remove", name }));
        ended = [];
      },
      release() {
        if (state === "over") return;
        state = "over";
        if (id === undefined) return;
        const perform = (operation: Operation) => quietly(() => folder.perform(operation));
        if (ticket) runSteps(leave(ticket), perform);
        else perform({ operation: "remove", name: `choosing-${id}` });
        if (ticket) drawn.delete(ticket);
        if (drawn.size > 0) return;
        stopSigns?.();
        stopSigns = undefined;
      },
    };
  };
}

function quietly(work: () => readonly string[]): readonly string[] {
  try {
    return work();
  } catch {
    return [];
  }
}

/** Who is nearest to be sent. */
function rank(waiting: Waiting): number {
  return waiting.for === "place" ? waiting.position : 0;
}
