/** A pi that is stopped, ended or loses its terminal while its refresh is under way: the answer is saved all the same. */
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { allHosts, hosts, type PiHost } from "../../support/hosts.ts";
import { ourModel, startPrintPi } from "../../support/pi.ts";
import {
  answered,
  expectLoginSurvives,
  expectOneSentence,
  isEndedBy,
  isRenewed,
  ordinaryLogin,
  otherHost,
  refreshSent,
} from "../../support/survival.ts";
import { describeInTmux, startTmux } from "../../support/tmux.ts";
import { enter } from "../../support/typing.ts";
import { worldTest as test, type World } from "../../support/world.ts";

describe.concurrent.each(allHosts)("pi $name in print mode", (host) => {
  test("stopped for 20 s uses the answer that came meanwhile", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const answer = service.hold({ path: "token" });
    const pi = startPrintPi(host, home, ["hello"], env());
    await refreshSent(world);
    pi.kill("SIGSTOP");
    answer();
    await pause(20_000);
    pi.kill("SIGCONT");
    expect(answered(await pi.finished)).toBe(true);
    expect(service.refreshes()).toHaveLength(1);
    await expectLoginSurvives(host, world, refresh_token);
  });

  test.for(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "saves the answer, then is ended by %s",
    async (signal, { world }) => {
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "expired");
      service.fault({ path: "token", do: { delay: 3000 } });
      const pi = startPrintPi(host, home, ["hello"], env());
      await refreshSent(world);
      const signalled = performance.now();
      pi.kill(signal);
      const finished = await pi.finished;
      const ms = performance.now() - signalled;
      await expectLoginSurvives(host, world, refresh_token);
      expect(isEndedBy(finished, signal)).toBe(true);
      expect(ms).toBeLessThan(10_000);
      expect(finished.stderr).not.toMatch(/^\s+at /m);
    },
  );

  test("is ended at once by a second Ctrl+C", async ({ world }) => {
    const { service, home, env } = world;
    ordinaryLogin(world, "expired");
    service.fault({ path: "token", times: Infinity, do: { hang: true } });
    const pi = startPrintPi(host, home, ["hello"], env());
    await refreshSent(world);
    pi.kill("SIGINT");
    const early = await Promise.race([pi.finished, pause(2_000)]);
    expect(early).toBeUndefined();
    const signalled = performance.now();
    pi.kill("SIGINT");
    expect(isEndedBy(await pi.finished, "SIGINT")).toBe(true);
    expect(performance.now() - signalled).toBeLessThan(5_000);
  });

  test("waits up to 30 s at its end for a refresh that nobody asked it to wait for", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "due");
    service.fault({ path: "token", do: { delay: 18_000 } });
    const pi = startPrintPi(host, home, ["hello"], env());
    const finished = await pi.finished;
    expect(answered(finished)).toBe(true);
    expect(service.refreshes()).toHaveLength(1);
    expect(finished.ms).toBeGreaterThan(18_000);
    await expectLoginSurvives(host, world, refresh_token);
  });
});

/** A pi that was stopped while it renews kimi-code's login. */
async function startAndStop(host: PiHost, world: World) {
  const { refresh_token: refreshToken } = ordinaryLogin(world, "expired", "kimi-code");
  const answer = world.service.hold({ path: "token" });
  const holder = startPrintPi(host, world.home, ["hello"], world.env());
  await refreshSent(world);
  holder.kill("SIGSTOP");
  answer();
  return { refreshToken, holder };
}

describe.concurrent.each(hosts)("kimi-code's login and a stopped pi $name that renews it", (host) => {
  test("a second pi starts 7 s later and adopts", async ({ world }) => {
    const { refreshToken, holder } = await startAndStop(host, world);
    const { service, home, env } = world;
    await pause(7_000);
    const second = startPrintPi(otherHost(host), home, ["hello"], env());
    await pause(8_000);
    holder.kill("SIGCONT");
    const ends = await Promise.all([holder.finished, second.finished]);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.refreshes()).toHaveLength(1);
    expect(ends.map(answered)).toEqual([true, true]);
    await expectLoginSurvives(host, world, refreshToken);
  });

  test("both it and the one that waits for it are stopped for 20 s", async ({ world }) => {
    const { refreshToken, holder } = await startAndStop(host, world);
    const { service, home, env } = world;
    const second = startPrintPi(otherHost(host), home, ["hello"], env());
    // Long enough to start and wait, too short to take a lock of kimi-code's over.
    await pause(4_000);
    second.kill("SIGSTOP");
    await pause(20_000);
    second.kill("SIGCONT");
    await pause(500);
    holder.kill("SIGCONT");
    const [first, waiter] = await Promise.all([holder.finished, second.finished]);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.refreshes()).toHaveLength(1);
    expect(answered(first)).toBe(true);
    if (!answered(waiter)) expectOneSentence(waiter);
    await expectLoginSurvives(host, world, refreshToken);
  });
});

describeInTmux.concurrent.each(hosts)("pi $name in a terminal, its refresh under way,", (host) => {
  test("saves the answer after /quit and Ctrl+C", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const answer = service.hold({ path: "token" });
    const pi = await startTmux(host, home, ourModel, env());
    await refreshSent(world);
    await enter(pi, "/quit");
    await pi.waitFor(/Kimi Coder: [^\n]*renew/);
    await pi.key("C-c");
    await expect(pi.ended(2_000)).rejects.toThrow("pi goes on");
    answer();
    await pi.ended();
    expect(service.log.find(({ kind }) => kind === "refresh")).toMatchObject({ status: 200, finished: true });
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("is ended at once by the second Ctrl+C after /quit", async ({ world }) => {
    const { service, home, env } = world;
    ordinaryLogin(world, "expired");
    service.fault({ path: "token", times: Infinity, do: { hang: true } });
    const pi = await startTmux(host, home, ourModel, env());
    await refreshSent(world);
    await enter(pi, "/quit");
    await pi.waitFor(/Kimi Coder: [^\n]*renew/);
    await pi.key("C-c");
    await expect(pi.ended(2_000)).rejects.toThrow("pi goes on");
    await pi.key("C-c");
    // Without it pi would wait for 28 s.
    await pi.ended(10_000);
  });

  test("saves the answer when the terminal is closed", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const answer = service.hold({ path: "token" });
    const pi = await startTmux(host, home, ourModel, env());
    await refreshSent(world);
    await pi.waitFor(/0\.0%/);
    await pi.close();
    // A pi that does not wait would have ended by then.
    await pause(2_000);
    answer();
    await isRenewed(world, refresh_token);
    await expectLoginSurvives(host, world, refresh_token);
  });
});
