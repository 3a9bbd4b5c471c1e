/** pi's own folder: an entry that nobody else holds is a login, and another folder than the usual one is the only one. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts } from "../../support/hosts.ts";
import { ourModel, printPi } from "../../support/pi.ts";
import { startRpc } from "../../support/rpc.ts";
import { answered, expectLoginSurvives, otherHost } from "../../support/survival.ts";
import { createWorld, type World } from "../../support/world.ts";

/** As the first pi-kimi-coder left it, or a copy of auth.json on a machine that has nothing else. */
function writeEntry({ service, home }: World, state: "valid" | "due" | "expired") {
  const token = service.issueLogin();
  if (state === "expired") service.expireAccessTokens();
  const left = { valid: 900_000, due: 200_000, expired: -60_000 }[state];
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
  test("is used while it is valid, and renewed when the API rejects it", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
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

  test("is renewed beside an answer when that is due", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    const { access, refresh } = writeEntry(world, "due");
    service.fault({ path: "token", do: { delay: 1_000 } });
    expect(answered(await printPi(host, home, ["hello"], env()))).toBe(true);
    expect(service.chats().at(-1)?.accessToken).toBe(access);
    expect(service.refreshes()).toHaveLength(1);
    expectWrittenBack(world, refresh);
    await expectLoginSurvives(host, world, refresh);
  });

  test("is renewed once by many starts at a time, with a token endpoint of 2 s", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
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

  test("is seen by a session that holds it in memory after another pi renewed it", async ({
    onTestFinished,
  }) => {
    const world = await createWorld({}, onTestFinished);
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

  test("gives way to an owner's file that holds its chain", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
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

  test("that names an owner whose file is gone stays logged out", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
    const { service, home, env } = world;
    const entry = writeEntry(world, "valid");
    home.writeAuth({ "kimi-coder": { ...entry, owner: "kimi-cli", source: home.kimiCliPath } });
    const { stderr, exitCode } = await printPi(host, home, ["hello"], env());
    expect({ stderr, exitCode }).toEqual({
      stderr: expect.stringMatching(/^Kimi Coder: kimi-cli has logged out; .*\/login kimi-coder.*\.\n$/),
      exitCode: 1,
    });
    expect(service.log).toEqual([]);
  });
});

describe.concurrent.each(hosts)("PI_CODING_AGENT_DIR on pi $name", (host) => {
  test("is the only folder of pi's that a run touches", async ({ onTestFinished }) => {
    const world = await createWorld({}, onTestFinished);
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

describe.concurrent.each(hosts)("a malformed key on pi $name", (host) => {
  const PIECES = ["sk-kimi-7Qh2", "Zp9xW4vT"] as const;
  const keys = {
    "with a line break": PIECES.join("\n"),
    "with an ellipsis": PIECES.join("\u2026"),
    "with an escape": PIECES.join("\u001b[0m"),
  };

  test.for(Object.entries(keys))(
    "%s is shown nowhere, nor a piece of it",
    async ([, key], { onTestFinished }) => {
      const world = await createWorld({}, onTestFinished);
      const { service, home, env } = world;
      const ways: { args?: string[]; variables?: Record<string, string>; prepare?: () => void }[] = [
        { variables: { KIMI_CODER_API_KEY: key } },
        { args: ["--api-key", key] },
        {
          prepare: () =>
            home.write(".pi/agent/settings.json", JSON.stringify({ apiKeys: { KIMI_CODER_API_KEY: key } })),
        },
        { prepare: () => home.writeAuth({ "kimi-coder": { type: "api_key", key } }) },
      ];
      // How a key is malformed and whence it comes are looked at apart.
      const tried = key === keys["with a line break"] ? ways : ways.slice(0, 1);
      for (const { args = [], variables = {}, prepare = () => {} } of tried) {
        home.write(".pi/agent/settings.json", "{}");
        home.writeAuth({});
        prepare();
        const commands = Object.keys(variables).length > 0 ? ["/kimi doctor", "/kimi status"] : [];
        for (const prompt of ["hello", ...commands]) {
          const { stdout, stderr, exitCode } = await printPi(host, home, [...args, prompt], env(variables));
          for (const piece of PIECES) expect(stdout + stderr).not.toContain(piece);
          if (prompt === "hello") expect(exitCode).toBe(1);
        }
      }
      // A whole key may be tried; half a key may not.
      expect(service.chats().map(({ accessToken }) => accessToken)).not.toContain(PIECES[0]);
    },
  );
});
