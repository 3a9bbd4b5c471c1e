/** One login, many processes: pi on both hosts, kimi-cli's protocol, the real kimi-code. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, newerHost, olderHost } from "../support/hosts.ts";
import { configureKimiCode, runKimiCli, runKimiCode } from "../support/peers.ts";
import { copyExtension, ourModel, printPi } from "../support/pi.ts";
import type { Finished } from "../support/processes.ts";
import { startRpc } from "../support/rpc.ts";
import { answered } from "../support/survival.ts";
import { createWorld, type World } from "../support/world.ts";

function times<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, make));
}

/** So many pi at the same time, of both versions in turn. */
function manyPi(count: number, { home, env }: World): Promise<Finished[]> {
  let started = 0;
  return times(count, () => printPi(++started % 2 ? newerHost : olderHost, home, ["hello"], env()));
}

function expectOneChain({ service, home }: World, refreshToken: string): void {
  expect(service.reusedRefreshTokens()).toBe(0);
  const current = service.currentTokens(refreshToken);
  expect(current).toBeDefined();
  expect(home.readKimiCli()).toMatchObject({ refresh_token: current?.refresh_token });
  expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ refresh: current?.refresh_token });
}

test("eight pi processes with one expired login refresh it once, however slow the token endpoint is", async () => {
  const world = await createWorld();
  const { service, logInToKimiCli } = world;
  const { refresh_token } = logInToKimiCli("expired");
  service.fault({ path: "token", times: Infinity, do: { delay: 4_000 } });
  const runs = await manyPi(8, world);
  expect(runs.filter((run) => !answered(run))).toEqual([]);
  expect(service.refreshes()).toHaveLength(1);
  expectOneChain(world, refresh_token);
});

describe("beside the official clients", () => {
  test("pi and kimi-cli's protocol share ~/.kimi: one refresh, no token twice", async () => {
    const world = await createWorld();
    const { service, home, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli("expired");
    service.fault({ path: "token", times: Infinity, do: { delay: 500 } });

    const peer = () => runKimiCli(home, service);
    const [runs, peers] = await Promise.all([manyPi(4, world), times(4, peer)]);

    expect(runs.filter((run) => !answered(run))).toEqual([]);
    expect(peers.filter(({ outcome }) => !["adopted", "refreshed", "not-due"].includes(outcome))).toEqual([]);
    expect(service.refreshes()).toHaveLength(1);
    expectOneChain(world, refresh_token);
  });

  test("pi and the real kimi-code share ~/.kimi-code: one refresh, no token twice", async () => {
    const world = await createWorld();
    const { service, home } = world;
    const token = world.logInToKimiCode("expired");
    configureKimiCode(home, service);
    service.fault({ path: "token", times: Infinity, do: { delay: 500 } });

    const peer = () => runKimiCode(home, service, "hello");
    const [runs, peers] = await Promise.all([manyPi(2, world), times(2, peer)]);

    expect(runs.filter((run) => !answered(run))).toEqual([]);
    expect(peers.filter(({ exitCode }) => exitCode !== 0)).toEqual([]);
    expect(service.refreshes()).toHaveLength(1);
    expect(service.reusedRefreshTokens()).toBe(0);
    const current = service.currentTokens(token.refresh_token);
    expect(home.readKimiCode(service)).toMatchObject({ refresh_token: current?.refresh_token });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({
      refresh: current?.refresh_token,
      owner: "kimi-code",
      source: home.kimiCodePath(service),
    });
    expect(home.readKimiCli()).toBeUndefined();
  });
});

describe.each(hosts)("pi $name", (host) => {
  test("repeats a request whose token was revoked, in every mode and for compaction", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    home.write(".pi/agent/settings.json", JSON.stringify({ compaction: { keepRecentTokens: 1 } }));
    const rpc = startRpc(host, home, ourModel, env());
    await rpc.prompt("one");
    service.revokeAccessToken();
    const events = JSON.stringify(await rpc.prompt("two"));
    expect(events).toContain("You said: two");
    expect(events).not.toMatch(/"stopReason":"error"|auto_retry/);
    expect(service.refreshes()).toHaveLength(1);

    service.revokeAccessToken();
    await rpc.request({ type: "compact" });
    expect(service.refreshes()).toHaveLength(2);
    await rpc.close();

    service.revokeAccessToken();
    expect(answered(await printPi(host, home, ["three"], env()))).toBe(true);
    expect(service.refreshes()).toHaveLength(3);
    expect(service.reusedRefreshTokens()).toBe(0);
  });

  test("renews the login of a session whose files have gone, as an update takes them away", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const extension = copyExtension(home);
    const rpc = startRpc(host, home, ourModel, { ...env(), extension });
    await rpc.prompt("one");
    // One module is loaded after the other, so this answers once all is loaded that the prompt has asked for.
    await rpc.request({ type: "prompt", message: "/kimi status" });
    rmSync(join(extension, "extensions"), { recursive: true });
    service.revokeAccessToken();
    expect(JSON.stringify(await rpc.prompt("two"))).toContain("You said: two");
    expect(service.refreshes()).toHaveLength(1);
    await rpc.close();
  });

  test("says once that the login has ended, after one token call", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli("expired");
    service.revokeLogin();
    const before = home.readKimiCli();
    const { stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      "Kimi Coder: the login of kimi-cli has ended; type /login kimi-coder to log in again.\n",
    );
    expect(service.refreshes()).toHaveLength(1);
    expect(home.readKimiCli()).toEqual(before);
  });

  test("does not undo a logout of kimi-cli", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    const chats = service.chats().length;
    home.write(".kimi/credentials/kimi-code.json", '{"access_token":"","refresh_token":"","expires_at":0}');
    const { stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect(exitCode).toBe(1);
    expect(stderr).toContain("kimi-cli has logged out");
    expect(service.chats()).toHaveLength(chats);
    expect(home.read(".kimi/credentials/kimi-code.json")).toContain('"access_token":""');
  });
});
