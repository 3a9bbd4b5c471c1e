/** The main job in the real pi: one command, the login that is there already, an answer. */
import { chmodSync, mkdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, olderHost } from "../support/hosts.ts";
import { printPi } from "../support/pi.ts";
import { createLoggedInWorld, createWorld } from "../support/world.ts";

describe.each(hosts)("pi $name with kimi-cli's login", (host) => {
  test("answers, and mirrors the login into auth.json beside what stands there", async () => {
    const { service, home, env, login: token } = await createLoggedInWorld();
    const before = '{\n "anthropic": {"type":"api_key",   "key":"k", "odd": 1e2}\n}';
    home.write(".pi/agent/auth.json", before);

    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());

    expect({ stdout, stderr, exitCode }).toEqual({ stdout: "You said: hello\n", stderr: "", exitCode: 0 });
    expect(service.log.map(({ kind, status }) => `${kind} ${status}`)).toContain("chat 200");
    expect(service.refreshes()).toHaveLength(0);
    expect(home.readAuth()?.["kimi-coder"]).toEqual({
      type: "oauth",
      access: token.access_token,
      refresh: token.refresh_token,
      expires: Math.floor(token.expires_at * 1000),
      owner: "kimi-cli",
      source: home.kimiCliPath,
    });
    expect(readFileSync(home.authPath, "utf8")).toContain('{"type":"api_key",   "key":"k", "odd": 1e2}');
    const files = home.files();
    expect(files[".pi/agent/auth.json"]).toBe("600");
    expect(files[".kimi/device_id"]).toBe("600");
    expect(Object.keys(files).filter((name) => /\.lock|\.\d+$/.test(name))).toEqual([]);
  });

  test("goes through a symlinked auth.json and other folders than the usual", async () => {
    const { home, env } = await createLoggedInWorld();
    const share = join(home.path, "share");
    renameSync(join(home.path, ".kimi"), share);
    const agentDir = join(home.path, "agent");
    const real = join(home.path, "dotfiles", "auth.json");
    home.write("dotfiles/auth.json", '{"openai":{"type":"api_key","key":"k"}}');
    mkdirSync(agentDir);
    symlinkSync(real, join(agentDir, "auth.json"));

    const surroundings = env({ KIMI_SHARE_DIR: share, PI_CODING_AGENT_DIR: agentDir });
    const { stdout, exitCode } = await printPi(host, home, ["hello"], surroundings);

    expect({ stdout, exitCode }).toEqual({ stdout: "You said: hello\n", exitCode: 0 });
    expect(JSON.parse(readFileSync(real, "utf8"))).toMatchObject({
      openai: { type: "api_key", key: "k" },
      "kimi-coder": { type: "oauth", owner: "kimi-cli" },
    });
    expect(home.files()["agent/auth.json@"]).toBe("777");
    expect(home.files()[".kimi/"]).toBeUndefined();
  });
});

