/** A home with files of its own and probes that find nothing wrong, of which a test makes one fail. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Caller } from "../../extensions/caller.ts";
import { ownFiles, readConfiguration } from "../../extensions/configuration.ts";
import { InFlight } from "../../extensions/credentials/in-flight.ts";
import { createLogin } from "../../extensions/credentials/login.ts";
import type { CredentialStore } from "../../extensions/credentials/store.ts";
import { createStores } from "../../extensions/credentials/stores.ts";
import { type DoctorParts, examine, type Probes } from "../../extensions/doctor/command.ts";
import { lookAtFile } from "../../extensions/doctor/files.ts";
import { badChecks, type Checked, type Report, reportLines } from "../../extensions/doctor/report.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";

export const NOW = Date.UTC(2026, 10, 21, 12);

/** What a patient comes with, beside what stands in its home and environment. */
interface Given extends Partial<Pick<DoctorParts, "versions">> {
  /** The key that pi has for our provider. */
  readonly handKey?: string;
}

export interface Patient {
  readonly home: string;
  readonly stores: readonly CredentialStore[];
  write(path: string, text: string, mode?: number): void;
  examine(probes?: Partial<Probes>, given?: Given): Promise<Report>;
}

/** All that is well answers; the network is not touched. */
export const healthy: Probes = {
  look: lookAtFile,
  proc: "/nowhere",
  canFlock: async () => true,
  sleep: async () => {},
  fetch: async () => new Response("{}", { status: 200, headers: { date: new Date(NOW).toUTCString() } }),
  now: () => NOW,
  env: {},
  runtime: { node: "20.17.0" },
  system: "linux x64",
};

export function createPatient(
  env: Readonly<Record<string, string>> = {},
  home = temporaryDirectory(),
): Patient {
  const configuration = readConfiguration(env, home);
  const { agentDir } = configuration;
  const { auth: authPath, memory: memoryPath } = ownFiles(agentDir);
  const stores = createStores(configuration).all;
  const login = createLogin({
    stores,
    authPath,
    memoryPath,
    tokenEndpoint: {
      load: async () => {},
      refresh: () => Promise.reject(new Error("the doctor renews nothing")),
    },
    clock: { now: () => NOW, sleep: async () => {} },
    inFlight: new InFlight(),
    listener: () => {},
  });
  const parts = ({ handKey, ...given }: Given): DoctorParts => {
    // Only what is asked of a session; the compiler cannot know that.
    const session = JSON.parse('{"model":{"provider":"kimi-coder"}}');
    session.modelRegistry = { getApiKeyForProvider: async () => handKey };
    return {
      configuration,
      versions: { extension: "0.1.0", pi: "0.73.1" },
      caller: new Caller({
        configuration,
        env,
        keyArgument: false,
        login,
        provider: { isFromEntry: () => false },
        screen: { noteFailure() {} },
      }),
      session,
      root: "/somewhere/pi-kimi-coder",
      cwd: join(home, "work"),
      ...given,
    };
  };
  return {
    home,
    stores,
    write(path, text, mode = 0o600) {
      const file = join(home, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { mode });
    },
    examine: (probes = {}, given = {}) => examine(parts(given), { ...healthy, env, ...probes }),
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

export function find(report: Report, name: string): Checked | undefined {
  return report.groups.flatMap(({ checks }) => checks).find((check) => check.name === name);
}

/** Every check, as it is pasted into an issue. */
export function shown(report: Report): readonly string[] {
  return reportLines(report, true).map(({ text }) => text);
}
