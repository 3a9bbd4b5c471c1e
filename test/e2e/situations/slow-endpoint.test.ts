/** A token endpoint that is slow, silent, broken or floods: who waits for it, how long, and what nobody has to wait for. */
import { describe, expect, test } from "vitest";
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
import { createWorld } from "../../support/world.ts";

describe.concurrent.each(allHosts)("on pi $name", (host) => {
  test("waits 18 s for the token endpoint, longer than the user's httpIdleTimeoutMs", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
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
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
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

  test("presents the token three times at most to an endpoint that answers 500", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const repair = service.fault({ path: "token", times: Infinity, do: { status: 500, body: "<html>" } });
    const finished = await printPi(host, home, ["hello"], env());
    expect(service.refreshes().length).toBeLessThanOrEqual(3);
    expectOneSentence(finished);
    expect(finished.stderr).toContain("the authorization server is out of order");
    repair();
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("ends with one sentence where the endpoint says nothing, and holds auth.json's lock for none of that time", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const repair = service.fault({ path: "token", times: Infinity, do: { hang: true } });
    const longest = watchFolder(`${home.authPath}.lock`, onTestFinished);
    const finished = await printPi(host, home, ["hello"], env());
    const [sent, ...others] = service.refreshes();
    // 28 s for the request and 28 s at pi's end; a busy machine takes its time to start pi.
    expect(service.now() - (sent?.at ?? 0)).toBeLessThan(70_000);
    expect(longest()).toBeLessThan(10_000);
    expect(others.length).toBeLessThanOrEqual(1);
    expectOneSentence(finished);
    repair();
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("of another provider starts meanwhile as without us", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    ordinaryLogin(world, "expired");
    const elsewhere = await startElsewhere();
    onTestFinished(elsewhere.close);
    home.write(".pi/agent/models.json", elsewhereModels(elsewhere.url));
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

  test.for([
    { status: 401, body: { error: "invalid_client" } },
    { status: 401, body: { error: "invalid_token" } },
    { status: 401, body: "<html>Unauthorized</html>" },
  ])(
    "names /login kimi-coder where the endpoint answers $status $body",
    async (answer, { onTestFinished }) => {
      const world = await createWorld({}, onTestFinished);
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "expired");
      const repair = service.fault({ path: "token", times: Infinity, do: answer });
      const finished = await printPi(host, home, ["hello"], env());
      expectOneSentence(finished);
      expect(finished.stderr).toContain("/login kimi-coder");
      expect(service.refreshes().length).toBeLessThanOrEqual(3);
      repair();
      await expectLoginSurvives(host, world, refresh_token);
    },
  );

  test("keeps the refresh token where the answer names no new one (RFC 6749 §6)", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    service.apiKeys.add("at-without-a-successor");
    const body = { access_token: "at-without-a-successor", token_type: "Bearer", expires_in: 900 };
    service.fault({ path: "token", do: { status: 200, body } });
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    expect(home.readKimiCli()).toMatchObject({ access_token: "at-without-a-successor", refresh_token });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ refresh: refresh_token });
    service.apiKeys.clear();
    await expectLoginSurvives(host, world, refresh_token);
  });
});

/** ms; a pi that starts, asks and ends. */
const SOON = 40_000;

describe.each(hosts)(
  "30 MB of text/plain with status 200 keep pi $name busy no longer than any error",
  (host) => {
    const flood = { status: 200, body: "token model ".repeat(2_500_000), contentType: "text/plain" };

    test("from the token endpoint", async () => {
      const world = await createWorld();
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "expired");
      const repair = service.fault({ path: "token", times: Infinity, do: flood });
      const finished = await printPi(host, home, ["hello"], env());
      expectOneSentence(finished);
      expect(finished.ms).toBeLessThan(SOON);
      expect(service.refreshes().length).toBeLessThanOrEqual(3);
      repair();
      await expectLoginSurvives(host, world, refresh_token);
    });

    test("from the list of models", async () => {
      const world = await createWorld();
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "valid");
      const repair = service.fault({ path: "models", times: Infinity, do: flood });
      const finished = await printPi(host, home, ["hello"], env());
      expect(answered(finished)).toBe(true);
      expect(finished.ms).toBeLessThan(SOON);
      repair();
      await expectLoginSurvives(host, world, refresh_token);
    });

    test("from the API", async () => {
      const world = await createWorld();
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "valid");
      const repair = service.fault({ path: "chat", times: Infinity, do: flood });
      const finished = await printPi(host, home, ["hello"], env());
      // One line, which quotes what was wrong with the answer.
      expect(finished).toMatchObject({ stdout: "", exitCode: 1 });
      expect(finished.stderr).toMatch(/^Kimi Coder: [^\n]+ more than 8 MB\)\n$/);
      expect(finished.stderr.length).toBeLessThan(1_000);
      expect(finished.ms).toBeLessThan(SOON);
      repair();
      await expectLoginSurvives(host, world, refresh_token);
    });
  },
);

describe.each(hosts)("pi $name in a session", (host) => {
  test("/new waits for no renewal under way, which goes on", async () => {
    const world = await createWorld();
    const { service, home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "due");
    const answer = service.hold({ path: "token" });
    const pi = startRpc(host, home, ourModel, env());
    await refreshSent(world);
    const began = performance.now();
    await pi.request({ type: "new_session" });
    expect(performance.now() - began).toBeLessThan(10_000);
    answer();
    await isRenewed(world, refresh_token);
    expect(JSON.stringify(await pi.prompt("hello"))).toContain("You said: hello");
    expect(service.refreshes()).toHaveLength(1);
    await pi.close();
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("/new waits for no renewal that is never answered, and a valid token answers", async () => {
    const world = await createWorld();
    const { service, home, env } = world;
    ordinaryLogin(world, "due");
    service.fault({ path: "token", times: Infinity, do: { hang: true } });
    const pi = startRpc(host, home, ourModel, env());
    await refreshSent(world);
    for (let time = 0; time < 2; time++) {
      const began = performance.now();
      await pi.request({ type: "new_session" });
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(JSON.stringify(await pi.prompt("hello"))).toContain("You said: hello");
    }
    expect(service.refreshes()).toHaveLength(1);
    await pi.kill();
  });
});

describeInTmux.each(hosts)("pi $name in a terminal", (host) => {
  test("Esc ends a turn that waits for a renewal at once, and the renewal goes on", async () => {
    const world = await createWorld();
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

const KEY = "sk-elsewhere";

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

/** pi's models.json for it; the key that works stands in auth.json. */
function elsewhereModels(baseUrl: string): string {
  const models = [{ id: "other", name: "Other", reasoning: false, input: ["text"] }];
  return JSON.stringify({
    providers: { elsewhere: { baseUrl, api: "openai-completions", apiKey: "sk-wrong", models } },
  });
}
