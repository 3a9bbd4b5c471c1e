/** Logging in from the real pi's screen: typed, and through pi's own selector. */
import { expect, test } from "vitest";
import { hosts, olderHost } from "../support/hosts.ts";
import { ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter, enterLogin } from "../support/typing.ts";
import { createLoggedInWorld, createWorld, type World } from "../support/world.ts";

/** Both stores hold the login that the service issued last. */
function expectLogin({ service, home }: World): void {
  const issued = service.log.findLast(({ kind, status }) => kind === "device_poll" && status === 200)?.issued;
  expect(issued).toBeDefined();
  expect(home.readKimiCli()).toMatchObject({
    access_token: issued?.access_token,
    refresh_token: issued?.refresh_token,
  });
  expect(home.readAuth()?.["kimi-coder"]).toMatchObject({
    type: "oauth",
    access: issued?.access_token,
    refresh: issued?.refresh_token,
    owner: "kimi-cli",
    source: home.kimiCliPath,
  });
}

/** The top of B, C, D and F in block letters. */
const LETTERS = "█▀▀▀▄ ▄▀▀▀▄ █▀▀▀▄ █▀▀▀▀";
/** The top of a QR code's corner. */
const FINDER = "█▀▀▀▀▀█";

describeInTmux.each(hosts)("/login on pi $name", (host) => {
  test("typed as /login kimi-coder shows address and code, saves for pi and kimi-cli, and pi answers", async () => {
    const world = await createWorld();
    const { service, home, env } = world;
    service.deviceResponse({ interval: 0.5 });
    service.scriptDevice(["pending", "pending", "approved"]);
    const pi = await startTmux(host, home, [], env({ DISPLAY: ":0" }));
    await enterLogin(pi, host);
    const screen = await pi.waitFor(/[A-Z]{4}-[A-Z]{4}/);
    expect(screen).toContain(`${service.url}/device`);
    await pi.waitFor(/logged in/i);
    expectLogin(world);
    expect(home.files()[".kimi/credentials/kimi-code.json"]).toBe("600");
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    if (host === olderHost) {
      expect(home.openedUrls()).toHaveLength(1);
      expect(home.openedUrls()[0]).toContain("/device?user_code=");
    }
  });

  test("again offers the login that is there, then a new one, so that one can change account", async () => {
    const world = await createLoggedInWorld();
    const { service, home, env, login: before } = world;
    service.deviceResponse({ interval: 0.5 });
    service.scriptDevice([{ approved: "somebody else" }]);
    const pi = await startTmux(host, home, [...ourModel], env());
    await pi.waitFor("using kimi-cli credentials");
    await enterLogin(pi, host);
    await pi.waitFor(/Which login\?[\s\S]*→ the login of kimi-cli, valid/);
    await pi.key("Down");
    await pi.waitFor(/→ a new login/);
    await pi.key("Enter");
    await pi.waitFor(/logged in/i);
    expectLogin(world);
    expect(home.readKimiCli()).not.toMatchObject({ refresh_token: before.refresh_token });
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    expect(service.chats().at(-1)?.accessToken).toBe(home.readKimiCli()?.access_token);
  });

  test("stops at once on Esc, says no more, and leaves everything as it was", async () => {
    const { service, home, env } = await createWorld();
    service.deviceResponse({ interval: 0.5 });
    service.scriptDevice(Array.from({ length: 1000 }, () => "pending" as const));
    const pi = await startTmux(host, home, [], env());
    await enterLogin(pi, host);
    await pi.waitFor(/[A-Z]{4}-[A-Z]{4}/);
    await service.waitFor(({ kind, finished }) => kind === "device_poll" && finished);
    await pi.key("Escape");
    const screen = await pi.waitFor((text) => !/[A-Z]{4}-[A-Z]{4}/.test(text));
    // The newer pi reports an Esc in any device flow with an error of its own.
    expect(screen).not.toMatch(host === olderHost ? /cancel|fail|abort/i : /cancel/i);
    const polls = service.log.length;
    await pi.type("still here");
    await pi.waitFor("still here");
    expect(service.log.length - polls).toBeLessThanOrEqual(1);
    expect(home.readKimiCli()).toBeUndefined();
  });

  test("shows a fresh code when one has expired, and says when the user declined", async () => {
    const { service, home, env } = await createWorld();
    service.deviceResponse({ interval: 1 });
    service.scriptDevice(["expired", "pending", "pending", "denied"]);
    const pi = await startTmux(host, home, [], env());
    await enterLogin(pi, host);
    const first = /[A-Z]{4}-[A-Z]{4}/.exec(await pi.waitFor(/[A-Z]{4}-[A-Z]{4}/))?.[0];
    await pi.waitFor((text) => {
      const codes = text.match(/[A-Z]{4}-[A-Z]{4}/g) ?? [];
      return codes.some((code) => code !== first) && text.includes("code has expired; here is a new one.");
    });
    await pi.waitFor(/declined in the browser; type \/login kimi-coder/);
    expect(home.readKimiCli()).toBeUndefined();
  });

  test.each([
    { width: 40, height: 24, qr: false },
    { width: 80, height: 50, qr: true },
  ])("at $width columns and $height lines shows it whole, and counts down", async ({ qr, ...size }) => {
    const { service, home, env } = await createWorld();
    const address = "https://www.kimi.com/code/authorize_device?user_code=BCDF-GHJK";
    service.deviceResponse({ user_code: "BCDF-GHJK", verification_uri_complete: address });
    service.scriptDevice(Array.from({ length: 1000 }, () => "pending" as const));
    const pi = await startTmux(host, home, [...ourModel], { ...env(), ...size });
    await enterLogin(pi, host);
    const first = await pi.waitFor(/another (29:\d\d)/);
    expect(first.replace(/\n */g, "")).toContain(address);
    expect(first).toMatch(/BCDF-GHJK(?!.*https)/);
    expect(first).toContain(size.width > 60 ? LETTERS : "B C D F - G H J K");
    expect(first.replace(/\s+/g, " ")).toContain("pi and kimi-cli then share the login.");
    if (size.width > 60) expect(first).toContain("on any device");
    expect(first.includes(FINDER)).toBe(qr);
    const shown = /another (29:\d\d)/.exec(first)?.[1];
    await pi.waitFor((screen) => {
      const later = /another (29:\d\d)/.exec(screen)?.[1];
      return later !== undefined && later !== shown;
    });
    await pi.key("Escape");
    await pi.waitFor((screen) => !screen.includes("good for another"));
  });

  test("over SSH opens no browser of its own", async () => {
    const { service, home, env } = await createWorld();
    service.deviceResponse({ interval: 0.5 });
    const pi = await startTmux(host, home, [], env({ SSH_CONNECTION: "::1 1 ::1 22", DISPLAY: ":0" }));
    await enterLogin(pi, host);
    await pi.waitFor(/on any device/);
    await pi.waitFor(/logged in/i);
    expect(home.openedUrls()).toEqual([]);
  });

  test("with a variable that is wrong names it, once, and so does a prompt; nothing is sent", async () => {
    const { service, home, env } = await createWorld();
    const pi = await startTmux(host, home, [...ourModel], env({ KIMI_CODER_REGION: "mars" }));
    await enter(pi, "hello");
    const asked = await pi.waitFor(/Error: (?:Kimi Coder: KIMI_CODER_REGION is neither|No API key)/);
    expect(asked).not.toContain("No API key");
    await enterLogin(pi, host);
    const intro = host === olderHost ? "Error" : "Failed to login to Kimi Coder";
    const said = await pi.waitFor(new RegExp(`${intro}: (?:Kimi Coder: )+KIMI_CODER_REGION is neither`));
    expect(said).not.toContain(`${intro}: Kimi Coder: Kimi Coder:`);
    await pi.close();
    expect(service.log).toEqual([]);
  });

  test("through pi's selector does the same", async () => {
    const world = await createWorld();
    const { service, home, env } = world;
    service.deviceResponse({ interval: 0.5 });
    const pi = await startTmux(host, home, [], env());
    await enter(pi, "/login");
    await pi.waitFor(/→ (Use a subscription|Sign in with an account)/);
    await pi.key("Enter");
    await pi.type("kimi");
    await pi.waitFor(/Kimi Coder/);
    await pi.key("Enter");
    await pi.waitFor(/logged in|login (is )?saved|credentials saved/i);
    expectLogin(world);
  });
});

test.each(hosts)("on pi $name /login kimi-coder asks nobody where nobody is there", async (host) => {
  const { service, home, env } = await createWorld();
  const print = await printPi(host, home, ["/login kimi-coder"], env());
  expect(print.stderr).toContain("start pi in a terminal and type /login kimi-coder");
  const rpc = startRpc(host, home, [...ourModel], env());
  await rpc.request({ type: "prompt", message: "/login kimi-coder" });
  await rpc.waitFor((event) => JSON.stringify(event).includes("start pi in a terminal"));
  await rpc.close();
  expect(service.log).toEqual([]);
  expect(home.openedUrls()).toEqual([]);
});
