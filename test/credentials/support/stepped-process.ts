/**
 * A process of ours that moves one step at a time and can be killed at any of them: before and after each look at a
 * file, lock, request and write it waits until it is let on. What has been killed never goes on.
 */
import type { Access, SharedCredential } from "../../../extensions/credentials/shared-credential.ts";
import type { LockOutcome, LoginStore } from "../../../extensions/credentials/store.ts";
import type { Clock } from "../../../extensions/oauth/clock.ts";
import type { World } from "./world.ts";

/** What happens to all processes of a world. */
export interface Surroundings {
  readonly world: World;
  /** kimi-cli's lock, as it is taken in this sequence: never waits. */
  readonly takeFlock: () => Promise<LockOutcome>;
  readonly diskFails: () => boolean;
  /** Told when a refresh token begins to be presented, and when its answer arrived. */
  readonly presenting: (process: SteppedProcess, refreshToken: string) => void;
  readonly answered: (process: SteppedProcess, refreshToken: string, state: string) => void;
}

export interface SteppedProcess {
  readonly credential: SharedCredential;
  /** Begins something, and remembers how it ended. */
  begin(work: (credential: SharedCredential) => Promise<Access>): void;
  /** Lets it go one step; false where nothing of it waits. */
  step(): boolean;
  /** From now on it goes without stopping. */
  run(): void;
  /** As SIGKILL: a flock falls at once, a directory lock when its heartbeat has been missing for ten seconds. */
  kill(): void;
  /** Lets go of what is left. */
  bury(): Promise<void>;
  readonly isAlive: () => boolean;
  /** What has begun and not ended. */
  readonly pending: () => Promise<unknown>;
  /** Refresh tokens that were presented and whose successor is not on disk. */
  readonly unwritten: ReadonlySet<string>;
  readonly results: readonly Access[];
}

/** After how long a directory lock without a heartbeat may be taken over, ms; the store's own figure. */
const STALE = 10_000;
/** Between two tries for kimi-cli's lock on the fake clock, ms. */
const TRY_AGAIN = 150;

export function startStepped(around: Surroundings): SteppedProcess {
  const { world } = around;
  const { clock } = world;
  const waiting: (() => void)[] = [];
  const unwritten = new Set<string>();
  const results: Access[] = [];
  const working = new Set<Promise<unknown>>();
  const flocks = new Set<() => Promise<void>>();
  const directories = new Set<() => Promise<void>>();
  let alive = true;
  let free = false;

  const never = <T>() => new Promise<T>(() => {});
  /** Where the process may be stopped, or be dead. */
  function gate(): Promise<void> {
    if (!alive) return never();
    if (free) return Promise.resolve();
    return new Promise((go) => waiting.push(go));
  }
  async function step<T>(work: () => Promise<T>): Promise<T> {
    await gate();
    const result = await work();
    return alive ? result : never<T>();
  }

  const ownClock: Clock = {
    now: clock.now,
    sleep: (ms, signal) => clock.sleep(ms, signal).then(() => (alive ? undefined : never<undefined>())),
  };

  function owned(lock: LockOutcome, among: Set<() => Promise<void>>): LockOutcome {
    if (lock.state !== "held") return lock;
    const { release } = lock;
    among.add(release);
    return {
      state: "held",
      release: () =>
        step(() => {
          among.delete(release);
          return release();
        }),
    };
  }

  async function waitForFlock(timeout: number): Promise<LockOutcome> {
    const giveUpAt = clock.now() + timeout;
    for (;;) {
      const present = (await world.kimiCli.read()).state !== "absent";
      const lock: LockOutcome = present ? await around.takeFlock() : { state: "failed", code: "ENOENT" };
      if (lock.state !== "busy" || clock.now() >= giveUpAt) return lock;
      await ownClock.sleep(TRY_AGAIN);
    }
  }

  const store: LoginStore = {
    ...world.kimiCli,
    read: () => step(world.kimiCli.read),
    lockAmongPi: (timeout) => step(async () => owned(await world.kimiCli.lockAmongPi(timeout), directories)),
    lockOfOwner: (timeout) => step(async () => owned(await waitForFlock(timeout), flocks)),
    save: (token) =>
      around.diskFails() ? Promise.resolve({ state: "failed", code: "ENOSPC" }) : world.kimiCli.save(token),
    rehearse: () =>
      step(async () => (around.diskFails() ? { state: "failed", code: "ENOSPC" } : world.kimiCli.rehearse())),
    replace: (replaces, token) =>
      step(async () => {
        if (around.diskFails()) return { state: "failed", code: "ENOSPC" };
        const written = await world.kimiCli.replace(replaces, token);
        if (written.state !== "failed") unwritten.delete(replaces);
        return written;
      }),
  };

  const credential = world.start({
    kimiCli: store,
    clock: ownClock,
    piAuth: {
      ...world.piAuth,
      update: (change) =>
        step(async () =>
          around.diskFails() ? { state: "failed", code: "ENOSPC" } : world.piAuth.update(change),
        ),
    },
    refresh: async (refreshToken) => {
      // Under way from here on: what waits at the gate is a connection that is slow to come about.
      around.presenting(self, refreshToken);
      const outcome = await step(async () => {
        unwritten.add(refreshToken);
        return world.refresh(refreshToken);
      });
      await gate();
      around.answered(self, refreshToken, outcome.state);
      if (outcome.state !== "refreshed") unwritten.delete(refreshToken);
      return outcome;
    },
  });

  const self: SteppedProcess = {
    credential,
    begin(work) {
      const ended = work(credential).then((access) => {
        results.push(access);
        working.delete(ended);
      });
      working.add(ended);
    },
    step() {
      const go = waiting.shift();
      go?.();
      return go !== undefined;
    },
    run() {
      free = true;
      for (const go of waiting.splice(0)) go();
    },
    kill() {
      alive = false;
      waiting.length = 0;
      for (const release of flocks) void release();
      flocks.clear();
      void clock.sleep(STALE).then(self.bury);
    },
    async bury() {
      for (const release of [...flocks, ...directories]) await release();
      flocks.clear();
      directories.clear();
    },
    isAlive: () => alive,
    pending: () => Promise.all(working),
    unwritten,
    results,
  };
  return self;
}
