/** `/kimi status` in the real pi: on the screen, in RPC and in print mode. */
import { utimesSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { hosts } from "../support/hosts.ts";
import { ourModel, printPi, runPi, withoutModelsWarning } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { createLoggedInWorld, createWorld } from "../support/world.ts";

describe.each(hosts)("/kimi status on pi $name", (host) => {
  test("says in RPC mode what was really sent, turn by turn, and no secret", async () => {
    const { service, home, env, login } = await createLoggedInWorld();
    const pi = startRpc(host, home, [...ourModel, "--thinking", "high"], env());
    expect(await pi.say("/kimi status")).toContain("Last request: none since pi started");

    const usage = (prompt_tokens: number, cached_tokens: number) => ({ prompt_tokens, cached_tokens });
    service.reply({ text: "hi", usage: usage(1000, 200), cachedTokensAt: "top" });
    await pi.prompt("hello");
    service.reply({ text: "hi", usage: usage(1000, 640), cachedTokensAt: "top" });
    await pi.prompt("hello again");
    const status = await pi.say("/kimi status");
    expect(status.split("\n")).toEqual([
      expect.stringMatching(new RegExp(`^pi-kimi-coder \\d+\\.\\d+\\.\\d+ on pi ${host.version}$`)),
      "Login: kimi-cli, ~/.kimi/credentials/kimi-code.json",
      expect.stringMatching(/^Access token: until [\w ]*\d\d:\d\d \(in 1[45] m\)$/),
      expect.stringMatching(/^Renewed: [\w ]*\d\d:\d\d \((just now|\d m ago)\)$/),
      expect.stringMatching(/^Plan: /),
      "Region: kimi.com",
      `API: ${service.baseUrl}`,
      `Authorization server: ${service.oauthHost}`,
      `Identity: ${service.chats()[0]?.headers["user-agent"]}`,
      "Model: kimi-coder/kimi-for-coding",
      expect.stringMatching(
        /^Last request: model kimi-for-coding, thinking \{"type":"enabled".*\}, max_tokens \d+$/,
      ),
      "  of its prompt 640 of 1,000 tokens (64 %) came from Kimi's cache",
    ]);
    const json = await pi.say("/kimi status --json");
    const body = service.chats().at(-1)?.body;
    const [, thinking = "", max] = /thinking (\{.*\}), max_tokens (\d+)/.exec(status) ?? [];
    expect(body).toMatchObject({ thinking: JSON.parse(thinking), max_tokens: Number(max) });
    expect(JSON.parse(json)).toMatchObject({
      lastRequest: { model: "kimi-for-coding", thinking: JSON.parse(thinking), maxTokens: Number(max) },
      cache: { answers: 2, promptTokens: 2_000, cachedTokens: 840, percent: 42 },
    });
    for (const secret of [login.access_token, login.refresh_token, home.read(".kimi/device_id").trim()])
      expect(status + json).not.toContain(secret);

    expect(await pi.say("/kimi usages")).toMatch(
      /^Kimi Coder: there is no \/kimi usages; there is .*\/kimi status/,
    );
    const overview = await pi.say("/kimi");
    expect(overview).toMatch(/^Kimi Coder \d+\.\d+\.\d+\nLogin: kimi-cli, .* \(kimi\.com\)\nPlan: /);
    expect(overview).toContain("\nModel: kimi-for-coding, thinking high\n/kimi usage shows every limit");
    expect(service.chats()).toHaveLength(2); // no command was sent to the model
    await pi.close();
  });

  test("works in print mode, in text and as one JSON object, names a key's place, and leaves no trace", async () => {
    const { service, home, env, login } = await createLoggedInWorld();
    const renewedAt = Math.floor(Date.now() / 1000) - 7200;
    utimesSync(home.kimiCliPath, renewedAt, renewedAt);
    const ran = await printPi(host, home, ["/kimi status", "/kimi status --json"], env());
    expect({ stderr: ran.stderr, exitCode: ran.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    const [text, json = ""] = ran.stdout.split(/^(?=\{)/m);
    expect(text).toMatch(
      /\nLogin: kimi-cli, ~\/\.kimi\/credentials\/kimi-code\.json\nAccess token: until .*\nRenewed: .* \(2 h ago\)\n/,
    );
    expect(JSON.parse(json)).toMatchObject({
      version: 1,
      pi: host.version,
      state: "login",
      login: {
        owner: "kimi-cli",
        path: home.kimiCliPath,
        accessTokenEnds: new Date(Math.floor(login.expires_at * 1000)).toISOString(),
      },
      key: null,
      problem: null,
      renewal: { at: new Date(renewedAt * 1000).toISOString(), by: null, pid: null, login: null },
      plan: null,
      region: "kimi.com",
      api: service.baseUrl,
      authorizationServer: service.oauthHost,
      identity: expect.stringContaining("pi-kimi-coder/"),
      model: "kimi-coder/kimi-for-coding",
      cache: { answers: 0, percent: null },
    });
    const key = { KIMI_CODER_API_KEY: "sk-very-secret" };
    const { stdout } = await printPi(host, home, ["/kimi status"], env(key));
    expect(stdout).toContain("\nKey: from KIMI_CODER_API_KEY\n");
    expect(stdout).not.toContain("sk-very-secret");
    expect([...service.refreshes(), ...service.chats()]).toEqual([]);
    expect(Object.keys(home.files())).not.toContain(".kimi/device_id");
  });

  test("gives the shell one JSON object where a variable is refused, and a failure", async () => {
    const { home, env } = await createLoggedInWorld();
    const refused = env({ KIMI_CODER_IDENTITY: "somebody" });
    const json = await runPi(host, home, ["-p", "/kimi status --json"], refused);
    expect({ stderr: withoutModelsWarning(json.stderr), exitCode: json.exitCode }).toEqual({
      stderr: "",
      exitCode: 1,
    });
    const problem =
      "Kimi Coder: KIMI_CODER_IDENTITY is neither pi nor kimi-cli; correct or unset it and start pi again.";
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      pi: host.version,
      ...{ state: "none", login: null, key: null, reason: "configuration", problem },
      ...{ region: null, api: null, authorizationServer: null, identity: null },
    });
    const plain = await runPi(host, home, ["-p", "/kimi status"], refused);
    expect(plain).toMatchObject({ stdout: "", exitCode: 1 });
    expect(withoutModelsWarning(plain.stderr)).toBe(`${problem}\n`);
  });

  test.each([
    ["--api-key", {}, ["--api-key", "sk-very-secret"], "--api-key", "an API key from --api-key"],
    ["auth.json", { KIMI_CODER_API_KEY: "sk-other" }, [], "auth.json", "an API key in pi's auth.json"],
  ])(
    "knows the plan of the key in %s, and is of one mind with the doctor",
    async (place, variables, flags, named, said) => {
      const { service, home, env } = await createWorld();
      service.apiKeys.add("sk-very-secret");
      if (place === "auth.json") home.writeAuth({ "kimi-coder": { type: "api_key", key: "sk-very-secret" } });
      const say = async (command: string) => {
        const { stdout } = await printPi(host, home, [...flags, command], env(variables));
        return stdout;
      };
      expect(await say("/kimi status")).toContain("\nPlan: not asked yet; type /kimi usage\n");
      await say("/kimi usage");
      expect(home.read(".pi/agent/kimi-coder-usage.json")).not.toContain("sk-");
      const status = await say("/kimi status");
      expect(status).toContain("\nPlan: Moderato (asked just now)\n");
      expect(status).toMatch(new RegExp(`\nKey: from .*${named}\n`));
      const json = await say("/kimi status --json");
      expect(JSON.parse(json)).toMatchObject({
        ...{ state: "key", login: null, key: { source: expect.stringContaining(named) } },
        plan: { name: "Moderato", askedAt: expect.stringMatching(/Z$/) },
      });
      const doctor = await say("/kimi doctor --all");
      expect(doctor).toContain(`✓ Login in use: ${said}, no login\n`);
      expect(doctor).toContain("✓ API at the host in KIMI_CODE_BASE_URL: answers, and takes the key\n");
      expect(doctor).toMatch(/\n✓ Quota: \d+ % of the .* used, asked just now\n/);
      expect(`${status}${json}${doctor}`).not.toMatch(/sk-/);
    },
  );

  test("is one line without a login that can be used", async () => {
    const { home, env } = await createWorld();
    const ask = () => runPi(host, home, ["-p", "/kimi status", "/kimi", "/kimi status --json"], env());
    const { stdout, stderr, exitCode } = await ask();
    expect({ stderr: withoutModelsWarning(stderr), exitCode }).toEqual({ stderr: "", exitCode: 0 });
    const [status, overview, ...json] = stdout.split("\n");
    expect(status).toBe(
      "Kimi Coder: no login found; type /login kimi-coder, log in with kimi-cli, or set KIMI_CODER_API_KEY.",
    );
    expect(overview).toBe(status);
    // pi 0.73 selects a model all the same.
    const model = expect.toBeOneOf([null, "kimi-coder/kimi-for-coding"]);
    expect(JSON.parse(json.join("\n"))).toMatchObject({
      ...{ state: "none", reason: "no-login", problem: null, login: null, renewal: null, plan: null, model },
    });
    home.write(".kimi-code/config.toml", '[providers.kimi.oauth]\nstorage = "keyring"\n');
    expect((await ask()).stdout).toMatch(
      /^Kimi Coder: kimi-code keeps its login in the system's keyring, .*\/login kimi-coder/,
    );
    home.write(".kimi/credentials/kimi-code.json", '{"access_token": "", "refresh_token": ""}');
    const out =
      "Kimi Coder: kimi-cli has logged out; type /login kimi-coder, log in with kimi-cli again, or set KIMI_CODER_API_KEY.\n";
    expect((await ask()).stdout.split("{")[0]).toBe(`${out}${out}`);
  });
});

describeInTmux.each(hosts)("/kimi on the screen of pi $name", (host) => {
  test.each([
    [40, 20],
    [80, 24],
    [200, 50],
  ])("completes its subcommands, and shows the status, at %d × %d", async (width, height) => {
    const { service, home, env } = await createLoggedInWorld();
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width, height });
    // Lines are broken anywhere at 40 columns.
    const shows = (...parts: string[]) =>
      pi.waitFor((screen) => parts.every((part) => screen.replace(/\s+/g, " ").includes(part)));
    await shows("using kimi-cli");
    await enter(pi, "/kimi");
    await shows("Login: kimi-cli, ~/.kimi/", "Model: kimi-for-coding, thinking medium", "/kimi usage shows");
    await pi.type("/kimi stat");
    await pi.waitFor(width < 80 ? /→ status/ : /→ status\s+The login in use, and what was really sent/);
    await pi.type("us");
    // What is typed in full needs Enter once.
    await pi.waitFor((screen) => !screen.includes("→ status"));
    await pi.key("Enter");
    await shows("Region: kimi.com", "Model: kimi-coder/", "Last request: none since pi");
    await pi.key("C-t");
    await pi.waitFor(/Thinking blocks: \w+/);
    await shows("Model: kimi-coder/", "Last request: none since pi");
    expect(service.chats()).toEqual([]);
  });

  test("answers during a turn, without asking the model once more", async () => {
    const { service, home, env } = await createLoggedInWorld();
    service.fault({ path: "chat", times: 1, do: { delay: 5_000 } });
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width: 120, height: 50 });
    await pi.waitFor("using kimi-cli credentials");
    await enter(pi, "hello");
    await pi.waitFor(/Working/);
    await pi.submit("/kimi status");
    await pi.waitFor("Region: kimi.com");
    expect(await pi.screen()).toMatch(/Working/);
    await pi.waitFor("You said: hello");
    await pi.submit("again");
    await pi.waitFor("You said: again");
    expect(service.chats()).toHaveLength(2);
    await pi.waitFor("Region: kimi.com");
  });
});
