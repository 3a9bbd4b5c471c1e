/** Where nothing was logged in or given, pi's screens say so and keep our models to themselves; with it, they are there. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { binaryHost, newerHost, root } from "../support/hosts.ts";
import { ourModel, printPi, runPi } from "../support/pi.ts";
import { answered } from "../support/survival.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter, enterLogin } from "../support/typing.ts";
import { createWorld, type World } from "../support/world.ts";

/** Those that take a whole provider; an older pi counts what it is given as configured for everybody. */
const hosts = binaryHost === undefined ? [newerHost] : [newerHost, binaryHost];

const KEY = "sk-test-key";

interface Way {
  readonly name: string;
  readonly prepare: (world: World) => void;
  readonly args?: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
}

const ways: readonly Way[] = [
  { name: "kimi-cli's login", prepare: ({ logInToKimiCli }) => void logInToKimiCli() },
  {
    name: "kimi-code's login, which has ended",
    prepare: ({ logInToKimiCode }) => void logInToKimiCode("expired"),
  },
  {
    name: "an entry in auth.json",
    prepare: (world) => world.mirror(world.logInToKimiCli(), "kimi-cli"),
  },
  {
    name: "a key in auth.json",
    prepare: ({ home }) => home.writeAuth({ "kimi-coder": { type: "api_key", key: KEY } }),
  },
  {
    name: "a key in the settings",
    prepare: ({ home }) =>
      home.write(".pi/agent/settings.json", JSON.stringify({ apiKeys: { KIMI_CODER_API_KEY: KEY } })),
  },
  { name: "a key in the variable", prepare: () => {}, variables: { KIMI_CODER_API_KEY: KEY } },
];

async function createKeyedWorld(atEnd?: Parameters<typeof createWorld>[1]): Promise<World> {
  const world = await createWorld({}, atEnd);
  world.service.apiKeys.add(KEY);
  return world;
}

describe.concurrent.each(hosts)("pi $name", (host) => {
  test("without a login or a key lists no model of ours, and a request says why", async ({
    onTestFinished,
  }) => {
    const { service, home, env } = await createKeyedWorld(onTestFinished);
    const { stdout } = await runPi(host, home, ["--list-models"], env());
    expect(stdout).not.toContain("kimi-coder");
    // Without a terminal pi prints, whether it was told to or not.
    for (const flags of [["-p"], []]) {
      const { stderr, exitCode } = await runPi(host, home, [...ourModel, ...flags, "hello"], env());
      expect({ stderr, exitCode }).toEqual({
        stderr: expect.stringMatching(/^Kimi Coder: no login found; type \/login kimi-coder[^\n]*\n$/),
        exitCode: 1,
      });
    }
    // Without a word of ours on the command line nobody is asked for Kimi.
    const other = await runPi(host, home, ["-p", "hello"], env());
    expect(other.stderr).toMatch(/No models available/);
    expect(service.log).toEqual([]);
  });

  test.for(ways)(
    "with $name lists our models, and answers",
    async ({ prepare, variables }, { onTestFinished }) => {
      const world = await createKeyedWorld(onTestFinished);
      const { service, home, env } = world;
      prepare(world);
      const { stdout } = await runPi(host, home, ["--list-models"], env(variables));
      expect(stdout).toMatch(/kimi-coder +kimi-for-coding/);
      expect(answered(await printPi(host, home, ["hello"], env(variables)))).toBe(true);
      // Found without being named: it is the only one that is configured.
      expect(answered(await runPi(host, home, ["-p", "hello"], env(variables)))).toBe(true);
      expect(service.refused()).toEqual([]);
    },
  );

  test.for(ways)(
    "begins with $name also where pi's files come in another order",
    async ({ prepare, variables }, { onTestFinished }) => {
      const world = await createKeyedWorld(onTestFinished);
      const { home, env } = world;
      prepare(world);
      const slow = join(root, "test", "e2e", "extensions", "slow-provider.ts");
      const late = {
        ...variables,
        NODE_OPTIONS: `--require ${join(root, "test", "support", "late-models-json.cjs")}`,
      };
      expect(answered(await runPi(host, home, ["-e", slow, "-p", "hello"], env(late)))).toBe(true);
    },
  );
});

