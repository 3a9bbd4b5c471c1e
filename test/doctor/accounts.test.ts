/** The doctor looks at the account and the hosts that a request would go to, whatever else is logged in. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import type { Probes } from "../../extensions/doctor/command.ts";
import { fingerprint } from "../../extensions/lib/safe-text.ts";
import { complaints, createPatient, find, login, NOW, type Patient } from "./support.ts";

const KEY = "sk-secret";

/** One who is logged in to kimi.ai alone; the path of that login. */
function createGlobalPatient(): { patient: Patient; path: string } {
  const patient = createPatient();
  const path = patient.stores.find(({ region }) => region === "kimi.ai")?.path ?? "";
  patient.write(path.slice(patient.home.length + 1), login());
  return { patient, path };
}

/** Keeps figures of an account, as they were answered now. */
function keepUsage(patient: Patient, ...account: readonly string[]): void {
  const id = createHash("sha256").update(account.join("\n")).digest("hex").slice(0, 16);
  const usage = { limit: 100, used: 12, resetTime: new Date(NOW + 86_400_000).toISOString() };
  const kept = { account: id, asked: { at: NOW, answer: { usage } } };
  patient.write(".pi/agent/kimi-coder-usage.json", JSON.stringify(kept));
}

/** What is asked of hosts, all of which answer with `status`. */
function listen(status: number) {
  const asked: string[] = [];
  const fetch: Probes["fetch"] = async (url, init) => {
    asked.push(`${url} ${JSON.stringify(init?.headers)}`);
    return new Response(null, { status });
  };
  return { asked, fetch };
}

/** pi's settings.json with a key for us. */
const keySettings = (key: string) => JSON.stringify({ apiKeys: { KIMI_CODER_API_KEY: key } });

it("asks kimi.com with a key in auth.json, which wins over one in settings.json and a login of kimi.ai", async () => {
  const { patient } = createGlobalPatient();
  patient.write(".pi/agent/auth.json", JSON.stringify({ "kimi-coder": { type: "api_key", key: KEY } }));
  keepUsage(patient, "key", fingerprint(KEY), "https://api.kimi.com/coding/v1");
  const { asked, fetch } = listen(401);
  patient.write(".pi/agent/settings.json", keySettings("sk-other"));
  const report = await patient.examine({ fetch }, { handKey: KEY });
  expect(find(report, "Login in use")?.says).toBe("an API key in pi's auth.json, no login");
  expect(find(report, "Quota")?.says).toBe("12 % of the week used, asked just now");
  expect(complaints(report)).toEqual(["API at api.kimi.com: does not take the API key (401)"]);
  expect(asked.sort()).toEqual([
    `https://api.kimi.com/coding/v1/models {"Authorization":"Bearer ${KEY}"}`,
    "https://auth.kimi.com/ {}",
  ]);
});

it("sends nobody a key that cannot be one, and says where it is", async () => {
  const { patient } = createGlobalPatient();
  const { asked, fetch } = listen(200);
  patient.write(".pi/agent/settings.json", keySettings("sk-sec\nret"));
  const report = await patient.examine({ fetch });
  expect(complaints(report)).toEqual([
    "Login in use: an API key from a file of pi, no login: it has a character in it that keys do not have",
  ]);
  expect(JSON.stringify(report)).not.toContain("sk-sec");
  expect(asked.sort()).toEqual(["https://api.kimi.com/coding/v1/models {}", "https://auth.kimi.com/ {}"]);
});

it("asks kimi.ai with a login of kimi.ai, and has its figures", async () => {
  const { patient, path } = createGlobalPatient();
  keepUsage(patient, "kimi-code", path, "https://api.kimi.ai/coding/v1");
  const { asked, fetch } = listen(200);
  const report = await patient.examine({ fetch });
  expect(complaints(report)).toEqual([]);
  expect(find(report, "Quota")?.says).toBe("12 % of the week used, asked just now");
  expect(asked.sort()).toEqual([
    'https://api.kimi.ai/coding/v1/models {"Authorization":"Bearer access-secret"}',
    "https://auth.kimi.ai/ {}",
  ]);
});
