/** `/kimi status` in the real pi: on the screen, in RPC and in print mode. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, type PiHost } from "../support/hosts.ts";
import { ourModel, printPi, runPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { eventually } from "../support/waiting.ts";
import { createWorld, type World } from "../support/world.ts";

/** Runs commands in RPC mode; gives what each one says. */
async function startTalk(host: PiHost, { home, env }: World) {
  const pi = startRpc(host, home, [...ourModel, "--thinking", "high"], env());
  const say = async (message: string) => {
    const from = pi.events.length;
    await pi.request({ type: "prompt", message });
    const { message: said } = await pi.waitFor(({ method }) => method === "notify", { from });
    return String(said);
  };
  await pi.waitFor(({ method }) => method === "notify");
  return { pi, say };
}

describe.each(hosts)("/kimi status on pi $name", (host) => {
  test("says in RPC mode what was really sent, turn by turn, and no secret", async () => {
    const world = await createWorld();
    const { service, home } = world;
    const token = world.logInToKimiCli();
    const { pi, say } = await startTalk(host, world);
    expect(await say("/kimi status")).toContain("Last request: none since pi started");

    const usage = (prompt_tokens: number, cached_tokens: number) => ({ prompt_tokens, cached_tokens });
    service.reply({ text: "hi", usage: usage(1000, 200), cachedTokensAt: "top" });
    await pi.prompt("hello");
    service.reply({ text: "hi", usage: usage(1000, 640), cachedTokensAt: "top" });
    await pi.prompt("hello again");
    const status = await say("/kimi status");
    expect(status.split("\n")).toEqual([
      expect.stringMatching(new RegExp(`^pi-kimi-coder \\d+\\.\\d+\\.\\d+ on pi ${host.version}$`)),
      `Login: kimi-cli, ${home.kimiCliPath}`,
      expect.stringMatching(/^Access token: until [\w ]*\d\d:\d\d \(in 1[45] m\)$/),
      expect.stringMatching(
        /^Renewed: [\w ]*\d\d:\d\d \((less than a|\d) m.* ago\) by kimi-cli or another program$/,
      ),
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
      "Prompt cache: 840 of 2,000 tokens (42 %) in this session (2 answers)",
    ]);
    const body = service.chats().at(-1)?.body;
    const [, thinking] = /thinking (\{.*\}), max_tokens/.exec(status) ?? [];
    expect(body).toMatchObject({ thinking: JSON.parse(thinking ?? "{}") });
    expect(body).toMatchObject({ max_tokens: Number(/max_tokens (\d+)/.exec(status)?.[1]) });
    for (const secret of [token.access_token, token.refresh_token, home.read(".kimi/device_id").trim()])
      expect(status).not.toContain(secret);

    expect(await say("/kimi usages")).toMatch(
      /^Kimi Coder: there is no \/kimi usages; there is .*\/kimi status/,
    );
    expect(await say("/kimi")).toMatch(/^Kimi Coder: there is .*\/kimi status/);
    expect(service.chats()).toHaveLength(2); // no command was sent to the model
    await pi.close();
  });

  test("says that this pi has renewed the login, and to the next one that another has", async () => {
    const world = await createWorld();
    world.logInToKimiCli("expired");
    const { pi, say } = await startTalk(host, world);
    // The note is written beside everything else.
    const note = join(world.home.agentDir, "kimi-coder-renewals.json");
    await eventually(
      () => existsSync(note) || undefined,
      () => "nobody noted the renewal",
      10_000,
    );
    expect(await say("/kimi status")).toMatch(/\nRenewed: .* by this pi\n/);
    await pi.close();
    expect(world.service.refreshes()).toHaveLength(1);
    expect(world.home.files()[".pi/agent/kimi-coder-renewals.json"]).toBe("600");

    const next = await printPi(host, world.home, ["/kimi status"], world.env());
    expect(next.stdout).toMatch(/\nRenewed: .* by another pi \(process \d+\)\n/);
  });

  test("works in print mode, names a key's place, and leaves no trace", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const login = await runPi(host, home, ["-p", "/kimi status"], env());
    expect({ stderr: login.stderr, exitCode: login.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(login.stdout).toContain(`Login: kimi-cli, ${home.kimiCliPath}\nAccess token: until `);

    const key = { KIMI_CODER_API_KEY: "sk-very-secret" };
    const { stdout } = await printPi(host, home, ["/kimi status"], env(key));
    expect(stdout).toContain("\nKey: from KIMI_CODER_API_KEY\n");
    expect(stdout).not.toContain("sk-very-secret");
    const argument = await printPi(host, home, ["--api-key", "sk-very-secret", "/kimi status"], env());
    expect(argument.stdout).toContain("\nKey: from --api-key\n");
    expect([...service.refreshes(), ...service.chats()]).toEqual([]);
    expect(Object.keys(home.files())).not.toContain(".kimi/device_id");
  });

  test("gives the shell one JSON object", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const token = logInToKimiCli();
    const run = await printPi(host, home, ["/kimi status --json"], env());
    expect({ stderr: run.stderr, exitCode: run.exitCode }).toEqual({ stderr: "", exitCode: 0 });
    const text = expect.any(String);
    expect(JSON.parse(run.stdout)).toEqual({
      version: 1,
      extension: text,
      pi: host.version,
      state: "login",
      login: {
        owner: "kimi-cli",
        path: home.kimiCliPath,
        accessTokenEnds: new Date(Math.floor(token.expires_at * 1000)).toISOString(),
      },
      key: null,
      reason: null,
      problem: null,
      renewal: { by: "other", at: text, pid: null, login: false },
      plan: null,
      region: "kimi.com",
      api: service.baseUrl,
      authorizationServer: service.oauthHost,
      identity: text,
      model: "kimi-coder/kimi-for-coding",
      lastRequest: null,
      cache: { answers: 0, promptTokens: 0, cachedTokens: 0, percent: null },
    });
  });

  test("gives the shell one JSON object where a variable is refused, and a failure", async () => {
    const { home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const refused = env({ KIMI_CODER_IDENTITY: "somebody" });
    const json = await runPi(host, home, ["-p", "/kimi status --json"], refused);
    expect({ stderr: json.stderr, exitCode: json.exitCode }).toEqual({ stderr: "", exitCode: 1 });
    const problem =
      "Kimi Coder: KIMI_CODER_IDENTITY is neither pi nor kimi-cli; correct or unset it and start pi again.";
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      pi: host.version,
      ...{ state: "none", login: null, key: null, reason: "configuration", problem },
      ...{ region: null, api: null, authorizationServer: null, identity: null },
    });
    const plain = await runPi(host, home, ["-p", "/kimi status"], refused);
    expect(plain).toMatchObject({ stdout: "", stderr: `${problem}\n`, exitCode: 1 });
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
      const status = await say("/kimi status");
      expect(status).toContain("\nPlan: Moderato (asked just now)\n");
      expect(status).toMatch(new RegExp(`\nKey: from .*${named}\n`));
      const doctor = await say("/kimi doctor");
      expect(doctor).toContain(`✓ Login in use: ${said}, no login\n`);
      expect(doctor).toContain("✓ API at the host in KIMI_CODE_BASE_URL: answers, and takes the key\n");
      expect(doctor).toMatch(/\n✓ Quota: \d+ % of the .* used, asked just now\n/);
      expect(`${status}${doctor}`).not.toMatch(/sk-/);
    },
  );

  test("is one line without a login", async () => {
    const { home, env } = await createWorld();
    const { stdout, stderr, exitCode } = await runPi(host, home, ["-p", "/kimi status"], env());
    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(stdout).toBe(
      "Kimi Coder: no login found; type /login kimi-coder, log in with kimi-cli, or set KIMI_CODER_API_KEY.\n",
    );
  });
});

describeInTmux.each(hosts)("/kimi on the screen of pi $name", (host) => {
  test.each([40, 80, 200])(
    "completes its subcommands, and shows the status, at %d columns",
    async (width) => {
      const { service, home, env, logInToKimiCli } = await createWorld();
      logInToKimiCli();
      const pi = await startTmux(host, home, [...ourModel], { ...env(), width, height: 60 });
      try {
        await pi.waitFor(/using kimi-cli\s+credentials/);
        await pi.ready();
        await pi.type("/kimi stat");
        await pi.waitFor(width < 80 ? /→ status/ : /→ status\s+The login in use, and what was really sent/);
        await pi.type("us");
        await pi.key("Escape");
        await pi.key("Enter");
        // Lines are broken anywhere at 40 columns.
        const whole = [
          "Login: kimi-cli,",
          "Region: kimi.com",
          "Model: kimi-coder/",
          "Last request: none since pi",
        ];
        await pi.waitFor((screen) => whole.every((part) => screen.replace(/\s+/g, " ").includes(part)));
        expect(service.chats()).toEqual([]);
      } finally {
        await pi.close();
      }
    },
  );
});
