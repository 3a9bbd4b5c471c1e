/**
 * Keeps the requests of all pi processes on one account within the account's limit, in the order in which they came, and
 * makes all of them wait when the service asks one to. Whatever goes wrong here costs no request: it is sent without.
 */
import { join } from "node:path";
import type { Clock } from "../lib/clock.ts";
import {
  diskFolder,
  draw,
  type Folder,
  learnedLimit,
  othersThan,
  pauseAfter,
  privateFolder,
  type Refusal,
  readRules,
  SIGN_EVERY,
  type Ticket,
} from "./tickets.ts";

export interface Queue {
  /** The place of one request. `account` may be part of a file's name. Nothing is read or written before `enter`. */
  readonly place: (account: string) => Place;
}

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

/** What a request waits for. */
export type Waiting =
  /** For a place; 1 = the next. */
  | { readonly for: "place"; readonly position: number }
  /** For a time, ms since the epoch. */
  | { readonly for: "time"; readonly until: number };

export interface QueueParts {
  /** The folder with a folder for each account. */
  readonly path: string;
  /** How many requests at once the account may have, as far as it is configured or known of its plan. Must not throw. */
  readonly limit: (account: string) => number | undefined;
  readonly clock: Clock;
  /** Calls `tick` every `ms` without keeping the process alive; returns what stops it. */
  readonly every: (ms: number, tick: () => void) => () => void;
  /** In [0, 1). */
  readonly random: () => number;
  /** Told what a request of this process waits for; undefined = it goes on. Must not throw. */
  readonly waiting: (waiting: Waiting | undefined) => void;
  /** Default: the folder on disk. */
  readonly openFolder?: (path: string) => Folder;
}

/** How often a waiting request looks whether it is its turn, in ms. */
const LOOK_EVERY = 100;
/** After a pause requests start at random within this time, in ms. */
const SPREAD = 500;
/** How long to wait in a line that does not move, in ms. */
const PATIENCE = 900_000;

export function createQueue(parts: QueueParts): Queue {
  const { path, limit, clock, every, random, openFolder = diskFolder } = parts;

  function place(account: string): Place {
    let folder = openFolder(join(path, account));
    let ticket: Ticket | undefined;
    /** Whether the ticket says that the request waits. */
    let waits = false;
    let stopSigns = () => {};
    let inside = false;
    let sentAt = 0;
    /** The notes of pauses that were over when the request was sent. */
    let endedPauses: readonly string[] = [];

    /** Where the folder cannot be used, this request goes on without the others. */
    function orAlone<T>(work: () => T): T {
      try {
        return work();
      } catch {
        leave();
        folder = privateFolder();
        return work();
      }
    }

    function ownTicket(): Ticket {
      if (ticket) return ticket;
      const drawn = draw(folder);
      stopSigns = every(SIGN_EVERY, () => {
        try {
          mark(drawn, waits);
        } catch {
          // The next look, or refusal, finds that the folder cannot be used.
        }
      });
      ticket = drawn;
      return drawn;
    }

    function leave(): void {
      inside = false;
      if (!ticket) return;
      stopSigns();
      folder.remove(ticket.name);
      ticket = undefined;
      waits = false;
    }

    /** What the request has to wait for, by what is in the folder now. `patient`: whether for a place, too. */
    function reasonToWait(own: Ticket, patient: boolean): Waiting | undefined {
      const now = clock.now();
      const names = folder.list();
      const rules = readRules(names, now, limit(account));
      for (const name of rules.outdated) folder.remove(name);
      endedPauses = rules.endedPauses;
      if (rules.pause && rules.pause.until > now) return { for: "time", until: rules.pause.until };
      const others = othersThan(own, names, folder, now);
      const ahead = others.filter((other) => !other.waits || other.number < own.number).length;
      return patient && rules.limit !== undefined && ahead >= rules.limit
        ? { for: "place", position: ahead - rules.limit + 1 }
        : undefined;
    }

    /** Takes a place if there is one, else says what to wait for. */
    function takePlace(patient: boolean): Waiting | undefined {
      const own = ownTicket();
      if (waits) {
        const waiting = reasonToWait(own, patient);
        if (waiting) return waiting;
        mark(own, false);
      }
      const waiting = reasonToWait(own, patient);
      if (waiting) mark(own, true);
      return waiting;
    }

    /** Also makes the ticket again where others took its process for dead. */
    function mark(own: Ticket, asWaiting: boolean): void {
      folder.write(own.name, asWaiting);
      waits = asWaiting;
    }

    async function enter(signal: AbortSignal | undefined): Promise<boolean> {
      if (inside) return false;
      let waited = false;
      let position: number | undefined;
      /** How long the line has not moved, in ms: by what was slept, for the clock may be set. */
      let stood = 0;
      while (!signal?.aborted) {
        const waiting = orAlone(() => takePlace(stood < PATIENCE));
        if (!waiting) {
          inside = true;
          sentAt = clock.now();
          break;
        }
        waited = true;
        if (waiting.for === "time") {
          parts.waiting(waiting);
          position = undefined;
          await clock.sleep(waiting.until - clock.now() + random() * SPREAD, signal);
          continue;
        }
        if (waiting.position !== position) {
          parts.waiting(waiting);
          position = waiting.position;
          stood = 0;
        }
        await clock.sleep(LOOK_EVERY, signal);
        stood += LOOK_EVERY;
      }
      if (waited) parts.waiting(undefined);
      return waited;
    }

    function refused(refusal: Refusal): void {
      if (!inside) return;
      inside = false;
      orAlone(() => {
        const own = ownTicket();
        mark(own, true);
        const names = folder.list();
        const now = clock.now();
        const { pause: last } = readRules(names, now, undefined);
        const pause = pauseAfter(last, refusal, now, sentAt);
        if (pause !== undefined) folder.write(pause, false);
        if (!refusal.concurrency) return;
        const held = othersThan(own, names, folder, now).filter((other) => !other.waits).length;
        folder.write(learnedLimit(held, now), false);
      });
    }

    return {
      enter,
      refused,
      served() {
        for (const name of endedPauses) folder.remove(name);
      },
      release: leave,
    };
  }
  return { place };
}
