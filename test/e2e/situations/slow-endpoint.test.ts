/** A token endpoint that is slow, silent or broken: who waits for it, how long, and what nobody has to wait for. */
import { describe, expect } from "vitest";
import { otherProviderModels } from "../../conformance/other-provider.ts";
import { allHosts, hosts } from "../../support/hosts.ts";
import { startLoopback } from "../../support/loopback.ts";
import { runKimiCli } from "../../support/peers.ts";
import { ourModel, printPi, runPi, startPrintPi } from "../../support/pi.ts";
import { startRpc } from "../../support/rpc.ts";
import {
  answered,
  expectLoginSurvives,
  expectOneSentence,
  isRenewed,
  ordinaryLogin,
  refreshSent,
  watchFolder,
} from "../../support/survival.ts";
import { describeInTmux, startTmux } from "../../support/tmux.ts";
import { enter } from "../../support/typing.ts";
import { worldTest as test } from "../../support/world.ts";

describe.concurrent.each(allHosts)("on pi $name", (host) => {
  test("waits 18 s for the token endpoint, longer than the user's httpIdleTimeoutMs", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    home.write(".pi/agent/settings.json", JSON.stringify({ httpIdleTimeoutMs: 1_000 }));
    service.fault({ path: "token", do: { delay: 18_000 } });
    const finished = await printPi(host, home, ["hello"], env());
    expect(service.refreshes()).toHaveLength(1);
    expect(finished.stderr).toBe("");
    expect(answered(finished)).toBe(true);
    await expectLoginSurvives(host, world, refresh_token);
  });
});

describe.concurrent.each(hosts)("pi $name", (host) => {
  test("holds kimi-cli's lock as long as the endpoint takes; kimi-cli, due meanwhile, adopts", async ({
    world,
  }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    // kimi-cli waits 8 s.
    service.fault({ path: "token", do: { delay: 4_000 } });
    const pi = startPrintPi(host, home, ["hello"], env());
    await refreshSent(world);
    const peer = await runKimiCli(home, service);
    const finished = await pi.finished;
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(peer).toMatchObject({ outcome: "adopted", locked: true });
    expect(answered(finished)).toBe(true);
    expect(service.refreshes()).toHaveLength(1);
    await expectLoginSurvives(host, world, refresh_token);
  });

  test.for([
    ["500", { status: 500, body: "<html>" }, "the authorization server is out of order"],
    ["401", { status: 401, body: { error: "invalid_client" } }, "/login kimi-coder"],
  ] as const)(
    "says what to do about an endpoint that answers %s, and presents the token three times at most",
    async ([_, answer, says], { world }) => {
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "expired");
      const repair = service.fault({ path: "token", times: Infinity, do: answer });
      const finished = await printPi(host, home, ["hello"], env());
      expect(service.refreshes().length).toBeLessThanOrEqual(3);
      expectOneSentence(finished);
      expect(finished.stderr).toContain(says);
      repair();
      await expectLoginSurvives(host, world, refresh_token);
    },
  );

  test("ends with one sentence where the endpoint says nothing, and holds auth.json's lock for none of that time", async ({
    world,
  }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const repair = service.fault({ path: "token", times: Infinity, do: { hang: true } });
    const longest = watchFolder(`${home.authPath}.lock`, home.atRemoval);
    const finished = await printPi(host, home, ["hello"], env());
    const [sent, ...others] = service.refreshes();
    // 28 s for the request and 28 s at the end of pi, where 120 s would be a whole token call.
    expect(service.now() - (sent?.at ?? 0)).toBeLessThan(100_000);
    expect(longest()).toBeLessThan(10_000);
    expect(others.length).toBeLessThanOrEqual(1);
    expectOneSentence(finished);
    repair();
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("of another provider starts meanwhile as without us", async ({ world, onTestFinished }) => {
    const { service, home, env } = world;
    ordinaryLogin(world, "expired");
    const elsewhere = await startElsewhere();
    onTestFinished(elsewhere.close);
    home.write(".pi/agent/models.json", otherProviderModels(elsewhere.url));
    home.writeAuth({ ...home.readAuth(), elsewhere: { type: "api_key", key: KEY } });
    service.fault({ path: "token", times: Infinity, do: { hang: true } });
    startPrintPi(host, home, ["hello"], env());
    await refreshSent(world);
    const model = ["--provider", "elsewhere", "--model", "other"];
    const beside = await runPi(host, home, [...model, "-p", "hello"], env());
    expect(beside).toMatchObject({ stdout: "Said elsewhere.\n", stderr: "", exitCode: 0 });
    // Sooner than the other one, which waits for 28 s and more.
    expect(service.refreshes()).toMatchObject([{ finished: false }]);
  });
});

describe.each(hosts)("pi $name in a session", (host) => {
  test("/new waits for no renewal under way, a valid token answers meanwhile, and it goes on", async ({
    world,
  }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "due");
    const answer = service.hold({ path: "token" });
    const pi = startRpc(host, home, ourModel, env());
    await refreshSent(world);
    for (let time = 0; time < 2; time++) {
      const began = performance.now();
      await pi.request({ type: "new_session" });
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(JSON.stringify(await pi.prompt("hello"))).toContain("You said: hello");
    }
    expect(home.readKimiCli()).toMatchObject({ refresh_token });
    answer();
    await isRenewed(world, refresh_token);
    expect(service.refreshes()).toHaveLength(1);
    await pi.close();
    await expectLoginSurvives(host, world, refresh_token);
  });
});

describeInTmux.each(hosts)("pi $name in a terminal", (host) => {
  test("Esc ends a turn that waits for a renewal at once, and the renewal goes on", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const answer = service.hold({ path: "token" });
    const pi = await startTmux(host, home, ourModel, env());
    try {
      await refreshSent(world);
      await enter(pi, "hello");
      await pi.waitFor(/Working/);
      await pi.key("Escape");
      // Without Esc pi waits for 28 s.
      await pi.waitFor(/abort/i, 10_000);
      answer();
      await isRenewed(world, refresh_token);
      await enter(pi, "again");
      await pi.waitFor("You said: again");
      expect(service.refreshes()).toHaveLength(1);
      expect(service.chats()).toHaveLength(1);
    } finally {
      await pi.close();
    }
    await expectLoginSurvives(host, world, refresh_token);
  });
});

/** As auth.json has it; in models.json stands another. */
const KEY = "sk-that-works";

/** Another provider, which answers whoever comes with its key. */
function startElsewhere() {
  const chunk = (delta: object, finish_reason: string | null) =>
    `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "other", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  return startLoopback((request, response) => {
    request.resume();
    const known = request.headers.authorization === `Bearer ${KEY}`;
    response.writeHead(known ? 200 : 401, { "content-type": "text/event-stream" });
    if (!known) return void response.end();
    response.write(chunk({ content: "Said elsewhere." }, null));
    response.end(`${chunk({}, "stop")}data: [DONE]\n\n`);
  });
}
