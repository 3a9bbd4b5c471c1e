/** After a logout in pi: what the sentence names works, and a login that is there needs no browser. */
import { expect } from "vitest";
import { hosts, type PiHost } from "../../support/hosts.ts";
import { ourModel, printPi } from "../../support/pi.ts";
import { expectLoginSurvives, expectOneSentence } from "../../support/survival.ts";
import { describeInTmux, startTmux } from "../../support/tmux.ts";
import { enter, enterLogin } from "../../support/typing.ts";
import { worldTest as test, type World } from "../../support/world.ts";

/** Logs out by pi's own selector. */
async function logOut(host: PiHost, { home, env }: World): Promise<void> {
  const pi = await startTmux(host, home, ourModel, env());
  try {
    await enter(pi, "/logout");
    await pi.waitFor(/→ Kimi Coder/);
    await pi.key("Enter");
    await pi.waitFor(/logged out/i);
    await enter(pi, "/quit");
    await pi.ended();
  } finally {
    await pi.close();
  }
  expect(home.readAuth()).not.toHaveProperty("kimi-coder");
}

describeInTmux.each(hosts)("logged out on pi $name", (host) => {
  test("a new login in kimi-cli is named with what works, and /login takes it without a browser", async ({
    world,
  }) => {
    const { service, home, env, logInToKimiCli } = world;
    logInToKimiCli();
    await printPi(host, home, ["hello"], env());
    await logOut(host, world);

    for (const login of ["the old one", "a new one"]) {
      if (login === "a new one") logInToKimiCli();
      const chats = service.chats().length;
      const finished = await printPi(host, home, ["hello"], env());
      expectOneSentence(finished);
      expect(finished.stderr).toMatch(/you logged out here; type \/login kimi-coder/);
      // What another program does changes nothing here.
      expect(finished.stderr).not.toMatch(/log in with|again/);
      expect(service.chats()).toHaveLength(chats);
    }
    const { refresh_token } = home.readKimiCli() ?? {};
    const pi = await startTmux(host, home, ourModel, env());
    try {
      await enterLogin(pi, host);
      const screen = await pi.waitFor(/→ .*the login of kimi-cli, valid/);
      // The found login first, then a new one.
      expect(screen).toMatch(/the login of kimi-cli, valid[\s\S]*new/i);
      await pi.key("Enter");
      await pi.waitFor(/logged in|using kimi-cli/i);
      await enter(pi, "hello");
      await pi.waitFor("You said: hello");
    } finally {
      await pi.close();
    }
    expect(service.log.filter(({ kind }) => kind === "device_authorization")).toEqual([]);
    expect(home.openedUrls()).toEqual([]);
    expect(home.readKimiCli()).toMatchObject({ refresh_token });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ refresh: refresh_token, owner: "kimi-cli" });
    await expectLoginSurvives(host, world, String(refresh_token));
  });

  test("/logout kimi-coder, typed, logs out of pi alone and stays so", async ({ world }) => {
    const { service, home, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli();
    home.writeAuth({ zai: { type: "api_key", key: "another's" } });
    const pi = await startTmux(host, home, ourModel, env());
    try {
      await enter(pi, "hello");
      await pi.waitFor("You said: hello");
      await enter(pi, "/logout kimi-coder");
      await pi.waitFor(/logged out in pi alone/);
      await enter(pi, "more");
      await pi.waitFor(/you logged out here/);
    } finally {
      await pi.close();
    }
    expect(service.chats()).toHaveLength(1);
    expect(home.readAuth()).toEqual({ zai: { type: "api_key", key: "another's" } });
    expect(home.readKimiCli()).toMatchObject({ refresh_token });
    expectOneSentence(await printPi(host, home, ["hello"], env()));
    expect(home.readAuth()).not.toHaveProperty("kimi-coder");
  });

  test("a new one is still to be had below the one that was found", async ({ world }) => {
    const { service, home, env, logInToKimiCli } = world;
    service.deviceResponse({ interval: 0.5 });
    const answer = service.hold({ path: "token", when: ({ kind }) => kind === "device_poll" });
    const { refresh_token } = logInToKimiCli("expired");
    home.writeAuth({});
    const pi = await startTmux(host, home, ourModel, env());
    try {
      await enterLogin(pi, host);
      await pi.waitFor(/→ .*the login of kimi-cli/);
      await pi.key("Down");
      await pi.key("Enter");
      await pi.waitFor(/[A-Z]{4}-[A-Z]{4}/);
      answer();
      await pi.waitFor(/logged in/i);
      await enter(pi, "hello");
      await pi.waitFor("You said: hello");
    } finally {
      await pi.close();
    }
    expect(service.log.filter(({ kind }) => kind === "device_authorization")).toHaveLength(1);
    const now = String(home.readKimiCli()?.refresh_token);
    expect(now).not.toBe(refresh_token);
    await expectLoginSurvives(host, world, now);
  });
});
