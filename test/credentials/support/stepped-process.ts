/**
 * A process of ours that moves one step at a time: before and after each look at a file, lock, request and write it
 * waits until it is let on. It can be stopped there (its locks stay held, its answers wait in the socket), go on, be
 * killed, be told to end, and have its session replaced. What has been killed never goes on.
 */
import { InFlight } from "../../../extensions/credentials/in-flight.ts";
import type { Access, Login, Steps } from "../../../extensions/credentials/login.ts";
import { mirror } from "../../../extensions/credentials/mirror.ts";
import type { CredentialStore } from "../../../extensions/credentials/store.ts";
import { reserveSuccessor, type Successor } from "../../../extensions/credentials/successor.ts";
import type { Clock } from "../../../extensions/lib/clock.ts";
import type { RefreshOutcome } from "../../../extensions/oauth/token-endpoint.ts";
import { type LockTable, takingFrom } from "./lock-table.ts";
import type { World } from "./world.ts";

/** full: there is no new room, but what was reserved can be written; broken: nothing can. */
export type Disk = "works" | "full" | "broken";

/** What happens to all processes of a world. */
export interface Surroundings {
  readonly world: World;
  readonly locks: LockTable;
  readonly disk: () => Disk;
  /** Presents the refresh token on its way through the network, whatever becomes of who sent it. */
  readonly send: (refreshToken: string) => Promise<RefreshOutcome>;
  /** Told when a refresh token is about to be presented, and when its answer was read. */
  readonly presenting: (process: SteppedProcess, refreshToken: string) => void;
  readonly answered: (process: SteppedProcess, refreshToken: string, outcome: RefreshOutcome) => void;
  /** Told when a renewed login could not be written. */
  readonly unwritable: () => void;
  /** Told of an access that a running process has waited for, ms. */
  readonly waited: (ms: number) => void;
  /** Told when a process has ended, with the refresh tokens that it has spent and not replaced, and why it ended. */
  readonly ended: (process: SteppedProcess, unwritten: readonly string[], how: Ending) => void;
}

/** killed; at once: by a signal that nothing held back; gave up: after it had waited for long enough; else all is well. */
export type Ending = "killed" | "at once" | "gave up" | "over";

export interface SteppedProcess {
  /** Begins something that a request or the timer does. */
  begin(work: (login: Login) => Promise<Access>, isRequest: boolean): void;
  /** Lets it go one step; false where nothing of it waits. */
  step(): boolean;
  /** From now on it goes without waiting to be let on. */
  run(): void;
  /** SIGSTOP. */
  stop(): void;
  /** SIGCONT. */
  proceed(): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM: waits where something holds the end back, and ends at once a second time. */
  signal(): Promise<void>;
  /** The end of the session and of the process. */
  end(): Promise<void>;
  /** /new: another instance of the extension in the same process. */
  replaceSession(): void;
  /** Does something in the process that is no renewal. */
  does<T>(work: () => Promise<T>): Promise<T>;
  /** Lets go of what the simulation holds. */
  bury(): Promise<void>;
  readonly isAlive: () => boolean;
  readonly isStopped: () => boolean;
  /** What has begun and not ended; over with the process. */
  readonly pending: () => Promise<unknown>;
  readonly inFlight: InFlight;
  /** Refresh tokens that were sent and whose successor is not on disk. */
  readonly unwritten: ReadonlySet<string>;
  /** Whether it was told to end. */
  readonly isLeaving: () => boolean;
  /** It may present a refresh token: it is not to end, or has not stopped beginning what was due. */
  readonly mayPresent: () => boolean;
}

/** How long a process that ends has to wait for what it has sent, ms awake. */
const FAREWELL = 28_000;

