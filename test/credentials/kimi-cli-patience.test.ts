/** What we do while kimi-cli waits for its lock: it goes on without after five seconds at the earliest. */
import { expect, test } from "vitest";
import { LockTable, takingFrom } from "./support/lock-table.ts";
import { renewAsKimiCli } from "./support/simulated-kimi-cli.ts";
import { type Refresh, startWorld } from "./support/world.ts";

/** How long kimi-cli's own answer takes, ms. */
const ITS_ANSWER = 3_000;

test.each([
  { wait: 1, times: 2 },
  { wait: 2, times: 2 },
  { wait: 3, times: 2 },
  { wait: 4, times: 2 },
  { wait: 5, times: 1 },
])(
  "a server that asks us to wait for $wait s, $times times, does not wear it out",
  async ({ wait, times }) => {
    const world = await startWorld();
    const { clock, service } = world;
    const login = world.login(world.kimiCli);
    clock.advance(8 * 60_000);
    const locks = new LockTable(false);
    const pi = world.start({ steps: { takeLocks: takingFrom(locks, {}, clock) } });
    const headers = { "retry-after": String(wait) };
    service.fault({ path: "token", times, do: { status: 503, body: {}, headers } });
    const checking = pi.keepFresh();
    await service.waitFor(({ kind }) => kind === "refresh");
    const refresh: Refresh = async (refreshToken) => {
      const outcome = await world.refresh(refreshToken);
      await clock.sleep(ITS_ANSWER);
      return outcome;
    };
    const kimiCli = renewAsKimiCli({ world, locks, refresh, pause: 1_000 });
    await world.drive(Promise.all([checking, kimiCli]));
    await world.drive(pi.end());
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.isLoginAlive(login.refresh_token)).toBe(true);
  },
);
