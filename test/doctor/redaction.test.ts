/** Whatever stands in files, variables and answers: nothing of it comes out of the doctor. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Probes } from "../../extensions/doctor/command.ts";
import { reportJson } from "../../extensions/doctor/report.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { count } from "../support/counts.ts";
import { createPatient, KIMI_CLI, NOW, shown } from "./support.ts";

/** Each makes a home full of files. */
const RUNS = count(100, 300);
/** What must not come out. Half of a word, as a cut or an escape would leave it, counts too. */
const SECRET = "zqxwv";
const secret = fc.nat(1e9).map((number) => `${SECRET}-${number}`);

/** Any JSON, full of secrets in its keys and values. */
const KEYS = `access_token refresh_token expires_at expires_in type access refresh expires kimi-coder owner source
  region kimi-for-coding-oauth seeded seen packages pid extensions data account asked at answer usages limits label
  fetchedAt baseUrl`;
const keys = fc.oneof(secret, fc.constantFrom(...KEYS.split(/\s+/)));
const leaf = fc.oneof(
  secret,
  secret.map((text) => `npm:kimi-${text}`),
  fc.constantFrom("oauth", "api_key", "kimi-cli", "kimi.ai", true, null, ""),
  fc.constantFrom(0, NOW, NOW / 1000 + 500, NOW + 500_000, -1, 1e300),
);
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.array(tie("json"), { maxLength: 3 }),
    fc.dictionary(keys, tie("json"), { maxKeys: 6 }),
  ),
}));
const login = fc.record({
  access_token: secret,
  refresh_token: secret,
  expires_at: fc.constantFrom(0, NOW / 1000 + 500, NOW / 1000 - 1e7),
});
const entry = fc.record({
  "kimi-coder": fc.record({
    type: fc.constantFrom("oauth", "api_key"),
    access: secret,
    refresh: secret,
    expires: fc.constantFrom(0, NOW + 1000),
    owner: fc.oneof(secret, fc.constant("kimi-cli")),
    source: secret,
  }),
});
const settings = fc.record({
  packages: fc.array(
    fc.oneof(
      secret,
      secret.map((text) => `git:https://${text}:x@host/kimi-${text}`),
    ),
  ),
});
const whole = fc.oneof(json, login, entry, settings).map((value) => JSON.stringify(value));
const torn = login.map((value) => JSON.stringify(value).slice(0, 60));
const content = fc.oneof({ weight: 4, arbitrary: whole }, torn, secret);
const FILES = [
  KIMI_CLI,
  ".kimi-code/credentials/kimi-code.json",
  ".opencode-kimi-auth/oauth.json",
  ".local/share/opencode/auth.json",
  ".local/share/opencode/auth.json.kimi-for-coding-oauth.refresh.lock/owner.json",
  ".pi/agent/auth.json",
  ".pi/agent/settings.json",
  ".pi/agent/kimi-coder.json",
  ".pi/agent/kimi-coder-models.json",
  ".pi/agent/kimi-coder-usage.json",
  "work/.pi/settings.json",
];
const files = fc.dictionary(fc.constantFrom(...FILES), content, { maxKeys: FILES.length });

const VARIABLES = `HTTPS_PROXY http_proxy NO_PROXY KIMI_CODE_BASE_URL KIMI_CODE_OAUTH_HOST KIMI_CODER_REGION
  KIMI_SHARE_DIR KIMI_CODE_HOME XDG_DATA_HOME PI_CODING_AGENT_DIR KIMI_CODER_IDENTITY`;
const value = fc.oneof(
  secret,
  secret.map((text) => `http://${text}:${text}@${text}.example:1/${text}`),
  secret.map((text) => `https://${text}.example/${text}`),
  secret.map((text) => `/tmp/${text}`),
);
const env = fc.dictionary(fc.constantFrom(...VARIABLES.split(/\s+/)), value, { maxKeys: 4 });

const failure = secret.map((text) =>
  Object.assign(new Error(text), { code: text.toUpperCase().replace("-", "_"), hostname: text }),
);
const answer = fc.oneof(
  failure,
  fc.record({
    status: fc.integer({ min: 200, max: 599 }),
    text: secret,
    date: fc.oneof(secret, fc.constant("Sat, 21 Nov 2026 11:00:00 GMT")),
  }),
);

it("says nothing that stands in a file, a variable, a name or an answer", async () => {
  let told = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.record({ files, env, answer, key: fc.option(secret, { nil: undefined }) }),
      async ({ files, env, answer, key }) => {
        // The user's own name is in the home's path.
        const home = join(temporaryDirectory(), SECRET);
        mkdirSync(home);
        const patient = createPatient(env, home);
        for (const [path, text] of Object.entries(files)) patient.write(path, text);
        patient.write(`.pi/agent/extensions/kimi-${SECRET}.ts`, "");
        const fetch: Probes["fetch"] = async () => {
          if (answer instanceof Error) throw answer;
          const { status, text, date } = answer;
          const empty = status === 204 || status === 205 || status === 304;
          const headers = { date, location: text, server: text };
          return new Response(empty ? null : text, { status, headers });
        };
        const apiKeys = { KIMI_CODER_API_KEY: key };
        if (key !== undefined) patient.write(".pi/agent/settings.json", JSON.stringify({ apiKeys }));
        const report = await patient.examine({ fetch });
        const text = `${shown(report).join("\n")}\n${JSON.stringify(reportJson(report))}`;
        expect(text.toLowerCase()).not.toContain(SECRET);
        told += report.groups.flatMap(({ checks }) => checks).length;
      },
    ),
    { numRuns: RUNS },
  );
  expect(told).toBeGreaterThan(RUNS * 10);
}, 60_000);
