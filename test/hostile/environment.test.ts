/** Whatever stands in the variables: plain hosts and folders, or one sentence; quickly, and nothing of it on the screen. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findConfiguredKey, readConfiguration } from "../../extensions/configuration.ts";
import { slotName } from "../../extensions/credentials/kimi-code.ts";
import { parseRegion } from "../../extensions/region.ts";
import { survives } from "./support/cases.ts";
import { hostileText, SHOWN } from "./support/values.ts";

const HOSTS = ["KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"] as const;
const FOLDERS = ["KIMI_SHARE_DIR", "KIMI_CODE_HOME", "XDG_DATA_HOME", "PI_CODING_AGENT_DIR"] as const;
const WORDS = ["KIMI_CODER_REGION", "KIMI_CODER_IDENTITY"] as const;

/** As the system hands it over: no NUL, no halves of characters. */
const said = hostileText.map((text) => Buffer.from(text.replaceAll("\0", "")).toString());
const host = fc.oneof(
  said,
  fc.webUrl({ withFragments: true, withQueryParameters: true }),
  fc
    .tuple(
      fc.constantFrom("https://kimi.com", "http://u:p@x", "https://[::1]:99999", "HTTPS://É.example/"),
      said,
    )
    .map((all) => all.join("")),
);
const folder = fc.oneof(
  said,
  said.map((text) => `/tmp/${text}`),
  said.map((text) => `~/${text}`),
);
const variable = (value: fc.Arbitrary<string>) => fc.option(value, { nil: undefined });
const environment = fc
  .tuple(
    fc.tuple(variable(host), variable(host), variable(host)),
    fc.tuple(variable(folder), variable(folder), variable(folder), variable(folder)),
    fc.tuple(
      variable(fc.oneof(said, fc.constantFrom("kimi.ai", " GLOBAL "))),
      variable(fc.oneof(said, fc.constantFrom("pi", "KIMI-cli"))),
    ),
    fc.oneof(
      { weight: 4, arbitrary: fc.constant("/home/a") },
      said.map((text) => `/${text}`),
    ),
  )
  .map(([hosts, folders, words, home]) => {
    const names = [...HOSTS, ...FOLDERS, ...WORDS];
    const values = [...hosts, ...folders, ...words];
    return { home, env: Object.fromEntries(names.map((name, index) => [name, values[index]])) };
  });

describe("the environment", () => {
  survives(
    "gives hosts, folders that can be shown, and at most one sentence",
    environment,
    ({ env, home }) => {
      const { refusal, regions, ...rest } = readConfiguration(env, home);
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

  survives("gives a key that fits into a header, or none", said, (key) => {
    const found = findConfiguredKey({ KIMI_CODER_API_KEY: key }, "/nowhere");
    if (!found) return;
    expect(new Headers({ Authorization: `Bearer ${found.key}` }).get("authorization")).toBe(
      `Bearer ${key.trim()}`,
    );
    expect(found.key).toMatch(/^[\x21-\x7e]+$/);
  });

  survives("names a region or none", said, (text) => {
    expect([undefined, "kimi.com", "kimi.ai"]).toContain(parseRegion(text));
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
        const env = Object.fromEntries([...HOSTS, ...FOLDERS, ...WORDS].map((name) => [name, value]));
        const begun = performance.now();
        const { refusal } = readConfiguration(env, "/home/a");
        expect(performance.now() - begun).toBeLessThan(500);
        expect(refusal?.length ?? 0).toBeLessThan(1_000);
        expect(refusal ?? "").toMatch(SHOWN);
      }
    },
  );
});
