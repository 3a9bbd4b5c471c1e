/**
 * What belongs to the process and not to a session: renewals under way, what was presented, what could not be written
 * yet. pi builds the extension again for /new and /reload, so this is kept where its next instance finds it. While a
 * refresh is under way, the process does not end before its answer is saved.
 */
import { type Clock, systemClock } from "../lib/clock.ts";
import type { Token } from "../oauth/token.ts";
import type { FailureCause } from "../oauth/token-endpoint.ts";
import type { LockFailure, StoredLogin } from "./store.ts";

export type Renewal =
  | { readonly state: "fresh"; readonly token: Token }
  /** The file holds no login. */
  | { readonly state: "gone"; readonly found: Exclude<StoredLogin, { state: "present" }> }
  /** The login is dead: its refresh token was refused and is still the one on disk. */
  | { readonly state: "refused" }
  | { readonly state: "failed"; readonly cause: RenewalFailure };

export type RenewalFailure =
  | FailureCause
  | LockFailure
  /** The file cannot be written; `code` is the system's. */
  | { readonly kind: "write"; readonly code: string }
  /** The process is about to end. */
  | { readonly kind: "leaving" };

/** Why a refresh token that this process has presented is not presented again. */
export type Presented =
  /** The server has said that it is dead. */
  | { readonly state: "refused" }
  /** Its attempts have failed; `since` in ms since the epoch. */
  | { readonly state: "resting"; readonly since: number; readonly cause: FailureCause };

/** A renewed token that its owner's file does not hold yet. */
export interface Unsaved {
  readonly token: Token;
  /** The refresh token that the file still holds: used up. */
  readonly replaces: string;
  /** Why the file could not be written; the system's. */
  readonly code: string;
}

/** How long a process that ends waits for a refresh that was sent, and for its answer to be saved, ms awake. */
const FAREWELL = 28_000;
/** Delay before the terminal says why pi does not end yet, in ms. */
const SAY_AFTER = 500;
const WAITING =
  "Kimi Coder: waits up to 30 s until the renewed login is saved; Ctrl+C ends at once and may lose it.\n";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Signal = (typeof SIGNALS)[number];
type Listener = (...args: unknown[]) => void;

/** Holds back the end of the process until it is released; calls `wait` when the end is asked for. */
export type HoldEnd = (wait: (isSilent: boolean) => Promise<void>) => { release(): void };

export class InFlight {
  /** By the store's path. */
  readonly renewals = new Map<string, Promise<Renewal>>();
  /** By the fingerprint of the refresh token. */
  readonly presented = new Map<string, Presented>();
  /** By the store's path. */
  readonly unsaved = new Map<string, Unsaved>();
  /** What must not be cut off: a refresh that was sent, until its answer is saved. */
  private readonly sent = new Set<Promise<unknown>>();
  private leavingNow = new AbortController();
  private readonly abandoned = new AbortController();
  private hold: ReturnType<HoldEnd> | undefined;
  private farewell: Promise<void> | undefined;
  private readonly clock: Clock;
  private readonly holdEnd: HoldEnd;

  /** Of a process that is only simulated, its clock and what holds back its end are others. */
  constructor(clock: Clock = systemClock, holdEnd: HoldEnd = (wait) => new Hold(wait)) {
    this.clock = clock;
    this.holdEnd = holdEnd;
  }

  /** Fires when the process is about to end: nothing is presented any more, and nothing is waited for but answers. */
  get leaving(): AbortSignal {
    return this.leavingNow.signal;
  }

  /** Fires when the process has waited long enough for an answer. */
  get givenUp(): AbortSignal {
    return this.abandoned.signal;
  }

  /** Keeps the process from ending before `work` is over, however it is told to end. */
  protect<T>(work: Promise<T>): Promise<T> {
    this.sent.add(work);
    this.hold ??= this.holdEnd((isSilent) => this.end(isSilent));
    const over = () => {
      this.sent.delete(work);
      if (this.sent.size > 0) return;
      this.hold?.release();
      this.hold = undefined;
    };
    work.then(over, over);
    return work;
  }

