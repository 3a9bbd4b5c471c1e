/** Whatever stands in the variables: plain hosts and folders, or one sentence; quickly, and nothing of it on the screen. */
import { dirname, isAbsolute } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  asksForStatus,
  findConfiguredKey,
  loginRefusal,
  readConfiguration,
} from "../../extensions/configuration.ts";
import { slotName } from "../../extensions/credentials/stores.ts";
import { checkProxies } from "../../extensions/doctor/network.ts";
import { checkVariables } from "../../extensions/doctor/program.ts";
import { claim, statusPath } from "../../extensions/worker/status-file.ts";
import { survives } from "./support/cases.ts";
import { hostileText, SHOWN } from "./support/values.ts";

const HOSTS = ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"] as const;
const FOLDERS = ["KIMI_SHARE_DIR", "KIMI_CODE_HOME", "XDG_DATA_HOME", "PI_CODING_AGENT_DIR"] as const;
const WORDS = [
  "KIMI_CODER_REGION",
  "KIMI_CODER_IDENTITY",
  "KIMI_CODER_PARALLEL",
  "KIMI_CODER_FOOTER",
  "KIMI_CODER_TOOLS",
  "KIMI_CODER_API_KEY",
] as const;

/** As the system hands it over: no NUL, no halves of characters. */
const said = hostileText.map((text) => Buffer.from(text.replaceAll("\0", "")).toString());
const host = fc.oneof(
  said,
  fc.webUrl({ withFragments: true, withQueryParameters: true }),
  said.map((text) => `https://kimi.com${text}`),
  fc.constantFrom("http://u:p@x", "https://[::1]:99999", "HTTPS://É.example/"),
);
const folder = fc.oneof(
  said,
  said.map((text) => `~/${text}`),
);
const variable = (value: fc.Arbitrary<string>) => fc.option(value, { nil: undefined });
const word = (...words: readonly string[]) => variable(fc.oneof(said, fc.constantFrom(...words)));
const environment = fc.record({
  home: fc.oneof(
    { weight: 4, arbitrary: fc.constant("/home/a") },
    said.map((text) => `/${text}`),
  ),
  env: fc.record({
    ...Object.fromEntries(HOSTS.map((name) => [name, variable(host)])),
    ...Object.fromEntries(FOLDERS.map((name) => [name, variable(folder)])),
    KIMI_CODER_REGION: word("kimi.ai", " GLOBAL "),
    KIMI_CODER_IDENTITY: word("pi", "KIMI-cli"),
    KIMI_CODER_PARALLEL: word("1", " 1000 ", "1001", "0", "1e3", "0x10", "٣"),
    KIMI_CODER_FOOTER: word("on", " OFF ", "true", "0"),
    KIMI_CODER_TOOLS: word("off", " Search, fetch", "search,,", "on"),
    KIMI_CODER_API_KEY: word("sk-kimi", "sk kimi"),
  }),
});

