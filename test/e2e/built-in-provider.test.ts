/** What README.md says of pi's own provider `kimi-coding`, seen in the newer pi against the same service as ours. */
import { describe, expect } from "vitest";
import { newerHost } from "../support/hosts.ts";
import { refusals } from "../support/kimi-service/index.ts";
import { printPi, runPi } from "../support/pi.ts";
import { worldTest as test, type World } from "../support/world.ts";

const theirModel = ["--provider", "kimi-coding", "--model", "kimi-for-coding"];

/** A home with a login of `kimi-coding`, and with kimi-cli's for ours. */
function createBoth({ service, home, env, logInToKimiCli }: World) {
  const { refresh_token: refresh, access_token: access, expires_at } = service.issueLogin();
  home.writeAuth({ "kimi-coding": { type: "oauth", refresh, access, expires: expires_at * 1000 } });
  const providers = { "kimi-coding": { baseUrl: service.baseUrl } };
  home.write(".pi/agent/models.json", JSON.stringify({ providers }));
  logInToKimiCli();
  const theirs = (...args: readonly string[]) =>
    runPi(newerHost, home, [...theirModel, "-p", ...args], { ...env(), extension: false });
  const ours = (...args: readonly string[]) => printPi(newerHost, home, args, env());
  return { service, theirs, ours };
}

describe.concurrent(`pi ${newerHost.name}`, () => {
  test("lists six models of its own, and asks nobody", async ({ world }) => {
    const { stdout } = await runPi(newerHost, world.home, ["--list-models", "kimi-coding"], {
      ...world.env({ KIMI_API_KEY: "sk-test-key" }),
      extension: false,
    });
    expect(stdout.match(/^kimi-coding +\S+/gm)).toHaveLength(6);
    expect(world.service.log).toEqual([]);
  });

  test("is another provider with a login of its own, beside which ours answers", async ({ world }) => {
    const { service, theirs, ours } = createBoth(world);
    expect((await theirs("hello")).stdout).toBe("You said: hello\n");
    expect((await ours("hello")).stdout).toBe("You said: hello\n");
    const [their, our] = service.chats().map(({ accessToken }) => accessToken);
    expect(their).not.toBe(our);
  });

  test("thinks at low where thinking is switched off, which the model can", async ({ world }) => {
    const { service, theirs, ours } = createBoth(world);
    await theirs("--thinking", "off", "hello");
    expect(service.chats().at(-1)?.body).toMatchObject({ reasoning_effort: "low" });
    await ours("--thinking", "off", "hello");
    expect(service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "disabled" } });
  });

  test("shows the error where the service rejects a token", async ({ world }) => {
    const { service, theirs, ours } = createBoth(world);
    service.expireAccessTokens();
    expect(await theirs("hello")).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/401.*\{/s) });
    expect(service.chats()).toHaveLength(1);
    expect(service.refreshes()).toEqual([]);
    expect(await ours("hello")).toMatchObject({ exitCode: 0, stdout: "You said: hello\n" });
    expect(service.refreshes()).toHaveLength(1);
  });

  test("asks four times where a limit of the plan is used up, and shows what it was sent", async ({
    world,
  }) => {
    const { service, theirs, ours } = createBoth(world);
    service.fault({ path: "chat", times: Number.POSITIVE_INFINITY, do: refusals.weeklyLimit });
    const their = await theirs("hello");
    expect(their).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('"access_terminated_error"'),
    });
    expect(service.chats()).toHaveLength(4);
    const our = await ours("hello");
    expect(our.stderr).toMatch(/^Kimi Coder: the plan's weekly limit is used up; wait until it resets/);
    expect(service.chats()).toHaveLength(5);
  });
});
