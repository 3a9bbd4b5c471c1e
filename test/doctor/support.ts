/** A home with files of its own and probes that find nothing wrong, of which a test makes one fail. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readConfiguration } from "../../extensions/configuration.ts";
import type { Check } from "../../extensions/doctor/check.ts";
import { type DoctorParts, examine, type Probes } from "../../extensions/doctor/doctor.ts";
import { lookAtFile } from "../../extensions/doctor/files.ts";
import { lookAtFolderLock } from "../../extensions/doctor/lock-holders.ts";
import { badChecks, type Report } from "../../extensions/doctor/report.ts";
import { createStores } from "../../extensions/stores.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";

export const NOW = Date.UTC(2026, 10, 21, 12);

export interface Patient {
  readonly home: string;
  readonly parts: DoctorParts;
  write(path: string, text: string | Buffer, mode?: number): void;
  examine(probes?: Partial<Probes>, parts?: Partial<DoctorParts>): Promise<Report>;
}

/** All that is well answers; the network is not touched. */
export const healthy: Probes = {
  look: lookAtFile,
  flock: async () => ({ state: "free" }),
  folder: (path) => lookAtFolderLock(path, NOW),
  sleep: async () => {},
  pid: 1,
  dns: async () => {},
  tcp: async () => {},
  tls: async () => {},
  fetch: async () => new Response("{}", { status: 200, headers: { date: new Date(NOW).toUTCString() } }),
  now: () => NOW,
  env: {},
  node: "v20.17.0",
  system: "linux x64",
  usesProxies: true,
};

export function createPatient(
  env: Readonly<Record<string, string>> = {},
  home = temporaryDirectory(),
): Patient {
  const configuration = readConfiguration(env, home);
  const { agentDir } = configuration;
  const parts: DoctorParts = {
    configuration,
    versions: { extension: "0.1.0", pi: "0.73.1" },
    stores: createStores(configuration).all,
    authPath: join(agentDir, "auth.json"),
    modelsPath: join(agentDir, "kimi-coder-models.json"),
    handKey: undefined,
    configuredKey: () => undefined,
    keyArgument: false,
    commands: [],
    root: "/somewhere/pi-kimi-coder",
    cwd: join(home, "work"),
  };
  return {
    home,
    parts,
    write(path, text, mode = 0o600) {
      const file = join(home, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { mode });
    },
    examine: (probes = {}, changed = {}) => examine({ ...parts, ...changed }, { ...healthy, env, ...probes }),
  };
}

export const KIMI_CLI = ".kimi/credentials/kimi-code.json";

/** kimi-cli's login, with so many seconds left. */
export function login(left = 800): string {
  return JSON.stringify({
    access_token: "access-secret",
    refresh_token: "refresh-secret",
    expires_at: NOW / 1000 + left,
    scope: "",
    token_type: "Bearer",
    expires_in: 900,
  });
}

/** One whose only login is fine. */
export function createHealthyPatient(env?: Readonly<Record<string, string>>): Patient {
  const patient = createPatient(env);
  patient.write(KIMI_CLI, login());
  patient.write(".kimi/device_id", "0123456789abcdef0123456789abcdef");
  patient.write(".pi/agent/auth.json", "{}");
  return patient;
}

/** What is wrong, as "name: says". */
export function complaints(report: Report): readonly string[] {
  return badChecks(report).map(({ name, says }) => `${name}: ${says}`);
}

export function find(report: Report, name: string): Check | undefined {
  return report.groups.flatMap(({ checks }) => checks).find((check) => check.name === name);
}
