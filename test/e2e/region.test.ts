/** Both regions in the real pi, under their real names: nothing of the one ever reaches the other. */
import { describe, expect, test } from "vitest";
import { readConfiguration } from "../../extensions/configuration.ts";
import { createStores } from "../../extensions/credentials/stores.ts";
import { reserveLogin } from "../../extensions/credentials/successor.ts";
import { REGIONS } from "../../extensions/region.ts";
import { hosts, olderHost } from "../support/hosts.ts";
import { type KimiService, refusals } from "../support/kimi-service/index.ts";
import { configureKimiCode, runKimiCode } from "../support/peers.ts";
import { ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { createTwoRegions } from "../support/two-regions.ts";
import { enter, enterLogin } from "../support/typing.ts";
import { asToken } from "../support/world.ts";

/** Without the quota, which is asked for beside everything else. */
const kinds = ({ log }: KimiService) =>
  [...new Set(log.map(({ kind }) => kind))].filter((kind) => kind !== "usages" && kind !== "me").sort();

describe.each(hosts)("pi $name", (host) => {
  test("uses kimi-code's login at kimi.ai: refresh, chat, models and quota go there and nowhere else", async () => {
    const { home, com, ai, connections, env } = await createTwoRegions();
    const login = ai.issueLogin();
    ai.expireAccessTokens();
    home.writeKimiCode({ ...login, expires_at: Math.floor(ai.now() / 1000) - 60 }, REGIONS["kimi.ai"]);
    const pi = startRpc(host, home, [...ourModel], env());
    await pi.prompt("hello");
    for (const wanted of ["models", "usages", "me"])
      await ai.waitFor(({ kind, finished }) => kind === wanted && finished);
    await pi.close();

    expect(kinds(ai)).toEqual(["chat", "models", "refresh"]);
    expect(new Set(connections)).toEqual(new Set(["auth.kimi.ai:443", "api.kimi.ai:443"]));
    expect(com.log).toEqual([]);
    const current = ai.currentTokens(login.refresh_token);
    expect(home.readKimiCode(REGIONS["kimi.ai"])).toMatchObject({ refresh_token: current?.refresh_token });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({
      refresh: current?.refresh_token,
      owner: "kimi-code",
      source: home.kimiCodePath(REGIONS["kimi.ai"]),
      region: "kimi.ai",
    });

    const again = await printPi(host, home, ["again"], env());
    expect(again.stdout).toBe("You said: again\n");
    expect(com.log).toEqual([]);
  });

  test("sends an API key to the region that was set", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    ai.apiKeys.add("sk-kimi-ai");
    const variables = env({ KIMI_CODER_API_KEY: "sk-kimi-ai", KIMI_CODER_REGION: "kimi.ai" });
    const { stdout } = await printPi(host, home, ["hello"], variables);
    expect(stdout).toBe("You said: hello\n");
    expect(com.log).toEqual([]);
  });

  test("names the plan's page of the account's own region", async () => {
    const { home, ai, env } = await createTwoRegions();
    home.writeKimiCode(ai.issueLogin(), REGIONS["kimi.ai"]);
    ai.fault({ path: "chat", do: refusals.membership });
    const { stderr } = await printPi(host, home, ["hello"], env());
    expect(stderr).toContain("renew the plan at https://www.kimi.ai/code.");
  });
});