export function startStepped(around: Surroundings): SteppedProcess {
  const { world, locks } = around;
  const { clock } = world;
  const waiting: (() => void)[] = [];
  const unwritten = new Set<string>();
  const working = new Set<Promise<unknown>>();
  const rooms = new Set<Successor>();
  let alive = true;
  let dead = () => {};
  const death = new Promise<void>((resolve) => {
    dead = resolve;
  });
  let free = false;
  let leaving = false;
  let mayPresent = true;
  let toldToEnd = 0;
  /** Fires when the process is stopped; another one after it was continued. */
  let stopping = new AbortController();
  let proceeding: Promise<void> = Promise.resolve();
  let proceed = () => {};
  let stops = 0;
  /** What waits for the end, while something holds it back. */
  let held: ((isSilent: boolean) => Promise<void>) | undefined;

  const never = <T>() => new Promise<T>(() => {});
  const isStopped = () => stopping.signal.aborted;
  /** Where the process may be stopped, or be dead. */
  async function gate(): Promise<void> {
    if (alive && (!free || isStopped())) await new Promise<void>((go) => waiting.push(go));
    if (!alive) await never();
  }
  async function step<T>(work: () => Promise<T>): Promise<T> {
    await gate();
    const result = await work();
    await gate();
    return result;
  }

  const ownClock: Clock = {
    now: clock.now,
    async sleep(ms, signal) {
      for (let left = ms; ; ) {
        await proceeding;
        if (signal?.aborted) break;
        const began = clock.now();
        const stopped = stopping.signal;
        await clock.sleep(left, signal ? AbortSignal.any([signal, stopped]) : stopped);
        left -= clock.now() - began;
        if (!stopped.aborted) break;
        left = Math.max(left, 1);
      }
      if (!alive) await never();
    },
  };

  const steps: Steps = {
    takeLocks: (...given) => takingFrom(locks, self, ownClock, gate)(...given),
    reserveSuccessor: (store) =>
      step(async () => {
        if (around.disk() !== "works") return { state: "failed", code: "ENOSPC" };
        const reservation = await reserveSuccessor(store);
        if (reservation.state === "failed") return reservation;
        const { successor } = reservation;
        rooms.add(successor);
        const write: Successor["write"] = (replaces, token) =>
          step(async () => {
            if (around.disk() === "broken") {
              around.unwritable();
              return { state: "failed", code: "EIO" };
            }
            const written = await successor.write(replaces, token);
            if (written.state !== "failed") unwritten.delete(replaces);
            return written;
          });
        return { state: "reserved", successor: { ...successor, write } };
      }),
    mirror: (...given) =>
      step(async () => (around.disk() === "works" ? mirror(...given) : { state: "failed", code: "ENOSPC" })),
  };

  async function refresh(
    refreshToken: string,
    givenUp = new AbortController().signal,
  ): Promise<RefreshOutcome> {
    // Under way from here on: what waits at the gate is a connection that is slow to come about.
    around.presenting(self, refreshToken);
    await gate();
    unwritten.add(refreshToken);
    const lost = new Promise<RefreshOutcome>((resolve) => {
      givenUp.addEventListener("abort", () =>
        resolve({ state: "failed", cause: { kind: "network", code: "ABORT_ERR" }, committed: "unknown" }),
      );
    });
    const outcome = await Promise.race([around.send(refreshToken), lost]);
    await gate();
    if (!givenUp.aborted) {
      around.answered(self, refreshToken, outcome);
      if (outcome.state !== "refreshed") unwritten.delete(refreshToken);
    }
    return outcome;
  }

  const store: CredentialStore = {
    ...world.kimiCli,
    // One step with what follows: a token is presented as soon as it was read.
    async read() {
      await gate();
      return world.kimiCli.read();
    },
  };
  const inFlight = new InFlight(ownClock, (wait) => {
    held = wait;
    return {
      release() {
        held = undefined;
      },
    };
  });
  const startLogin = () =>
    world.start({ stores: [store, world.kimiCode], clock: ownClock, inFlight, steps, refresh });
  let login: Login = startLogin();

  async function die(how: Ending): Promise<void> {
    if (!alive) return;
    alive = false;
    dead();
    waiting.length = 0;
    const lost = [...unwritten];
    around.ended(self, lost, how);
    await locks.fallOf(self);
  }
  function run(): void {
    free = true;
    if (isStopped()) return;
    for (const go of waiting.splice(0)) go();
  }
  const over = (): Promise<void> => {
    const hasWaited = clock.now() - toldToEnd >= FAREWELL;
    return die(inFlight.givenUp.aborted && hasWaited ? "gave up" : "over");
  };
  function isToldToEnd(): void {
    leaving = true;
    mayPresent = false;
    toldToEnd = clock.now();
  }

  const self: SteppedProcess = {
    begin(work, isRequest) {
      const began = clock.now();
      const [wasFree, stopsBefore] = [free, stops];
      const ended = work(login).then(() => {
        working.delete(ended);
        if (isRequest && wasFree && stops === stopsBefore) around.waited(clock.now() - began);
      });
      working.add(ended);
    },
    step() {
      if (isStopped()) return false;
      const go = waiting.shift();
      go?.();
      return go !== undefined;
    },
    run,
    stop() {
      if (isStopped()) return;
      stops += 1;
      proceeding = new Promise((resolve) => {
        proceed = resolve;
      });
      stopping.abort();
    },
    proceed() {
      if (!isStopped()) return;
      stopping = new AbortController();
      proceed();
      if (free) run();
    },
    kill: () => die("killed"),
    async signal() {
      if (leaving) return die("killed");
      if (!held) return die("at once");
      isToldToEnd();
      void held(true).then(over);
      run();
    },
    async end() {
      leaving = true;
      // What was due when it was told is still begun.
      inFlight.leaving.addEventListener("abort", isToldToEnd, { once: true });
      run();
      void login.end().then(over);
    },
    replaceSession() {
      login = startLogin();
    },
    does: step,
    async bury() {
      alive = false;
      for (const room of rooms) room.discard();
      await locks.fallOf(self);
    },
    isAlive: () => alive,
    isStopped,
    pending: () => Promise.race([Promise.all(working), death]),
    inFlight,
    unwritten,
    isLeaving: () => leaving,
    mayPresent: () => mayPresent,
  };
  return self;
}
