/** `/kimi status` in the real pi: on the screen, in RPC and in print mode. */
import { describe, expect, test } from "vitest";
import { hosts } from "../support/hosts.ts";
import { ourModel, printPi, runPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { createWorld } from "../support/world.ts";

describe.each(hosts)("/kimi status on pi $name", (host) => {
  test("says in RPC mode what was really sent, turn by turn, and no secret", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    const token = logInToKimiCli();
    const pi = startRpc(host, home, [...ourModel, "--thinking", "high"], env());
    const say = async (message: string) => {
      const from = pi.events.length;
      await pi.request({ type: "prompt", message });
      const { message: said } = await pi.waitFor(({ method }) => method === "notify", { from });
      return String(said);
    };
    await pi.waitFor(({ method }) => method === "notify");
    expect(await say("/kimi status")).toContain("Last request: none in this session yet");

    service.reply({ text: "hi", usage: { prompt_tokens: 1000, cached_tokens: 640 }, cachedTokensAt: "top" });
    await pi.prompt("hello");
    const status = await say("/kimi status");
    expect(status.split("\n")).toEqual([
      expect.stringMatching(new RegExp(`^pi-kimi-coder \\d+\\.\\d+\\.\\d+ on pi ${host.version}$`)),
      `Login: kimi-cli, ${home.kimiCliPath}`,
      expect.stringMatching(/^Access token: until [\w ]*\d\d:\d\d \(in 1[45] min\)$/),
      `API: ${service.baseUrl}`,
      `Authorization server: ${service.oauthHost}`,
      `Identity: ${service.chats()[0]?.headers["user-agent"]}`,
      expect.stringMatching(
        /^Last request: model kimi-for-coding, thinking \{"type":"enabled".*\}, max_tokens \d+$/,
      ),
      "Prompt cache: 640 of 1,000 tokens came from it (64 %)",
    ]);
    const [body] = service.chats().map((chat) => chat.body);
    const [, thinking] = /thinking (\{.*\}), max_tokens/.exec(status) ?? [];
    expect(body).toMatchObject({ thinking: JSON.parse(thinking ?? "{}") });
    expect(body).toMatchObject({ max_tokens: Number(/max_tokens (\d+)/.exec(status)?.[1]) });
    for (const secret of [token.access_token, token.refresh_token, home.read(".kimi/device_id").trim()])
      expect(status).not.toContain(secret);

    expect(await say("/kimi usages")).toBe("Kimi Coder: there is no /kimi usages; there is /kimi status.");
    expect(await say("/kimi")).toBe("Kimi Coder: there is /kimi status.");
    expect(service.chats()).toHaveLength(1); // no command was sent to the model
    await pi.close();
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
  test("completes its subcommands, and shows the status", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const pi = await startTmux(host, home, [...ourModel], env());
    try {
      await pi.waitFor("using kimi-cli credentials");
      await pi.ready();
      await pi.type("/kimi ");
      await pi.waitFor(/status\s+The login in use, and what was really sent/);
      await pi.type("status");
      await pi.key("Escape");
      await pi.key("Enter");
      await pi.waitFor(/pi-kimi-coder \d[\s\S]*Login: kimi-cli[\s\S]*Last request: none in this session yet/);
      expect(service.chats()).toEqual([]);
    } finally {
      await pi.close();
    }
  });
});
