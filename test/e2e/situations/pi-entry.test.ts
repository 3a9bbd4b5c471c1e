/** pi's own folder: an entry that nobody else holds is a login, and another folder than the usual one is the only one. */
import { join } from "node:path";
import { describe, expect } from "vitest";
import { hosts } from "../../support/hosts.ts";
import { ourModel, printPi } from "../../support/pi.ts";
import { startRpc } from "../../support/rpc.ts";
import { answered, expectLoginSurvives, otherHost } from "../../support/survival.ts";
import { worldTest as test, type World } from "../../support/world.ts";

/** As the first pi-kimi-coder left it, or a copy of auth.json on a machine that has nothing else. */
function writeEntry({ service, home }: World, state: "valid" | "expired") {
  const token = service.issueLogin();
  if (state === "expired") service.expireAccessTokens();
  const left = state === "valid" ? 900_000 : -60_000;
  const entry = {
    type: "oauth",
    access: token.access_token,
    refresh: token.refresh_token,
    expires: service.now() + left,
  };
  home.writeAuth({ anthropic: { type: "api_key", key: "k" }, "kimi-coder": entry });
  return entry;
}

function expectWrittenBack({ service, home }: World, refreshToken: string): void {
  const current = service.currentTokens(refreshToken);
  expect(home.readAuth()).toMatchObject({
    anthropic: { type: "api_key", key: "k" },
    "kimi-coder": { type: "oauth", access: current?.access_token, refresh: current?.refresh_token },
  });
  // A chain has one owner: it was copied to no other program's place.
  expect(home.readKimiCli()).toBeUndefined();
  expect(home.readKimiCode(service)).toBeUndefined();
}

describe.concurrent.each(hosts)("an entry without an owner in auth.json, on pi $name,", (host) => {
  test("is used while it is valid, and renewed when the API rejects it", async ({ world }) => {
    const { service, home, env } = world;
    const { access, refresh } = writeEntry(world, "valid");
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    expect(service.chats().at(-1)?.accessToken).toBe(access);
    expect(service.refreshes()).toEqual([]);
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ access, refresh });
    await expectLoginSurvives(host, world, refresh);
    expectWrittenBack(world, refresh);
    await expectLoginSurvives(otherHost(host), world, refresh);
  });

  test("is renewed once by many starts at a time, with a token endpoint of 2 s", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh } = writeEntry(world, "expired");
    service.fault({ path: "token", times: Infinity, do: { delay: 2_000 } });
    const starts = [host, otherHost(host), host, otherHost(host)].map((one) =>
      printPi(one, home, ["hello"], env()),
    );
    expect((await Promise.all(starts)).map(answered)).toEqual([true, true, true, true]);
    expect(service.refreshes()).toHaveLength(1);
    expectWrittenBack(world, refresh);
    await expectLoginSurvives(host, world, refresh);
  });

  test("is seen by a session that holds it in memory after another pi renewed it", async ({ world }) => {
    const { service, home, env } = world;
    const { refresh } = writeEntry(world, "valid");
    const session = startRpc(host, home, ourModel, env());
    expect(JSON.stringify(await session.prompt("one"))).toContain("You said: one");
    service.expireAccessTokens();
    expect(answered(await printPi(otherHost(host), home, ["hello"], env()))).toBe(true);
    expect(JSON.stringify(await session.prompt("two"))).toContain("You said: two");
    expect(service.refreshes()).toHaveLength(1);
    await session.close();
    await expectLoginSurvives(host, world, refresh);
  });

  test("gives way to an owner's file that holds its chain", async ({ world }) => {
    const { service, home, env } = world;
    const { access, refresh } = writeEntry(world, "expired");
    home.writeKimiCli({
      ...service.issueLogin(),
      access_token: access,
      refresh_token: refresh,
      expires_at: service.now() / 1000 - 60,
    });
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    const current = service.currentTokens(refresh)?.refresh_token;
    expect(home.readKimiCli()).toMatchObject({ refresh_token: current });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ refresh: current, owner: "kimi-cli" });
    await expectLoginSurvives(host, world, refresh);
  });
});

describe.concurrent.each(hosts)("PI_CODING_AGENT_DIR on pi $name", (host) => {
  test("is the only folder of pi's that a run touches", async ({ world }) => {
    const { service, home, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli("expired");
    const elsewhere = { PI_CODING_AGENT_DIR: join(home.path, "elsewhere") };
    expect(answered(await printPi(host, home, ["hello"], env(elsewhere)))).toBe(true);
    const session = startRpc(host, home, ourModel, env(elsewhere));
    await session.prompt("hello");
    await session.request({ type: "new_session" });
    await session.prompt("again");
    await session.close();
    expect(Object.keys(home.files()).filter((path) => path.startsWith(".pi"))).toEqual([]);
    expect(home.files()).toHaveProperty(["elsewhere/auth.json"]);
    expect(service.reusedRefreshTokens()).toBe(0);
    await expectLoginSurvives(host, world, refresh_token, elsewhere);
    expect(Object.keys(home.files()).filter((path) => path.startsWith(".pi"))).toEqual([]);
  });
});

describe.concurrent.each(hosts)("pi $name", (host) => {
  test("shows no piece of a key with a line break in it, whence it may come", async ({ world }) => {
    const { service, home, env } = world;
    const PIECES = ["sk-kimi-7Qh2", "Zp9xW4vT"] as const;
    const key = PIECES.join("\n");
    const variable = { KIMI_CODER_API_KEY: key };
    const ask = async (args: readonly string[], variables = {}) => {
      const { stdout, stderr, exitCode } = await printPi(host, home, args, env(variables));
      for (const piece of PIECES) expect(stdout + stderr).not.toContain(piece);
      if (args.includes("hello")) expect(exitCode).toBe(1);
    };
    for (const prompt of ["hello", "/kimi doctor", "/kimi status"]) await ask([prompt], variable);
    await ask(["--api-key", key, "hello"]);
    home.write(".pi/agent/settings.json", JSON.stringify({ apiKeys: variable }));
    await ask(["hello"]);
    home.write(".pi/agent/settings.json", "{}");
    home.writeAuth({ "kimi-coder": { type: "api_key", key } });
    await ask(["hello"]);
    // A whole key may be tried; half a key may not.
    expect(service.chats().map(({ accessToken }) => accessToken)).not.toContain(PIECES[0]);
  });
});
