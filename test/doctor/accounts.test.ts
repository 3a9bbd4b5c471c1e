/** The doctor looks at the account and the hosts that a request would go to, whatever else is logged in. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ownFiles } from "../../extensions/configuration.ts";
import { fingerprint } from "../../extensions/lib/safe-text.ts";
import { keepAnswer } from "../../extensions/quota/kept.ts";
import { hostsOf, type Region } from "../../extensions/region.ts";
import { complaints, createPatient, find, KIMI_CLI, login, NOW, type Patient } from "./support.ts";

const DAY = 86_400_000;
const KEY = "sk-secret";

/** One who is logged in to kimi.ai alone. */
function createGlobalPatient(): Patient {
  const patient = createPatient();
  const global = patient.stores.find(({ region }) => region === "kimi.ai");
  if (!global) throw new Error("no store of kimi.ai");
  patient.write(global.path.slice(patient.home.length + 1), login());
  return patient;
}

const baseUrlOf = ({ configuration }: Patient, region: Region) =>
  hostsOf(configuration.regions, region).baseUrl;

function keepUsage(patient: Patient, owner: string, path: string, region: Region): Promise<void> {
  const file = ownFiles(patient.configuration.agentDir).usage;
  const usage = { limit: 100, used: 12, resetTime: new Date(NOW + DAY).toISOString() };
  const text = `${owner}\n${path}\n${baseUrlOf(patient, region)}`;
  const account = createHash("sha256").update(text).digest("hex").slice(0, 16);
  return keepAnswer(file, account, { user_level_name: "Moderato", usage }, NOW);
}

/** Keeps a list of models asked for 20 days ago. */
function keepModels(patient: Patient, owner: string, path: string, region: Region): void {
  const account = createHash("sha256").update(`${owner}\n${path}`).digest("hex").slice(0, 16);
  const data = [{ id: "kimi-for-coding", context_length: 262_144 }];
  const kept = { fetchedAt: NOW - 20 * DAY, baseUrl: baseUrlOf(patient, region), account, data };
  patient.write(".pi/agent/kimi-coder-models.json", JSON.stringify(kept));
}

describe("a key in auth.json, which wins over the variable, beside a login of kimi.ai", () => {
  const give = (patient: Patient) => {
    patient.write(".pi/agent/auth.json", JSON.stringify({ "kimi-coder": { type: "api_key", key: KEY } }));
    return { handKey: KEY, configuredKey: () => ({ key: "sk-other", source: "KIMI_CODER_API_KEY" }) };
  };

  it("is named, and asked about at kimi.com alone", async () => {
    const patient = createGlobalPatient();
    const asked: string[] = [];
    const report = await patient.examine(
      {
        fetch: async (url, init) => {
          asked.push(`${url} ${JSON.stringify(init?.headers)}`);
          return new Response(null, { status: 200, headers: { date: new Date(NOW).toUTCString() } });
        },
      },
      give(patient),
    );
    expect(find(report, "Login in use")?.says).toBe("an API key in pi's auth.json, no login");
    expect(asked.sort()).toEqual([
      `https://api.kimi.com/coding/v1/models {"Authorization":"Bearer ${KEY}"}`,
      "https://auth.kimi.com/ {}",
    ]);
  });

  it("has its own figures, and its own list of models", async () => {
    const patient = createGlobalPatient();
    await keepUsage(patient, "key", fingerprint(KEY), "kimi.com");
    keepModels(patient, "kimi-cli", join(patient.home, KIMI_CLI), "kimi.com");
    const report = await patient.examine({}, give(patient));
    expect(find(report, "Quota")?.says).toBe("12 % of the week used, asked just now");
    expect(find(report, "List of models")).toMatchObject({
      state: "none",
      says: "none kept yet; the next request asks for it",
    });
    expect(complaints(report)).toEqual([]);
    keepModels(patient, "key", fingerprint(KEY), "kimi.com");
    const old = await patient.examine({}, give(patient));
    expect(complaints(old)).toEqual(["List of models: 1 model, asked for 20 d ago"]);
  });
});

it("a login of kimi.ai has the figures and the list of kimi.ai", async () => {
  const patient = createGlobalPatient();
  const path = patient.stores.find(({ region }) => region === "kimi.ai")?.path;
  await keepUsage(patient, "kimi-code", `${path}`, "kimi.ai");
  keepModels(patient, "kimi-code", `${path}`, "kimi.ai");
  const report = await patient.examine();
  expect(find(report, "Quota")?.says).toBe("12 % of the week used, asked just now");
  expect(complaints(report)).toEqual(["List of models: 1 model, asked for 20 d ago"]);
});