describe.each(hosts)("pi $name with a key", (host) => {
  const key = "sk-test-key";

  test.each([
    ["KIMI_CODER_API_KEY", { KIMI_CODER_API_KEY: key }, []],
    ["KIMI_CODER_API_KEY, a line break behind it", { KIMI_CODER_API_KEY: `${key}\n` }, []],
    ["--api-key", {}, ["--api-key", key]],
  ])(
    "from %s sends it and writes no file of its own but the list of models",
    async (_name, variables, args) => {
      const { service, home, env, logInToKimiCli } = await createWorld();
      logInToKimiCli("expired");
      service.apiKeys.add(key);
      const before = home.files();
      const kimiCli = home.readKimiCli();

      const { stdout, exitCode } = await printPi(host, home, [...args, "hello"], env(variables));

      expect({ stdout, exitCode }).toEqual({ stdout: "You said: hello\n", exitCode: 0 });
      expect(service.chats().map(({ accessToken }) => accessToken)).toEqual([key]);
      expect(service.log.filter(({ kind }) => kind !== "chat" && kind !== "models")).toEqual([]);
      expect(home.readKimiCli()).toEqual(kimiCli);
      // Besides the folder in which processes take turns, empty again, and what pi itself leaves in a home. For the list
      // pi waits a second at its end, which may be too short on a busy machine.
      const expected = /kimi-coder-requests|sessions|kimi-coder-models\.json$/;
      const added = Object.keys(home.files()).filter(
        (name) => !(name in before) && /kimi|device_id/.test(name) && !expected.test(name),
      );
      expect(added).toEqual([]);
      expect(home.readAuth() ?? {}).toEqual({});
    },
  );

  test("from settings.json or auth.json sends it", async () => {
    const { service, home, env } = await createWorld();
    service.apiKeys.add(key);
    const answers = { stdout: "You said: hello\n", exitCode: 0 };
    home.write(".pi/agent/settings.json", JSON.stringify({ apiKeys: { KIMI_CODER_API_KEY: key } }));
    expect(await printPi(host, home, ["hello"], env())).toMatchObject(answers);

    home.write(".pi/agent/settings.json", "{}");
    const auth = { "kimi-coder": { type: "api_key", key } };
    home.writeAuth(auth);
    expect(await printPi(host, home, ["hello"], env())).toMatchObject(answers);
    expect(home.readAuth()).toEqual(auth);
    expect(service.chats().map(({ accessToken }) => accessToken)).toEqual([key, key]);
  });

  test("that cannot be one is not passed over for a login, wherever it stands", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const KIMI_CODER_API_KEY = "sk test key";
    const refused = await printPi(host, home, ["hello"], env({ KIMI_CODER_API_KEY }));
    expect(refused).toMatchObject({ stdout: "", exitCode: 1 });
    expect(refused.stderr).toContain("KIMI_CODER_API_KEY has a character in it that keys do not have");
    home.write(".pi/agent/settings.json", JSON.stringify({ apiKeys: { KIMI_CODER_API_KEY } }));
    const settled = await printPi(host, home, ["hello"], env());
    expect(settled).toMatchObject({ stdout: "", exitCode: 1 });
    expect(settled.stderr).toContain("the API key contains a character that keys do not have");
    expect(service.log).toEqual([]);
  });

  test("that the service refuses is not renewed", async () => {
    const { service, home, env } = await createLoggedInWorld();

    const { stderr, exitCode } = await printPi(
      host,
      home,
      ["hello"],
      env({ KIMI_CODER_API_KEY: "sk-wrong" }),
    );

    expect(exitCode).toBe(1);
    expect(stderr).not.toContain("sk-wrong");
    expect(service.refreshes()).toEqual([]);
    expect(service.chats()).toHaveLength(1);
  });
});

describe.each(hosts)("pi $name", (host) => {
  test.each([
    ["torn", '{"access_token": "at-sim-x", "refr', /is not a JSON object/],
    ["huge", "x".repeat(3_000_000), /far too large/],
  ])("says of a login file that is %s what is wrong and what to do, and leaves it", async (_, text, said) => {
    const { service, home, env } = await createWorld();
    home.write(".kimi/credentials/kimi-code.json", text);

    const { stderr, exitCode } = await printPi(host, home, ["hello"], env());

    expect(exitCode).toBe(1);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(said);
    expect(stderr).toContain("/login kimi-coder");
    expect(service.log).toEqual([]);
    expect(readFileSync(home.kimiCliPath, "utf8")).toBe(text);
  });

  test("leaves a damaged auth.json byte for byte, and says so", async () => {
    const { home, env } = await createLoggedInWorld();
    home.write(".pi/agent/auth.json", '{"anthropic": {"type"');
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect(home.read(".pi/agent/auth.json")).toBe('{"anthropic": {"type"');
    if (host === olderHost) {
      expect(stderr).toMatch(
        /^Kimi Coder: .*auth\.json cannot be updated \(EBADMSG\); repair it or make it writable\.$/m,
      );
      expect({ stdout, exitCode }).toEqual({ stdout: "You said: hello\n", exitCode: 0 });
    } else {
      // The newer pi reads auth.json itself before each request, of any provider, and ends with its own error.
      expect(stderr).toMatch(/^Credential store read failed for kimi-coder: /);
      expect({ stdout, exitCode }).toEqual({ stdout: "", exitCode: 1 });
    }
  });

  test("answers from a home that nothing can be written to", async () => {
    const { home, env } = await createLoggedInWorld();
    chmodSync(home.kimiCliPath, 0o400);
    chmodSync(join(home.path, ".kimi", "credentials"), 0o500);
    expect(await printPi(host, home, ["hello"], env())).toMatchObject({
      stdout: "You said: hello\n",
      exitCode: 0,
    });
  });
});
