/** Which region is meant, where its logins are, and that nothing of one region gets to the other's hosts. */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Environment, readConfiguration } from "../extensions/configuration.ts";
import { piAuth } from "../extensions/credentials/pi-auth.ts";
import { createSharedCredential } from "../extensions/credentials/shared-credential.ts";
import { refresh } from "../extensions/oauth/token-endpoint.ts";
import {
  hostsOf,
  parseRegion,
  planPage,
  REGIONS,
  type Region,
  type RegionTable,
  regionsInUse,
} from "../extensions/region.ts";
import { chooseRegion, regionQuestion } from "../extensions/region-choice.ts";
import { createStores } from "../extensions/stores.ts";
import { FIRST, modeOf, temporaryDirectory } from "./credentials/support/homes.ts";
import { realKimiCode } from "./credentials/support/kimi-code-bundle.ts";
import { asToken, putLogin, readObject, startWorld } from "./credentials/support/world.ts";
import { CLIENT_ID } from "./support/kimi-service/index.ts";

const HOME = "/home/someone";
const LOOPBACK = "http://127.0.0.1:1";

describe("a region", () => {
  it.each([
    ["kimi.com", "kimi.com"],
    [" KIMI.AI\n", "kimi.ai"],
    ["mainland-cn\n", "kimi.com"],
    ["global", "kimi.ai"],
    ["", undefined],
    ["kimi", undefined],
    ["https://kimi.ai", undefined],
    [1, undefined],
    [undefined, undefined],
  ] as const)("is read from %j as %s, in our words and kimi-code's", (value, region) => {
    expect(parseRegion(value)).toBe(region);
  });

  it("has its own hosts and plan page", () => {
    for (const region of ["kimi.com", "kimi.ai"] as const) {
      const { oauthHost, baseUrl } = REGIONS[region];
      expect([oauthHost, baseUrl, planPage(region)]).toEqual([
        `https://auth.${region}`,
        `https://api.${region}/coding/v1`,
        `https://www.${region}/code`,
      ]);
    }
  });
});

describe("the regions in use", () => {
  const used = (env: Environment) => {
    const { regions, asksRegion, kimiCliRegion } = readConfiguration(env, HOME);
    return { regions: regions.map(({ region }) => region), asksRegion, kimiCliRegion };
  };

  it.each<[string, Environment, ReturnType<typeof used>]>([
    ["nothing", {}, { regions: ["kimi.com", "kimi.ai"], asksRegion: true, kimiCliRegion: "kimi.com" }],
    [
      "a region",
      { KIMI_CODER_REGION: "kimi.ai" },
      { regions: ["kimi.ai", "kimi.com"], asksRegion: false, kimiCliRegion: "kimi.com" },
    ],
    [
      "an authorization server",
      { KIMI_CODE_OAUTH_HOST: LOOPBACK },
      { regions: ["kimi.com"], asksRegion: false, kimiCliRegion: "kimi.com" },
    ],
    [
      "an API",
      { KIMI_CODE_BASE_URL: LOOPBACK },
      { regions: ["kimi.com"], asksRegion: false, kimiCliRegion: "kimi.com" },
    ],
    [
      "both hosts and a region",
      { KIMI_OAUTH_HOST: LOOPBACK, KIMI_CODE_BASE_URL: LOOPBACK, KIMI_CODER_REGION: "kimi.ai" },
      { regions: ["kimi.ai"], asksRegion: false, kimiCliRegion: "kimi.ai" },
    ],
    [
      "kimi.ai's authorization server",
      { KIMI_CODE_OAUTH_HOST: "https://auth.kimi.ai/" },
      { regions: ["kimi.ai"], asksRegion: false, kimiCliRegion: "kimi.ai" },
    ],
    [
      "kimi.ai's API, which kimi-cli would use with kimi.com's tokens",
      { KIMI_CODE_BASE_URL: "https://api.kimi.ai/coding/v1" },
      { regions: ["kimi.ai"], asksRegion: false, kimiCliRegion: undefined },
    ],
    [
      "a proxy for the API of kimi.ai",
      { KIMI_CODE_BASE_URL: LOOPBACK, KIMI_CODER_REGION: "kimi.ai" },
      { regions: ["kimi.ai"], asksRegion: false, kimiCliRegion: undefined },
    ],
  ])("where the environment names %s", (_name, env, expected) => {
    expect(used(env)).toEqual(expected);
  });

  it("never pair one region's authorization server with the other's API", () => {
    const host = fc.constantFrom(undefined, LOOPBACK, "https://auth.kimi.com", "https://auth.kimi.ai");
    const base = fc.constantFrom(undefined, LOOPBACK);
    const chosen = fc.constantFrom<Region | undefined>(undefined, "kimi.com", "kimi.ai");
    fc.assert(
      fc.property(host, base, chosen, (oauthHost, baseUrl, region) => {
        const overrides = { ...(oauthHost && { oauthHost }), ...(baseUrl && { baseUrl }) };
        for (const one of regionsInUse(REGIONS, overrides, region)) {
          const named = [one.oauthHost, one.baseUrl].filter((url) => url !== LOOPBACK);
          for (const url of named) expect(url).toContain(one.region);
          if (oauthHost) expect(one.oauthHost).toBe(oauthHost);
          if (baseUrl) expect(one.baseUrl).toBe(baseUrl);
        }
      }),
    );
  });
});