describeInTmux.each(hosts)("/login on pi $name", (host) => {
  test("asks for the region, logs in there, and saves where no program takes it elsewhere", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    const kimiCli = com.issueLogin();
    home.writeKimiCli(kimiCli);
    ai.deviceResponse({ interval: 0.2 });
    const pi = await startTmux(host, home, [...ourModel], env());
    await enterLogin(pi, host);
    await pi.waitFor(/Which login\?[\s\S]*→ the login of kimi-cli, valid/);
    await pi.key("Down");
    await pi.waitFor(/→ a new login for kimi\.com/);
    await pi.key("Down");
    await pi.waitFor(/→ a new login for kimi\.ai/);
    await pi.key("Enter");
    const screen = await pi.waitFor(/logged in/i);
    if (host === olderHost) expect(screen).toContain("saved for pi and kimi-code");
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    await pi.close();
    const issued = ai.log.findLast(({ issued }) => issued)?.issued;
    expect(home.readKimiCode(REGIONS["kimi.ai"])).toMatchObject({ refresh_token: issued?.refresh_token });
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({
      refresh: issued?.refresh_token,
      region: "kimi.ai",
    });
    expect(home.readKimiCli()).toMatchObject({ refresh_token: kimiCli.refresh_token });
    expect(kinds(ai)).toEqual(["chat", "device_authorization", "device_poll", "models"]);
    expect(kinds(com).filter((kind) => kind !== "models")).toEqual([]);
    expect(Object.keys(home.files()).filter((name) => name.endsWith(".lock/"))).toEqual([]);
  });

  test("leaves everything as it was when the question is not answered", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    const pi = await startTmux(host, home, [], env());
    await enterLogin(pi, host);
    await pi.waitFor(/Which Kimi account\?/);
    await pi.key("Escape");
    await pi.waitFor((screen) => !screen.includes("Which Kimi account"));
    if (host !== olderHost) {
      // The newer pi goes back to its own question.
      await pi.waitFor("Select authentication method");
      await pi.key("Escape");
      await pi.waitFor((screen) => !screen.includes("Select authentication method"));
    }
    await pi.type("still here");
    const screen = await pi.waitFor("still here");
    if (host === olderHost) expect(screen).not.toMatch(/cancel|fail/i);
    await pi.close();
    expect([com.log, ai.log]).toEqual([[], []]);
    expect(home.readAuth()?.["kimi-coder"]).toBeUndefined();
  });

  test("asks nothing where the region is set, and says where it was saved", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    ai.deviceResponse({ interval: 0.2 });
    const pi = await startTmux(host, home, [], env({ KIMI_CODER_REGION: "kimi.ai" }));
    await enterLogin(pi, host);
    expect(await pi.waitFor(/logged in/i)).not.toContain("Which Kimi account");
    await pi.close();
    expect(home.readKimiCode(REGIONS["kimi.ai"])).toBeDefined();
    expect(home.readKimiCli()).toBeUndefined();
    expect(com.log).toEqual([]);
  });
});

describeInTmux(`/login typed on pi ${olderHost.version}, whose own takes no argument,`, () => {
  test("takes the region as it is typed, and says which there are", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    com.deviceResponse({ interval: 0.2 });
    ai.deviceResponse({ interval: 0.2 });
    const pi = await startTmux(olderHost, home, [], env());
    await enter(pi, "/login kimi-coder kimi.org");
    await pi.waitFor("that is not a region; type /login kimi-coder kimi.com or /login kimi-coder kimi.ai");
    await enter(pi, "/login kimi-coder kimi.ai");
    await pi.waitFor("saved for pi and kimi-code");
    expect(com.log).toEqual([]);
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ owner: "kimi-code", region: "kimi.ai" });
    await enter(pi, "/login kimi-coder kimi.com");
    await pi.waitFor("saved for pi and kimi-cli");
    await enter(pi, "hello");
    await pi.waitFor("You said: hello");
    await pi.close();
    expect(home.readAuth()?.["kimi-coder"]).toMatchObject({ owner: "kimi-cli" });
    expect(home.readAuth()?.["kimi-coder"]).not.toHaveProperty("region");
    expect(com.chats()).toHaveLength(1);
    expect(kinds(ai)).toEqual(["device_authorization", "device_poll", "models"]);
  });
});

describe("a login of kimi.ai made in pi", () => {
  test("is the real kimi-code's too, where that is set up for kimi.ai", async () => {
    const { home, com, ai, env } = await createTwoRegions();
    const store = createStores(readConfiguration({}, home.path)).forLogin("kimi.ai");
    const login = ai.issueLogin();
    const expiresAt = ai.now() - 60_000;
    const room = await reserveLogin(store);
    if (room.state === "failed") throw new Error(room.code);
    await room.successor.save({ ...asToken(login), expiresAt });
    const service = { ...REGIONS["kimi.ai"], environment: env().env };
    configureKimiCode(home, service);

    const theirs = await runKimiCode(home, service, "hello");
    expect(theirs.stdout).toContain("You said");
    const { stdout } = await printPi(olderHost, home, ["again"], env());
    expect(stdout).toBe("You said: again\n");

    expect(ai.refreshes()).toHaveLength(1);
    expect(ai.reusedRefreshTokens()).toBe(0);
    expect(com.log).toEqual([]);
    expect(await store.read()).toMatchObject({
      state: "present",
      token: { refreshToken: ai.currentTokens(login.refresh_token)?.refresh_token },
    });
  });
});
