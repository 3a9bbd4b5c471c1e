/** Which region is meant, that no host is paired with the other region's, and what a login asks. */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Environment, readConfiguration } from "../extensions/configuration.ts";
import { createStores } from "../extensions/credentials/stores.ts";
import { answerOf, askedForLogin, type LoginAnswer } from "../extensions/login/question.ts";
import { parseRegion, type Region, regionsInUse } from "../extensions/region.ts";
import { FIRST, put, temporaryDirectory } from "./credentials/support/homes.ts";

const HOME = "/home/someone";
const LOOPBACK = "http://127.0.0.1:1";

it.each([
  [" KIMI.AI\n", "kimi.ai"],
  ["kimi.com", "kimi.com"],
  ["mainland-cn\n", "kimi.com"],
  ["global", "kimi.ai"],
  ["kimi", undefined],
  [1, undefined],
] as const)("a region is read from %j as %s, in our words and kimi-code's", (value, region) => {
  expect(parseRegion(value)).toBe(region);
});

describe("the regions in use", () => {
  const used = (env: Environment) => {
    const { regions, asksRegion, kimiCliRegion } = readConfiguration(env, HOME);
    return [regions.map(({ region }) => region).join(" "), asksRegion, kimiCliRegion];
  };

  it.each<[string, Environment, ReturnType<typeof used>]>([
    ["nothing", {}, ["kimi.com kimi.ai", true, "kimi.com"]],
    ["a region", { KIMI_CODER_REGION: "kimi.ai" }, ["kimi.ai kimi.com", false, "kimi.com"]],
    ["an authorization server", { KIMI_CODE_OAUTH_HOST: LOOPBACK }, ["kimi.com", false, "kimi.com"]],
    [
      "both hosts and a region",
      { KIMI_OAUTH_HOST: LOOPBACK, KIMI_CODE_BASE_URL: LOOPBACK, KIMI_CODER_REGION: "kimi.ai" },
      ["kimi.ai", false, "kimi.ai"],
    ],
    [
      "kimi.ai's authorization server",
      { KIMI_CODE_OAUTH_HOST: "https://auth.kimi.ai/" },
      ["kimi.ai", false, "kimi.ai"],
    ],
    [
      "kimi.ai's API, which kimi-cli would use with kimi.com's tokens",
      { KIMI_CODE_BASE_URL: "https://api.kimi.ai" },
      ["kimi.ai", false, undefined],
    ],
    [
      "a proxy for the API of kimi.ai",
      { KIMI_CODE_BASE_URL: LOOPBACK, KIMI_CODER_REGION: "kimi.ai" },
      ["kimi.ai", false, undefined],
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
        for (const one of regionsInUse(overrides, region)) {
          const named = [one.oauthHost, one.baseUrl].filter((url) => url !== LOOPBACK);
          for (const url of named) expect(url).toContain(one.region);
          if (oauthHost) expect(one.oauthHost).toBe(oauthHost);
          if (baseUrl) expect(one.baseUrl).toBe(baseUrl);
        }
      }),
    );
  });
});

describe("the question", () => {
  const NOW = FIRST.expiresAt - 1;

  function ask(env: Environment, given: { marker?: string; home?: string } = {}) {
    const home = given.home ?? temporaryDirectory();
    const markerPath = join(home, ".kimi-code", "region");
    if (given.marker !== undefined) put(markerPath, given.marker);
    const configuration = readConfiguration(env, home);
    const stores = createStores(configuration);
    return () => askedForLogin({ configuration, stores, markerPath, now: () => NOW });
  }
  const labels = async (...asked: Parameters<typeof ask>) =>
    (await ask(...asked)()).options.map(({ label }) => label);
  const [COM, AI] = ["a new login for kimi.com", "a new login for kimi.ai (outside mainland China)"];
  const anew = (region: Region) => ({ store: { region }, token: undefined });

  it("offers both regions, first the one that kimi-code's installer noted", async () => {
    expect(await labels({})).toEqual([COM, AI]);
    expect(await labels({}, { marker: "global\n" })).toEqual([AI, COM]);
    expect(await labels({}, { marker: "mainland-cn" })).toEqual([COM, AI]);
  });

  it("offers first the logins that are there, and says in what state they are", async () => {
    const home = temporaryDirectory();
    const login = (expiresAt: number) =>
      JSON.stringify({ access_token: "a", refresh_token: "r", expires_at: expiresAt / 1000 });
    const { forLogin } = createStores(readConfiguration({}, home));
    put(forLogin("kimi.com").path, login(NOW - 1));
    put(forLogin("kimi.ai").path, login(NOW + 60_000));
    expect(await labels({}, { home })).toEqual([
      "the login of kimi-cli, renewed when it is used",
      "the login of kimi-code (kimi.ai), valid",
      COM,
      AI,
    ]);
    expect((await labels({ KIMI_CODER_REGION: "kimi.ai" }, { home })).at(-1)).toBe("a new login");
    const found = "the login of kimi-code (kimi.ai), valid";
    expect(await answerOf(ask({}, { home }), { onSelect: async () => found })).toMatchObject({
      store: { owner: "kimi-code" },
      token: { accessToken: "a" },
    });
    // Where nobody can be asked, a login is a new one.
    expect(await answerOf(ask({}, { home }), {})).toMatchObject(anew("kimi.com"));
    put(forLogin("kimi.com").path, "{");
    put(forLogin("kimi.ai").path, login(0).replace('"r"', '""'));
    expect(await labels({}, { home })).toEqual([COM, AI]);
  });

  it("is settled by what was answered before, and a strange answer is none", async () => {
    const { forLogin } = createStores(readConfiguration({}, HOME));
    const before: LoginAnswer = { store: forLogin("kimi.ai"), token: undefined };
    expect(await answerOf(ask({}), { onSelect: async () => COM, answer: before })).toBe(before);
    await expect(answerOf(ask({}), { onSelect: async () => "kimi.org" })).rejects.toThrow(
      new Error("Login cancelled"),
    );
  });
});