describe("a login", () => {
  const stores = (env: Environment) => createStores(readConfiguration(env, HOME));

  it("of kimi.com is saved for kimi-cli, one of kimi.ai where kimi-code keeps its own", () => {
    const { forLogin } = stores({});
    expect(forLogin("kimi.com")).toMatchObject({ owner: "kimi-cli", region: "kimi.com" });
    const slot = realKimiCode().resolveKimiCodeOAuthKey(REGIONS["kimi.ai"]).replace("oauth/", "");
    expect(forLogin("kimi.ai")).toMatchObject({
      owner: "kimi-code",
      region: "kimi.ai",
      path: join(HOME, ".kimi-code", "credentials", `${slot}.json`),
    });
  });

  it("of kimi.ai is saved as kimi-code itself would have, for the owner's eyes alone", async () => {
    const home = temporaryDirectory();
    const store = createStores(readConfiguration({}, home)).forLogin("kimi.ai");
    expect(await store.save(FIRST)).toEqual({ state: "written" });
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
    const folder = join(home, ".kimi-code", "credentials");
    const theirs = realKimiCode().openStorage(folder);
    const saved = await theirs.load(basename(store.path, ".json"));
    expect(saved).toMatchObject({ accessToken: FIRST.accessToken, refreshToken: FIRST.refreshToken });
    expect([modeOf(store.path), modeOf(folder)]).toEqual([0o600, 0o700]);
  });

  it("is looked for in each region's place, and only in places of regions in use", () => {
    const places = (env: Environment) => stores(env).all.map(({ owner, region }) => `${owner} ${region}`);
    expect(places({})).toEqual([
      "kimi-cli kimi.com",
      "kimi-code kimi.com",
      "kimi-code kimi.ai",
      "opencode-kimi-full kimi.com",
      "opencode-kimi-auth kimi.com",
    ]);
    const loopback = { KIMI_CODE_OAUTH_HOST: LOOPBACK, KIMI_CODE_BASE_URL: LOOPBACK };
    expect(places(loopback)).toHaveLength(4);
    expect(places({ KIMI_CODE_OAUTH_HOST: "https://auth.kimi.ai" })).toEqual([
      "kimi-cli kimi.ai",
      "kimi-code kimi.ai",
    ]);
    expect(places({ KIMI_CODE_BASE_URL: "https://api.kimi.ai/coding/v1" })).toEqual(["kimi-code kimi.ai"]);
  });

  it("under overridden hosts is saved for kimi-cli, which has the same variables", () => {
    const loopback = { KIMI_CODE_OAUTH_HOST: LOOPBACK, KIMI_CODE_BASE_URL: LOOPBACK };
    for (const region of ["kimi.com", "kimi.ai"] as const) {
      expect(stores({ ...loopback, KIMI_CODER_REGION: region }).forLogin(region).owner).toBe("kimi-cli");
    }
    const proxied = stores({ KIMI_CODE_BASE_URL: LOOPBACK, KIMI_CODER_REGION: "kimi.ai" });
    expect(proxied.forLogin("kimi.ai").owner).toBe("kimi-code");
  });
});

describe("the question", () => {
  function ask(env: Environment, marker?: string) {
    const path = join(temporaryDirectory(), "region");
    if (marker !== undefined) writeFileSync(path, marker);
    return regionQuestion(readConfiguration(env, HOME), path);
  }
  const ids = (env: Environment, marker?: string) =>
    ask(env, marker)
      .options()
      .map(({ id }) => id);

  it("offers both, first the one that kimi-code's installer noted", () => {
    expect(ids({})).toEqual(["kimi.com", "kimi.ai"]);
    expect(ids({}, "global\n")).toEqual(["kimi.ai", "kimi.com"]);
    expect(ids({}, "mainland-cn")).toEqual(["kimi.com", "kimi.ai"]);
    expect(ids({}, "elsewhere")).toEqual(["kimi.com", "kimi.ai"]);
  });

  it.each<Environment>([
    { KIMI_CODER_REGION: "kimi.ai" },
    { KIMI_CODE_OAUTH_HOST: LOOPBACK },
    { KIMI_OAUTH_HOST: LOOPBACK },
    { KIMI_CODE_BASE_URL: LOOPBACK },
  ])("is not asked with %j", async (env) => {
    const onSelect = () => Promise.reject(new Error("asked"));
    const expected = env.KIMI_CODER_REGION ? "kimi.ai" : "kimi.com";
    expect(await chooseRegion(ask(env, "global"), { onSelect })).toBe(expected);
  });

  it("is settled by the answer, by what was typed, or by the usual region where nobody can be asked", async () => {
    const answer = (id: string | undefined) => ({ onSelect: async () => id });
    expect(await chooseRegion(ask({}), answer("kimi.ai"))).toBe("kimi.ai");
    expect(await chooseRegion(ask({}), { ...answer("kimi.com"), region: "kimi.ai" })).toBe("kimi.ai");
    expect(await chooseRegion(ask({ KIMI_CODER_REGION: "kimi.com" }), { region: "kimi.ai" })).toBe("kimi.ai");
    expect(await chooseRegion(ask({}), {})).toBe("kimi.com");
    for (const id of [undefined, "kimi.org"]) {
      await expect(chooseRegion(ask({}), answer(id))).rejects.toThrow(new Error("Login cancelled"));
    }
  });
});