describe("the environment", () => {
  survives(
    "gives hosts, folders that can be shown, and at most one sentence",
    environment,
    ({ env, home }) => {
      const configuration = readConfiguration(env, home);
      const { refusal, regions, parallel, ...rest } = configuration;
      expect(
        parallel === undefined || (Number.isInteger(parallel) && parallel >= 1 && parallel <= 1_000),
      ).toBe(true);
      const { state, says } = checkVariables(configuration);
      expect(state).toBe(refusal === undefined ? "ok" : "bad");
      // The doctor names each variable that is refused.
      const refused = new Set(refusal?.match(/\b(?:KIMI_\w+|XDG_\w+|PI_\w+|HOME)/g));
      expect(new Set(says.match(/\b(?:KIMI_\w+|XDG_\w+|PI_\w+|HOME)/g))).toEqual(refused);
      expect(regions.length).toBeGreaterThan(0);
      for (const url of regions.flatMap(({ oauthHost, baseUrl }) => [oauthHost, baseUrl])) {
        expect(url).toMatch(/^https?:\/\/[\x21-\x7e]+[^/]$/);
        expect(url).not.toMatch(/[?#\s]/);
        expect(new URL(url).username).toBe("");
        expect(slotName(url, url)).toMatch(/^kimi-code(-env-[0-9a-f]{16})?$/);
      }
      expect(refusal ?? "Kimi Coder: x.").toMatch(
        /^Kimi Coder: [A-Za-z0-9 _/().,;-]+ and start pi again\.$|^Kimi Coder: x\.$/,
      );
      // What is refused is shown nowhere.
      if (refusal !== undefined) return;
      for (const path of [rest.kimiShare, rest.kimiCodeHome, rest.dataHome, rest.agentDir]) {
        expect(path.length).toBeLessThan(8_200);
        expect(path).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u);
      }
    },
  );

  const STATUS = ["KIMI_CODER_STATUS_FILE", "CAO_TERMINAL_ID"] as const;
  const id = fc.oneof(said, fc.stringMatching(/^[\w.-]{1,130}$/), fc.constantFrom("..", "a/b", "-rf"));
  const cwd = "/home/somebody/project";
  const surroundings = { home: "/home/a", cwd, agentDir: "/home/a/.pi/agent" };

  survives(
    "names one status file, in its own folder where an id does, or none",
    fc.tuple(variable(folder), variable(id)),
    ([file, id]) => {
      const env = { KIMI_CODER_STATUS_FILE: file, CAO_TERMINAL_ID: id };
      const found = statusPath(env, surroundings);
      // Whoever drives a pi is answered in a file: nobody is asked to log in.
      expect(found !== undefined).toBe(asksForStatus(env));
      expect(loginRefusal(env, [], true) !== undefined).toBe(found !== undefined);
      if (!found) return false;
      expect(isAbsolute(found)).toBe(true);
      if (!file?.trim()) expect(dirname(found)).toBe("/home/a/.pi/agent/kimi-coder-status");
      return true;
    },
  );

  const above = `${process.ppid}:/s.json`;
  const owner = fc.oneof(
    said,
    fc
      .tuple(fc.constantFrom("0", `${process.ppid}`, "-1", "007", "9999999999", "1e3", "NaN", ""), said)
      .map((all) => all.join(":")),
    // 0 and less are whole groups of processes.
    fc.constantFrom(above, `${process.pid}:/s.json`, "0:/s.json", "-1:/s.json", "9999999999:/s.json"),
  );
  survives(
    "of a pi above this one keeps it from the file only where that pi lives",
    variable(owner),
    (mark) => {
      const env: Record<string, string | undefined> = { KIMI_CODER_STATUS_OWNER: mark };
      const claimed = claim(env, "/s.json");
      expect(claimed).toBe(mark !== above);
      expect(env.KIMI_CODER_STATUS_OWNER).toBe(claimed ? `${process.pid}:/s.json` : mark);
      return !claimed;
    },
  );

  const PROXIES = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
  ];
  const proxy = fc.oneof(
    host,
    fc.constantFrom("http://u:p@proxy.example:3128", "socks5://x:1", "*", ".kimi.com:443"),
  );
  const proxies = fc.record(Object.fromEntries(PROXIES.map((name) => [name, variable(proxy)])));
  survives("names the proxy variables, without their values", proxies, (env) => {
    const { says, fix = "", state } = checkProxies(env);
    expect(`${says}; ${fix}`).toMatch(/^[\w ():;,.=]+$/);
    return state !== "none";
  });

  survives("gives a key that fits into a header, or refuses it", said, (key) => {
    const env = { KIMI_CODER_API_KEY: key };
    const found = findConfiguredKey(env, "/nowhere");
    const { refusal } = readConfiguration(env, "/home/a");
    if (!found || refusal !== undefined) return expect(refusal === undefined).toBe(key.trim() === "");
    expect(new Headers({ Authorization: `Bearer ${found.key}` }).get("authorization")).toBe(
      `Bearer ${key.trim()}`,
    );
  });

  test.each(["/", "a", "//a", "%", "\u001b[2J", "é", " ", "~/", "../"])(
    "of 128 KiB of %j is read at once",
    (piece) => {
      const long = piece.repeat(131_072 / piece.length);
      for (const value of [
        long,
        `https://kimi.com/${long}`,
        `https://kimi.com/${long}a`,
        `https://${long}`,
        `/${long}`,
      ]) {
        const all = [...HOSTS, ...FOLDERS, ...WORDS, ...STATUS, ...PROXIES, "KIMI_CODER_STATUS_OWNER"];
        const env = Object.fromEntries(all.map((name) => [name, value]));
        const begun = performance.now();
        const { refusal } = readConfiguration(env, "/home/a");
        statusPath(env, surroundings);
        checkProxies(env);
        claim(env, "/s.json");
        expect(performance.now() - begun).toBeLessThan(2_000);
        expect(refusal?.length ?? 0).toBeLessThan(1_000);
        expect(refusal ?? "").toMatch(SHOWN);
      }
    },
  );
});
