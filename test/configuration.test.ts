import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import {
  API_KEY_VARIABLE,
  type Environment,
  findConfiguredKey,
  readConfiguration,
} from "../extensions/configuration.ts";
import { REGIONS } from "../extensions/region.ts";
import { temporaryDirectory } from "./credentials/support/homes.ts";

const HOME = join("/", "home", "someone");
const DEFAULTS = { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" };
const read = (env: Environment) => readConfiguration(env, HOME);
/** The hosts of the first region, and the refusal. */
const hosts = (env: Environment) => {
  const { regions, refusal } = read(env);
  return { oauthHost: regions[0].oauthHost, baseUrl: regions[0].baseUrl, refusal };
};
const USABLE = { ...DEFAULTS, refusal: undefined };

describe("readConfiguration", () => {
  it.each(["", " ", undefined])("needs no configuration, and takes %j for not set", (value) => {
    const hosts = ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"];
    const ours = ["REGION", "IDENTITY", "FOOTER", "TOOLS", "PARALLEL", "API_KEY"];
    const names = [...hosts, ...ours.map((name) => `KIMI_CODER_${name}`)];
    expect(read(Object.fromEntries(names.map((name) => [name, value])))).toEqual({
      regions: [
        { region: "kimi.com", ...DEFAULTS },
        { region: "kimi.ai", ...REGIONS["kimi.ai"] },
      ],
      asksRegion: true,
      kimiCliRegion: "kimi.com",
      identity: "kimi-cli",
      footer: true,
      refusal: undefined,
      home: HOME,
      kimiShare: join(HOME, ".kimi"),
      kimiCodeHome: join(HOME, ".kimi-code"),
      dataHome: join(HOME, ".local", "share"),
      agentDir: join(HOME, ".pi", "agent"),
    });
  });

  it.each([
    ["KIMI_CODER_TOOLS", " OFF ", { tools: [] }],
    ["KIMI_CODER_TOOLS", "Fetch, search", { tools: ["search", "fetch"] }],
    ["KIMI_CODER_IDENTITY", " Pi ", { identity: "pi" }],
    ["KIMI_CODER_IDENTITY", "kimi-cli", { identity: "kimi-cli" }],
    ["KIMI_CODER_FOOTER", " OFF ", { footer: false }],
    ["KIMI_CODER_FOOTER", "on", { footer: true }],
    ["KIMI_CODER_PARALLEL", "1000", { parallel: 1_000 }],
  ])("takes %s=%j", (name, value, taken) => {
    expect(read({ [name]: value })).toMatchObject({ ...taken, refusal: undefined });
  });

  // A typing error must not mean the default, nor pass for kimi-cli.
  it.each([
    ["KIMI_CODER_TOOLS", "search,off", "is neither off nor a list of search and fetch"],
    ["KIMI_CODER_TOOLS", "search,", "is neither off nor a list of search and fetch"],
    ["KIMI_CODER_IDENTITY", "pii", "is neither pi nor kimi-cli"],
    ["KIMI_CODER_IDENTITY", "\u001b[31mpi", "is neither pi nor kimi-cli"],
    ["KIMI_CODER_FOOTER", "no", "is neither on nor off"],
    ["KIMI_CODER_REGION", "kimi.org", "is neither kimi.com nor kimi.ai"],
    ["KIMI_CODER_PARALLEL", "1001", "is not a whole number from 1 to 1000"],
    ["KIMI_CODER_PARALLEL", "0", "is not a whole number from 1 to 1000"],
    ["KIMI_CODER_API_KEY", "sk schl\u00fcssel", "has a character in it that keys do not have"],
  ])("refuses %s=%j in one sentence that does not repeat it", (name, value, complaint) => {
    expect(read({ [name]: value }).refusal).toBe(
      `Kimi Coder: ${name} ${complaint}; correct or unset it and start pi again.`,
    );
  });

  it.each([
    [" https://auth.example/// ", "https://auth.example"],
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["HTTPS://AUTH.EXAMPLE:443/Path/", "https://auth.example/Path"],
  ])("takes %j for either host as %s", (value, url) => {
    expect(hosts({ KIMI_CODE_OAUTH_HOST: value })).toEqual({ ...USABLE, oauthHost: url });
    expect(hosts({ KIMI_CODE_BASE_URL: value })).toEqual({ ...USABLE, baseUrl: url });
  });

  const proxy = "https://proxy.example/kimi";
  it.each([
    ["https://api.kimi.com", "https://api.kimi.com/coding/v1"],
    ["https://api.kimi.com/coding/", "https://api.kimi.com/coding/v1"],
    ["https://proxy.example/coding/v1/messages/", "https://proxy.example/coding/v1"],
    [`${proxy}/chat/completions`, proxy],
    [`${proxy}/messages/v1`, `${proxy}/messages/v1`],
  ])("asks, told %s for the API, %s", (value, baseUrl) => {
    expect(hosts({ KIMI_CODE_BASE_URL: value })).toMatchObject({ baseUrl, refusal: undefined });
  });

  it("takes an endpoint of the authorization server for the server", () => {
    const env = { KIMI_CODE_OAUTH_HOST: "https://auth.kimi.ai/api/oauth/device_authorization" };
    expect(hosts(env)).toMatchObject({ oauthHost: "https://auth.kimi.ai", refusal: undefined });
  });

  it.each([
    "auth.example",
    "ftp://auth.example",
    "https://someone:s3cret@auth.example",
    "https://auth.example/?key=s3cret",
    "https://auth.example/#s3cret",
    "\u001b]0;s3cret\u0007",
  ])("refuses the host %j in one sentence that does not repeat it", (value) => {
    for (const name of ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"]) {
      const refusal = `Kimi Coder: ${name} is not an http(s) URL; correct or unset it and start pi again.`;
      expect(hosts({ [name]: value })).toEqual({ ...DEFAULTS, refusal });
    }
  });

  it("names both variables where both are wrong", () => {
    expect(read({ KIMI_OAUTH_HOST: "x", KIMI_CODE_BASE_URL: "y" }).refusal).toContain(
      "KIMI_OAUTH_HOST is not an http(s) URL and KIMI_CODE_BASE_URL is not an http(s) URL",
    );
  });

  it("follows the newer name of the authorization server, also where that is wrong", () => {
    const KIMI_OAUTH_HOST = "https://b.example";
    const told = (newer: string) => hosts({ KIMI_CODE_OAUTH_HOST: newer, KIMI_OAUTH_HOST });
    expect(told("https://a.example").oauthHost).toBe("https://a.example");
    expect(told(" ").oauthHost).toBe("https://b.example");
    expect(told("x").refusal).toContain("KIMI_CODE_OAUTH_HOST");
  });

  it.each([
    ["KIMI_SHARE_DIR", "kimiShare", join(HOME, ".kimi")],
    ["KIMI_CODE_HOME", "kimiCodeHome", join(HOME, ".kimi-code")],
    ["XDG_DATA_HOME", "dataHome", join(HOME, ".local", "share")],
    ["PI_CODING_AGENT_DIR", "agentDir", join(HOME, ".pi", "agent")],
  ] as const)("%s replaces %s", (name, folder, otherwise) => {
    expect(read({ [name]: "/elsewhere" })[folder]).toBe("/elsewhere");
    expect(read({ [name]: "~/a" })[folder]).toBe(join(HOME, "a"));
    expect(read({ [name]: "~other/a" })[folder]).toBe("~other/a");
    expect(read({ [name]: "" })[folder]).toBe(otherwise);
  });
});

// What stands in place of the files: hostile/places.test.ts.
describe("findConfiguredKey", () => {
  let agentDir: string;
  beforeEach(() => {
    agentDir = temporaryDirectory();
  });
  const put = (name: string, value: unknown) => writeFileSync(join(agentDir, name), JSON.stringify(value));
  const withKey = (key: unknown) => put("settings.json", { apiKeys: { [API_KEY_VARIABLE]: key } });

  it("takes the variable, then pi's settings, then what pi has made of them in auth.json", () => {
    expect(findConfiguredKey({}, agentDir)).toBeUndefined();
    put("auth.json", { [API_KEY_VARIABLE]: { type: "api_key", key: "from-auth" } });
    expect(findConfiguredKey({}, agentDir)?.key).toBe("from-auth");
    withKey("from-settings");
    expect(findConfiguredKey({ [API_KEY_VARIABLE]: " " }, agentDir)).toEqual({
      key: "from-settings",
      source: join(agentDir, "settings.json"),
    });
    expect(findConfiguredKey({ [API_KEY_VARIABLE]: "from-env" }, agentDir)).toEqual({
      key: "from-env",
      source: API_KEY_VARIABLE,
    });
  });

  it.each([
    [" sk-kimi\n", "sk-kimi"],
    // Who sends it refuses it; a login in its place would be somebody else's bill.
    ["sk kimi", "sk kimi"],
    [["sk"], undefined],
  ])("takes of %j in a file %j", (value, key) => {
    withKey(value);
    expect(findConfiguredKey({}, agentDir)?.key).toBe(key);
  });
});