const sizes = [
  { width: 40, height: 20 },
  { width: 80, height: 24 },
  { width: 200, height: 50 },
];

describeInTmux.each(hosts)("the screen of pi $name", (host) => {
  test("without a login says so in /login, and offers no model of ours in /model and by Ctrl+P", async () => {
    const { home, env } = await createKeyedWorld();
    const pi = await startTmux(host, home, [], env());
    await enter(pi, "/login");
    await pi.waitFor(/→ Sign in with an account/);
    await pi.key("Enter");
    await pi.type("kimi coder");
    await pi.waitFor(/Kimi Coder +• not configured/);
    await pi.key("Escape");
    await pi.waitFor(/→ Sign in with an account/);
    await pi.key("Escape");
    await pi.waitFor((screen) => !screen.includes("Sign in"));
    await enter(pi, "/model");
    const models = await pi.waitFor(/no matching models|no models/i);
    expect(models).not.toContain("kimi-for-coding");
    await pi.key("Escape");
    await pi.key("C-p");
    const screen = await pi.waitFor(/no models|only one model/i);
    expect(screen).not.toContain("kimi-for-coding");
  });

  test.each(sizes)(
    "after the first /login kimi-coder has a model of ours selected and not a red word, at $width×$height",
    async (size) => {
      const { service, home, env } = await createKeyedWorld();
      service.deviceResponse({ interval: 0.5 });
      service.scriptDevice(["pending", "approved"]);
      const pi = await startTmux(host, home, [], { ...env(), ...size });
      await enterLogin(pi, host);
      await pi.waitFor(/Logged in to Kimi Coder/);
      const screen = await pi.waitFor(/kimi-for-/);
      expect(screen).not.toMatch(/error|no default/i);
      await pi.waitFor(/\$0\.000 \(sub\)/);
      await enter(pi, "hello");
      await pi.waitFor("You said: hello");
      expect(await pi.history()).not.toMatch(/error|no default/i);
    },
  );

  test("after a logout and a start without a model, /login kimi-coder selects one, again and again", async () => {
    const world = await createKeyedWorld();
    const { service, home, env, logInToKimiCli } = world;
    logInToKimiCli();
    home.writeAuth({});
    home.write(".pi/agent/kimi-coder.json", JSON.stringify({ seeded: true }));
    const pi = await startTmux(host, home, [], env());
    await enterLogin(pi, host);
    await pi.waitFor(/→ .*the login of kimi-cli, valid/);
    await pi.key("Enter");
    await pi.waitFor(/Logged in to Kimi Coder/);
    const screen = await pi.waitFor(/kimi-for-coding/);
    expect(screen).not.toMatch(/error|no default/i);
    // A session that starts without a model is one again, and is helped in the same way.
    await enter(pi, "/logout");
    await pi.waitFor(/→ Kimi Coder/);
    await pi.key("Enter");
    await pi.waitFor(/Logged out of Kimi Coder/);
    await enter(pi, "/new");
    await pi.waitFor(/ unknown$/m);
    await enterLogin(pi, host);
    await pi.waitFor(/→ .*the login of kimi-cli, valid/);
    await pi.key("Enter");
    await pi.waitFor(/Logged in to Kimi Coder/);
    expect(await pi.waitFor(/kimi-for-coding/)).not.toMatch(/error|no default/i);
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    // A plan costs nothing by the token.
    await pi.waitFor(/\$0\.000 \(sub\)/);
    await pi.close();
    expect(service.log.filter(({ kind }) => kind === "device_authorization")).toEqual([]);
  });
});