describe("with both regions as servers", () => {
  async function bothRegions() {
    const [com, ai] = [await startWorld(), await startWorld()];
    const { home, clock } = com;
    const table: RegionTable = { "kimi.com": com.service, "kimi.ai": ai.service };
    const configuration = readConfiguration({}, home, table);
    const stores = createStores(configuration);
    const server = (region: Region) => ({
      host: hostsOf(configuration.regions, region).oauthHost,
      clientId: CLIENT_ID,
      fetch,
      identity: async () => ({}),
    });
    const start = () =>
      createSharedCredential({
        stores: stores.all,
        loginStore: stores.forLogin("kimi.com"),
        piAuth: piAuth({ path: com.authPath }),
        memoryPath: com.memoryPath,
        rotationsPath: com.rotationsPath,
        refresh: (token, { region }) => refresh(server(region), token, clock.now, 15_000),
        clock,
        listener: () => {},
      });
    const entry = () => readObject(com.authPath)["kimi-coder"];
    return { com, ai, clock, stores, start, entry };
  }

  it.each(["kimi.com", "kimi.ai"] as const)("a login of %s is renewed there alone", async (region) => {
    const { com, ai, stores, start, entry } = await bothRegions();
    const [own, other] = region === "kimi.com" ? [com, ai] : [ai, com];
    const store = stores.forLogin(region);
    const old = own.service.issueLogin();
    putLogin(store.path, { ...old, expires_at: com.clock.now() / 1000 - 60 });
    const process = start();
    const access = await com.drive(process.current(false));
    await process.settle(1_000);

    const current = own.service.currentTokens(old.refresh_token);
    expect(access).toMatchObject({
      state: "ready",
      token: { accessToken: current?.access_token },
      store: { region },
    });
    expect(own.service.refreshes()).toHaveLength(1);
    expect(other.service.log).toEqual([]);
    expect(entry()).toMatchObject({ refresh: current?.refresh_token, source: store.path });
    if (region === "kimi.ai") expect(entry()).toMatchObject({ region });
    else expect(entry()).not.toHaveProperty("region");
  });

  it("pi's entry says the region, and forgets it with the next login of the other", async () => {
    const { com, ai, entry } = await bothRegions();
    const auth = piAuth({ path: com.authPath });
    const theirs = { token: asToken(ai.service.issueLogin()), owner: "kimi-code", source: "/ai" } as const;
    expect(await auth.update(() => ({ ...theirs, region: "kimi.ai" }))).toEqual({ state: "written" });
    expect(entry()).toMatchObject({ region: "kimi.ai" });
    expect(await auth.read()).toMatchObject({ state: "oauth", region: "kimi.ai" });
    expect(await auth.update(() => ({ ...theirs, region: "kimi.ai" }))).toEqual({ state: "left" });
    expect(await auth.update(() => ({ ...theirs, region: "kimi.com" }))).toEqual({ state: "written" });
    expect(entry()).not.toHaveProperty("region");
  });

  it("the mirror's token is not sent to another region because another program's file is damaged", async () => {
    const { com, ai, stores, start } = await bothRegions();
    const { access_token: access, refresh_token: refreshToken } = ai.service.issueLogin();
    const expires = com.clock.now() + 600_000;
    const lost = { owner: "kimi-code", source: "/elsewhere/kimi-code-env.json", region: "kimi.ai" };
    mkdirSync(join(com.home, ".pi/agent"), { recursive: true });
    const entry = { type: "oauth", access, refresh: refreshToken, expires, ...lost };
    writeFileSync(com.authPath, JSON.stringify({ "kimi-coder": entry }));
    const damaged = stores.forLogin("kimi.com").path;
    mkdirSync(join(damaged, ".."), { recursive: true });
    writeFileSync(damaged, "{");
    expect(await start().current(true)).toMatchObject({ state: "unavailable", reason: { kind: "problem" } });

    writeFileSync(com.authPath, JSON.stringify({ "kimi-coder": { ...entry, region: undefined } }));
    expect(await start().current(true)).toMatchObject({ state: "ready", store: { region: "kimi.com" } });
  });
});
