/**
 * Days of seven pi and kimi-cli on one login, on the fake clock. Files and HTTP are real; the locks are held in memory,
 * because a flock would cost a child process for each of the thousands of renewals.
 */
import { expect, test } from "vitest";
import type { Access } from "../../extensions/credentials/login.ts";
import { isValid } from "../../extensions/oauth/token.ts";
import { isCheckDue } from "../../extensions/session.ts";
import { count, full } from "../support/counts.ts";
import { LockTable, takingFrom } from "./support/lock-table.ts";
import { renewAsKimiCli } from "./support/simulated-kimi-cli.ts";
import { type Refresh, type RunningProcess, startWorld } from "./support/world.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const AWAKE = 16 * HOUR;
const ASLEEP = 8 * HOUR;
const DAYS = count(2, 30);
/** Share of the token calls that fail; of two days some must, too. */
const FAILURES = full ? 0.01 : 0.05;
const LIFE = 15 * MINUTE;
/** For so long after waking up the token may still be the old one. */
const WAKING = 5_000;
/** How often pi's timer looks at the clock, and kimi-cli at the login, ms. */
const TICK = MINUTE / 2;
const KIMI_CLI_LOOKS = MINUTE;
/** kimi-cli is open for so long, and then closed. */
const KIMI_CLI_IS_OPEN = 3 * HOUR;

interface Alarm {
  at: number;
  readonly every: number;
  readonly tick: () => unknown;
}

interface Figures {
  /** Refreshes that the service granted. */
  readonly granted: number;
  readonly failed: number;
  /** Calls by pi. */
  readonly byPi: number;
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The refreshes of kimi-cli alone over the same days, where no call takes time or ever fails. */
function alone(): number {
  let granted = 0;
  let expiresAt = 0;
  for (let day = 0; day < DAYS; day++) {
    const morning = day * (AWAKE + ASLEEP);
    for (let now = morning; now < morning + AWAKE; now += KIMI_CLI_LOOKS) {
      if (expiresAt - now >= LIFE / 2) continue;
      granted += 1;
      expiresAt = now + LIFE;
    }
  }
  return granted;
}

/** Lives for all days with kimi-cli and so many pi, `failures` of whose token calls fail before the server commits. */
async function live(howMany: number, failures: number): Promise<Figures> {
  const world = await startWorld();
  const { clock, service } = world;
  const login = world.login(world.kimiCli);
  const random = numbers(SEED);
  const unlucky = () => random() < failures;
  service.fault({ path: "token", times: Number.POSITIVE_INFINITY, when: unlucky, do: { drop: "before" } });

  const locks = new LockTable(false);
  const alarms: Alarm[] = [];
  const processes: RunningProcess[] = [];
  const under: Promise<Access>[] = [];
  const beside: Promise<unknown>[] = [];
  let byPi = 0;
  const asKimiCli = () =>
    renewAsKimiCli({ world, locks, refresh: world.refresh, pause: 1_000 + random() * 1_200 });
  const isOpen = () => Math.floor(clock.now() / KIMI_CLI_IS_OPEN) % 2 === 0;
  alarms.push({
    at: clock.now(),
    every: KIMI_CLI_LOOKS,
    tick: () => isOpen() && beside.push(asKimiCli()),
  });
  const join = () => {
    const holder = {};
    const refresh: Refresh = (...given) => {
      byPi += 1;
      return world.refresh(...given);
    };
    const process = world.start({ refresh, steps: { takeLocks: takingFrom(locks, holder, clock) } });
    processes.push(process);
    let lastCheck = clock.now();
    const check = () => void under.push(process.keepFresh());
    check();
    const tick = () => {
      const now = clock.now();
      if (!isCheckDue(now, lastCheck, process.expiresAt())) return;
      lastCheck = now;
      check();
    };
    alarms.push({ at: clock.now() + TICK, every: TICK, tick });
  };
  let wokeAt = clock.now();

  /** Lets all whose time has come look, and waits until what they do is done. */
  async function look(): Promise<void> {
    for (const alarm of alarms) {
      if (alarm.at > clock.now()) continue;
      alarm.tick();
      // A timer that is late fires once.
      while (alarm.at <= clock.now()) alarm.at += alarm.every;
    }
    await world.drive(Promise.all(beside.splice(0)));
    const answers = await world.drive(Promise.all(under.splice(0)));
    for (const access of answers) {
      if (access.state !== "ready") throw new Error(`no token: ${access.reason.kind}`);
    }
  }

  let lastLook = clock.now();
  async function mustBeValid(): Promise<void> {
    if (clock.now() - wokeAt < WAKING || clock.now() - lastLook < MINUTE) return;
    lastLook = clock.now();
    const found = await world.kimiCli.read();
    if (found.state !== "present" || !isValid(found.token, clock.now())) throw new Error("no valid token");
  }

  for (let day = 0; day < DAYS; day++) {
    wokeAt = clock.now();
    const night = wokeAt + AWAKE;
    await look();
    while (clock.now() < night) {
      // Everybody starts on the first day, at another time.
      const left = howMany - processes.length;
      const nextStart = left > 0 ? clock.now() + Math.floor((random() * 10 * MINUTE) / left) : night;
      const next = Math.min(night, nextStart, ...alarms.map(({ at }) => at));
      if (next > clock.now()) clock.advance(next - clock.now());
      await mustBeValid();
      if (left > 0 && next === nextStart) join();
      await look();
    }
    clock.advance(ASLEEP);
  }

  for (const process of processes) await world.drive(process.end());
  expect(service.isLoginAlive(login.refresh_token)).toBe(true);
  expect(service.reusedRefreshTokens()).toBe(0);
  const granted = service.refreshes().filter(({ issued }) => issued).length;
  return { granted, failed: service.refreshes().length - granted, byPi };
}

test(`${DAYS} days of seven pi and kimi-cli lose no login and ask no more than kimi-cli alone, seed ${SEED}`, {
  timeout: 600_000,
}, async () => {
  // kimi-cli alone is the minimum of the rule that all follow: renew once half of the token's life is over.
  const minimum = alone();
  const { granted, failed, byPi } = await live(7, FAILURES);
  console.log(
    `soak: SEED=${SEED} refreshes ${granted} (and ${failed} failed calls; ${byPi} of all by pi), kimi-cli alone ${minimum}, ` +
      `ratio ${(granted / minimum).toFixed(3)}`,
  );
  expect(failed).toBeGreaterThan(0);
  expect(byPi).toBeGreaterThan(10 * DAYS);
  expect(granted + failed - byPi).toBeGreaterThan(10 * DAYS);
  expect(granted).toBeLessThanOrEqual(1.1 * minimum);
});
