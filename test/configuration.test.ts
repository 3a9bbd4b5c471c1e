import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  API_KEY_VARIABLE,
  type Environment,
  findConfiguredKey,
  readConfiguration,
} from "../extensions/configuration.ts";

const HOME = join("/", "home", "someone");
const DEFAULTS = { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" };

describe("readConfiguration", () => {
  it("needs no configuration", () => {
    expect(readConfiguration({}, HOME)).toEqual({
      ...DEFAULTS,
      regions: [
        { region: "kimi.com", ...DEFAULTS },
        { region: "kimi.ai", oauthHost: "https://auth.kimi.ai", baseUrl: "https://api.kimi.ai/coding/v1" },
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
    ["off", []],
    [" Search ", ["search"]],
    ["search, fetch", ["search", "fetch"]],
  ])("takes KIMI_CODER_TOOLS=%j", (value, tools) => {
    expect(readConfiguration({ KIMI_CODER_TOOLS: value }, HOME)).toMatchObject({ tools, refusal: undefined });
  });

  it.each(["on", "search,off", "search,", "kimi_search"])("refuses KIMI_CODER_TOOLS=%j", (value) => {
    expect(readConfiguration({ KIMI_CODER_TOOLS: value }, HOME).refusal).toBe(
      "Kimi Coder: KIMI_CODER_TOOLS is neither off nor a list of search and fetch; correct or unset it and start pi again.",
    );
  });

  it.each([
    ["https://auth.example", "https://auth.example"],
    ["https://auth.example///", "https://auth.example"],
    [" https://auth.example/ ", "https://auth.example"],
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["https://auth.example:443/", "https://auth.example"],
    ["HTTPS://AUTH.EXAMPLE/Path/", "https://auth.example/Path"],
  ])("takes %j for either host as %s", (value, url) => {
    expect(readConfiguration({ KIMI_CODE_OAUTH_HOST: value }, HOME)).toMatchObject({
      ...DEFAULTS,
      oauthHost: url,
      refusal: undefined,
    });
    expect(readConfiguration({ KIMI_CODE_BASE_URL: value }, HOME)).toMatchObject({
      ...DEFAULTS,
      baseUrl: url,
      refusal: undefined,
    });
  });

  const proxy = "https://proxy.example/kimi";
  it.each([
    ["https://api.kimi.com", "https://api.kimi.com/coding/v1"],
    ["https://api.kimi.com/coding/", "https://api.kimi.com/coding/v1"],
    ["https://api.kimi.ai/coding/v1/chat/completions", "https://api.kimi.ai/coding/v1"],
    ["https://proxy.example/coding", "https://proxy.example/coding/v1"],
    ["https://proxy.example/coding/v1/messages/", "https://proxy.example/coding/v1"],
    [`${proxy}/chat/completions`, proxy],
    [proxy, proxy],
    ["https://proxy.example/messages/v1", "https://proxy.example/messages/v1"],
  ])("asks, told %s for the API, %s", (value, baseUrl) => {
    expect(readConfiguration({ KIMI_CODE_BASE_URL: value }, HOME)).toMatchObject({
      baseUrl,
      refusal: undefined,
    });
  });

  it("takes a login of kimi.ai there, told the host of kimi.ai alone", () => {
    const [{ region }] = readConfiguration({ KIMI_CODE_BASE_URL: "https://api.kimi.ai" }, HOME).regions;
    expect(region).toBe("kimi.ai");
  });

  it.each(["/api/oauth/token", "/api/oauth/device_authorization", "/api/oauth/", "/"])(
    "takes an endpoint of the authorization server for the server: %s",
    (path) => {
      const env = { KIMI_CODE_OAUTH_HOST: `https://auth.kimi.ai${path}` };
      expect(readConfiguration(env, HOME)).toMatchObject({
        oauthHost: "https://auth.kimi.ai",
        refusal: undefined,
      });
    },
  );

  it.each([
    "auth.example",
    "//auth.example",
    "ftp://auth.example",
    "javascript:alert(1)",
    "https://",
    "https://someone:s3cret@auth.example",
    "https://auth.example/?key=s3cret",
    "https://auth.example/#s3cret",
    "\u001b]0;s3cret\u0007",
  ])("refuses %j in one sentence that does not repeat it", (value) => {
    for (const name of ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"]) {
      expect(readConfiguration({ [name]: value }, HOME)).toMatchObject({
        ...DEFAULTS,
        refusal: `Kimi Coder: ${name} is not an http(s) URL; correct or unset it and start pi again.`,
      });
    }
  });

  it("names both variables where both are wrong", () => {
    const { refusal } = readConfiguration({ KIMI_OAUTH_HOST: "x", KIMI_CODE_BASE_URL: "y" }, HOME);
    expect(refusal).toContain(
      "KIMI_OAUTH_HOST is not an http(s) URL and KIMI_CODE_BASE_URL is not an http(s) URL",
    );
  });

  it.each(["", " ", undefined])("takes %j for not set", (value) => {
    const env = { KIMI_CODE_OAUTH_HOST: value, KIMI_OAUTH_HOST: value, KIMI_CODE_BASE_URL: value };
    expect(readConfiguration(env, HOME)).toMatchObject({ ...DEFAULTS, refusal: undefined });
  });

  it.each<[string, Environment, string]>([
    [
      "the newer name",
      { KIMI_CODE_OAUTH_HOST: "https://a.example", KIMI_OAUTH_HOST: "https://b.example" },
      "a",
    ],
    ["the older name alone", { KIMI_OAUTH_HOST: "https://b.example" }, "b"],
    [
      "the older name beside an empty newer one",
      { KIMI_CODE_OAUTH_HOST: " ", KIMI_OAUTH_HOST: "https://b.example" },
      "b",
    ],
  ])("follows %s", (_name, env, host) => {
    expect(readConfiguration(env, HOME).oauthHost).toBe(`https://${host}.example`);
  });

  it("does not fall back to the older name where the newer one is wrong", () => {
    const env = { KIMI_CODE_OAUTH_HOST: "x", KIMI_OAUTH_HOST: "https://b.example" };
    expect(readConfiguration(env, HOME)).toMatchObject({
      refusal: expect.stringContaining("KIMI_CODE_OAUTH_HOST"),
    });
  });

  it.each([
    ["KIMI_SHARE_DIR", "kimiShare", join(HOME, ".kimi")],
    ["KIMI_CODE_HOME", "kimiCodeHome", join(HOME, ".kimi-code")],
    ["XDG_DATA_HOME", "dataHome", join(HOME, ".local", "share")],
    ["PI_CODING_AGENT_DIR", "agentDir", join(HOME, ".pi", "agent")],
  ] as const)("%s replaces %s", (name, folder, otherwise) => {
    expect(readConfiguration({ [name]: "/elsewhere" }, HOME)[folder]).toBe("/elsewhere");
    expect(readConfiguration({ [name]: "~" }, HOME)[folder]).toBe(HOME);
    expect(readConfiguration({ [name]: "~/a" }, HOME)[folder]).toBe(join(HOME, "a"));
    expect(readConfiguration({ [name]: "~other/a" }, HOME)[folder]).toBe("~other/a");
    expect(readConfiguration({ [name]: "" }, HOME)[folder]).toBe(otherwise);
  });

  it.each([
    [undefined, "kimi-cli"],
    ["", "kimi-cli"],
    ["kimi-cli", "kimi-cli"],
    ["pi", "pi"],
    [" Pi ", "pi"],
  ] as const)("takes %j for KIMI_CODER_IDENTITY as %s", (value, identity) => {
    expect(readConfiguration({ KIMI_CODER_IDENTITY: value }, HOME)).toMatchObject({
      identity,
      refusal: undefined,
    });
  });

  it.each(["pii", "1", "kimi", "claude-code", "\u001b[31mpi"])(
    "refuses %j for KIMI_CODER_IDENTITY, for a typing error must not pass for kimi-cli",
    (value) => {
      expect(readConfiguration({ KIMI_CODER_IDENTITY: value }, HOME).refusal).toBe(
        "Kimi Coder: KIMI_CODER_IDENTITY is neither pi nor kimi-cli; correct or unset it and start pi again.",
      );
    },
  );

  it.each([
    ["", true],
    ["on", true],
    [" OFF ", false],
  ])("takes %j for KIMI_CODER_FOOTER as %s", (value, footer) => {
    expect(readConfiguration({ KIMI_CODER_FOOTER: value }, HOME)).toMatchObject({
      footer,
      refusal: undefined,
    });
  });

  it("refuses another word for KIMI_CODER_FOOTER", () => {
    expect(readConfiguration({ KIMI_CODER_FOOTER: "no" }, HOME).refusal).toBe(
      "Kimi Coder: KIMI_CODER_FOOTER is neither on nor off; correct or unset it and start pi again.",
    );
  });

  it("refuses a region that there is not", () => {
    expect(readConfiguration({ KIMI_CODER_REGION: "kimi.org" }, HOME).refusal).toBe(
      "Kimi Coder: KIMI_CODER_REGION is neither kimi.com nor kimi.ai; correct or unset it and start pi again.",
    );
  });

  it("gives plain http(s) hosts whatever the environment says", () => {
    const value = fc.oneof(
      fc.webUrl({ withQueryParameters: true, withFragments: true }),
      fc.string({ unit: "binary" }),
      fc.constant(undefined),
    );
    const names = ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL", "KIMI_SHARE_DIR"].concat(
      "KIMI_CODER_REGION",
      "KIMI_CODER_IDENTITY",
      "KIMI_CODER_FOOTER",
      "KIMI_CODER_TOOLS",
    );
    fc.assert(
      fc.property(fc.record(Object.fromEntries(names.map((name) => [name, value]))), (env) => {
        const { oauthHost, baseUrl, refusal } = readConfiguration(env, HOME);
        for (const host of [oauthHost, baseUrl]) {
          expect(host).toMatch(/^https?:\/\/[^/@]/);
          expect(host).not.toMatch(/\/$|[?#\s]/);
          expect(`${new URL(host)}`.replace(/\/$/, "")).toBe(host);
        }
        expect(refusal ?? "Kimi Coder: x.").toMatch(/^Kimi Coder: [\x20-\x7e]+\.$/);
      }),
    );
  });
});

/** The key alone. */
const readKey = (env: Environment, agentDir: string) => findConfiguredKey(env, agentDir)?.key;

describe("findConfiguredKey", () => {
  let agentDir: string;
  beforeEach(async () => {
    agentDir = await mkdtemp(join(tmpdir(), "kimi-configuration-"));
  });
  afterEach(() => rm(agentDir, { recursive: true, force: true }));

  const settings = (text: string) => writeFile(join(agentDir, "settings.json"), text);
  const withKey = (key: unknown) => settings(JSON.stringify({ apiKeys: { [API_KEY_VARIABLE]: key } }));

  it("finds none where there is none", () => {
    expect(readKey({}, agentDir)).toBeUndefined();
    expect(readKey({}, join(agentDir, "nowhere"))).toBeUndefined();
  });

  it("prefers the variable", async () => {
    await withKey("from-settings");
    expect(findConfiguredKey({ [API_KEY_VARIABLE]: "from-env" }, agentDir)).toEqual({
      key: "from-env",
      source: API_KEY_VARIABLE,
    });
    expect(findConfiguredKey({}, agentDir)).toEqual({
      key: "from-settings",
      source: join(agentDir, "settings.json"),
    });
    expect(readKey({ [API_KEY_VARIABLE]: " " }, agentDir)).toBe("from-settings");
  });

  it.each([
    ["sk-kimi", "sk-kimi"],
    [" sk-kimi\n", "sk-kimi"],
    ["", undefined],
    ["sk kimi", undefined],
    ["sk\r\nX-Evil: 1", undefined],
    ["schlüssel", undefined],
  ])("takes a key only where it fits into a header: %j", async (value, key) => {
    expect(readKey({ [API_KEY_VARIABLE]: value }, agentDir)).toBe(key);
    await withKey(value);
    expect(readKey({}, agentDir)).toBe(key);
  });

  it.each([1, true, null, ["sk"], { key: "sk" }])("does not take %j for a key", async (key) => {
    await withKey(key);
    expect(readKey({}, agentDir)).toBeUndefined();
  });

  it.each([
    ["empty", ""],
    ["torn", `{"apiKeys": {"${API_KEY_VARIABLE}": "sk`],
    ["a list", "[]"],
    ["a list of keys", `{"apiKeys": ["${API_KEY_VARIABLE}"]}`],
    ["for somebody else", '{"apiKeys": {"OPENAI_API_KEY": "sk"}}'],
  ])("does without settings that are %s", async (_name, text) => {
    await settings(text);
    expect(readKey({}, agentDir)).toBeUndefined();
  });

  it("takes the key that stands in auth.json under the variable's name, after all others", async () => {
    const auth = (entry: unknown) =>
      writeFile(join(agentDir, "auth.json"), JSON.stringify({ [API_KEY_VARIABLE]: entry }));
    await auth({ type: "api_key", key: "from-auth" });
    expect(readKey({}, agentDir)).toBe("from-auth");
    await withKey("from-settings");
    expect(readKey({}, agentDir)).toBe("from-settings");
    await settings("{}");
    for (const entry of ["from-auth", null, [], { key: 1 }, { key: "two words" }]) {
      await auth(entry);
      expect(readKey({}, agentDir)).toBeUndefined();
    }
  });

  it("does not wait for a FIFO in the place of the settings", async () => {
    execFileSync("mkfifo", [join(agentDir, "settings.json")]);
    const module = new URL("../extensions/configuration.ts", import.meta.url).href;
    // In a process of its own: a read that waits could not be ended from inside this one.
    const script = join(agentDir, "read.mjs");
    const call = `findConfiguredKey({}, ${JSON.stringify(agentDir)})?.key`;
    await writeFile(
      script,
      `import { findConfiguredKey } from ${JSON.stringify(module)}; console.log(${call});`,
    );
    const jiti = fileURLToPath(new URL("../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
    const said = execFileSync(process.execPath, [jiti, script], { encoding: "utf8", timeout: 20_000 });
    expect(said).toBe("undefined\n");
  });
});