  /** For the end of the process: resolves when nothing is under way any more that was sent, after 28 s at the most. */
  end(isSilent = !process.stderr.isTTY): Promise<void> {
    this.leavingNow.abort();
    this.leavingNow = new AbortController();
    if (this.sent.size === 0) return Promise.resolve();
    this.farewell ??= this.waitForSent(isSilent).finally(() => {
      this.farewell = undefined;
    });
    return this.farewell;
  }

  private async waitForSent(isSilent: boolean): Promise<void> {
    const notice = isSilent ? undefined : setTimeout(() => process.stderr.write(WAITING), SAY_AFTER);
    const done = new AbortController();
    const all = async () => {
      while (this.sent.size > 0) await Promise.allSettled(this.sent);
    };
    await Promise.race([all(), this.clock.sleep(FAREWELL, done.signal)]);
    done.abort();
    clearTimeout(notice);
    if (this.sent.size === 0) return;
    this.hold?.release();
    this.abandoned.abort();
    this.leavingNow.abort(); // who waits to write again does not keep the process any longer
  }
}

/**
 * Holds back what would end the process: signals, `process.exit` (which pi 0.73 calls when its terminal has gone), and
 * errors of a terminal that is not there any more. What was asked for happens once the wait is over; a second signal
 * does not wait.
 */
class Hold {
  /** What listened to each event before, and what listens instead. What begins to listen meanwhile stays. */
  private readonly taken = new Map<string, { readonly before: Listener[]; readonly instead: Listener }>();
  private readonly exit = process.exit;
  private readonly wait: (isSilent: boolean) => Promise<void>;
  private asked = false;
  private released = false;

  constructor(wait: (isSilent: boolean) => Promise<void>) {
    this.wait = wait;
    for (const signal of SIGNALS) this.take(signal, () => this.onSignal(signal));
    process.exit = (code): never => {
      if (this.released) return this.exit.call(process, code);
      if (!this.asked) {
        this.ask();
        void this.wait(true).then(() => this.exit.call(process, code));
      }
      // The caller must not go on; the error is not shown, because errors are held back from now on.
      throw new Error("the process ends as soon as the renewed login is saved");
    };
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    process.exit = this.exit;
    const events: NodeJS.EventEmitter = process;
    for (const [event, { before, instead }] of this.taken) {
      for (const listener of before.toReversed()) events.prependListener(event, listener);
      events.removeListener(event, instead);
    }
  }

  private onSignal(signal: Signal): void {
    if (this.asked) {
      this.deliver(signal);
      return;
    }
    this.ask();
    void this.wait(signal === "SIGHUP" || !process.stderr.isTTY).then(() => this.deliver(signal));
  }

  private deliver(signal: Signal): void {
    this.release();
    if (!process.emit(signal, signal)) process.kill(process.pid, signal);
  }

  /** The end was asked for: what fails from now on fails because the process is about to go. */
  private ask(): void {
    this.asked = true;
    this.take("uncaughtException", () => {});
  }

  private take(event: string, instead: Listener): void {
    const before = process.rawListeners(event).filter(isListener);
    this.taken.set(event, { before, instead });
    // The new listener comes first: a signal that arrives in an instant without listeners is lost.
    process.on(event, instead);
    for (const listener of before) process.removeListener(event, listener);
  }
}

function isListener(value: unknown): value is Listener {
  return typeof value === "function";
}

const KEY = Symbol.for("pi-kimi-coder.in-flight.2");

/** That of this process. */
export function inFlight(): InFlight {
  const there: unknown = Reflect.get(globalThis, KEY);
  // Another instance of this module has made it: the class is another one of the same name.
  if (isInFlight(there)) return there;
  const made = new InFlight();
  Reflect.set(globalThis, KEY, made);
  return made;
}

function isInFlight(value: unknown): value is InFlight {
  return typeof value === "object" && value !== null && "renewals" in value;
}
