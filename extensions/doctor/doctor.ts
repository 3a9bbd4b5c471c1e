/** Runs all checks beside one another. Nothing is renewed, written or locked. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Configuration, type ConfiguredKey, ownFiles } from "../configuration.ts";
import { readJsonSync } from "../credentials/file.ts";
import { fingerprint } from "../credentials/fingerprint.ts";
import { recall } from "../credentials/memory.ts";
import { piAuth } from "../credentials/pi-auth.ts";
import { chooseLogin, type Look } from "../credentials/selection.ts";
import type { CredentialStore } from "../credentials/store.ts";
import type { Versions } from "../identity.ts";
import { readKeptList } from "../models/cache.ts";
import { hostsOf } from "../region.ts";
import { regionInUse, requestCredential, storeInUse } from "../request-credential.ts";
import { readKeptFigures } from "../usage/kept.ts";
import type { Check } from "./check.ts";
import { checkFile, checkFolder, type FileProbes } from "./files.ts";
import { checkNetwork, type HostProbes } from "./hosts.ts";
import { checkLock, type LockProbes, lockOfEntry } from "./locks.ts";
import { checkLogins, type LoginsSeen } from "./logins.ts";
import { checkNeighbours, type NeighboursSeen } from "./neighbours.ts";
import { checkDeviceId, checkOwnFiles, checkRenewalLock } from "./own-files.ts";
import { type NamePath, pathNames, storeName } from "./places.ts";
import { checkModels, checkQuota } from "./plan.ts";
import { checkLibraries, checkVariables, checkVersions } from "./program.ts";
import type { Report } from "./report.ts";

export interface DoctorParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly stores: readonly CredentialStore[];
  readonly authPath: string;
  readonly modelsPath: string;
  readonly configuredKey: () => ConfiguredKey | undefined;
  /** Whether the selected model is asked with `--api-key`. */
  readonly keyArgument: boolean;
  /** The key in `--api-key` or in auth.json, which only pi reads. */
  readonly handKey: string | undefined;
  /** Of all extensions. */
  readonly commands: NeighboursSeen["commands"];
  /** This extension's own folder. */
  readonly root: string;
  /** The project's. */
  readonly cwd: string;
}

/** What is looked at, so that tests can make it fail. */
export interface Probes extends FileProbes, LockProbes, HostProbes {
  /** `process.version`, and "linux x64". */
  readonly node: string;
  readonly system: string;
}

export async function examine(parts: DoctorParts, probes: Probes): Promise<Report> {
  const { configuration, versions, stores, authPath } = parts;
  const called = pathNames(configuration);
  const [entry, memory, ...looks] = await Promise.all([
    piAuth({ path: authPath }).read(),
    recall(ownFiles(configuration.agentDir).memory),
    ...stores.map(async (store): Promise<Look> => ({ store, found: await store.read() })),
  ]);
  const now = probes.now();
  const configured = parts.configuredKey();
  const choice = chooseLogin(entry, looks, memory, now);
  const credential = requestCredential({ keyArgument: parts.keyArgument, choice, configured, authPath });
  const seen: LoginsSeen = { looks, entry, credential, now };
  const key = credential.kind === "key" ? (parts.handKey ?? configured?.key) : undefined;
  const [files, locks, network, neighbours] = await Promise.all([
    checkFiles(parts, probes, called, looks),
    checkLocks(parts, probes, called, looks),
    checkNetwork({ configuration, key }, probes, seen),
    findNeighbours(parts, called).then(checkNeighbours),
  ]);
  return {
    about: {
      extension: versions.extension,
      pi: versions.pi,
      node: probes.node.replace(/^v/, ""),
      system: probes.system,
    },
    groups: [
      {
        name: "program",
        checks: [
          ...checkVersions(versions, probes.node),
          checkLibraries(),
          checkVariables(configuration),
          neighbours,
        ],
      },
      { name: "logins", checks: checkLogins(seen, called) },
      { name: "files", checks: files },
      { name: "locks", checks: locks },
      { name: "network", checks: network },
      { name: "plan", checks: checkPlan(parts, seen, key) },
    ],
  };
}

/** The stores in which there is something, or should be. */
function there(looks: readonly Look[]): readonly CredentialStore[] {
  return looks.filter(({ found }) => found.state !== "absent").map(({ store }) => store);
}

async function checkFiles(
  { authPath, configuration }: DoctorParts,
  probes: Probes,
  called: NamePath,
  looks: readonly Look[],
): Promise<readonly Check[]> {
  const stores = there(looks);
  const paths = [
    ...stores.map((store) => ({ what: storeName(store), path: store.path })),
    { what: "pi", path: authPath },
  ];
  const checks = await Promise.all([
    ...paths.flatMap(({ what, path }) => [
      checkFile(probes, called, path, what),
      checkFolder(probes, called, path, what),
    ]),
    ...stores.map((store) => checkRenewalLock(probes, called, store)),
    checkOwnFiles(probes, called, configuration),
    checkDeviceId(probes, called, configuration),
  ]);
  return checks.flat();
}

async function checkLocks(
  { authPath }: DoctorParts,
  probes: Probes,
  called: NamePath,
  looks: readonly Look[],
): Promise<readonly Check[]> {
  const locks = there(looks).flatMap((store) => store.locks);
  return Promise.all([lockOfEntry(authPath), ...locks].map((lock) => checkLock(probes, called, lock)));
}

/** Of the same account and host as requests, see usage/usage.ts. */
function checkPlan(parts: DoctorParts, seen: LoginsSeen, key: string | undefined): readonly Check[] {
  const { configuration, modelsPath } = parts;
  const { credential, now } = seen;
  const { baseUrl } = hostsOf(configuration.regions, regionInUse(credential, configuration.regions));
  const store = storeInUse(credential);
  const asksForModels = credential.kind === "login" && credential.choice.state === "use";
  const asker = key === undefined ? store : { owner: "key", path: fingerprint(key) };
  const { usage } = ownFiles(configuration.agentDir);
  return [
    checkModels(readKeptList(modelsPath, baseUrl, store), now, asksForModels),
    checkQuota(asker && readKeptFigures(usage, { owner: asker.owner, path: asker.path, baseUrl }), now),
  ];
}

async function findNeighbours(
  { configuration, commands, root, cwd }: DoctorParts,
  called: NamePath,
): Promise<NeighboursSeen> {
  const { agentDir } = configuration;
  const project = join(cwd, ".pi");
  const places = [
    { folder: agentDir, shown: called(agentDir) },
    { folder: project, shown: "the project's .pi" },
  ];
  const names = (folder: string) => readdir(folder).catch(() => []);
  return {
    settings: places.map(({ folder, shown }) => ({
      folder,
      shown: `${shown}/settings.json`,
      value: readJsonSync(join(folder, "settings.json")),
    })),
    folders: await Promise.all(
      places.map(async ({ folder, shown }) => ({
        shown: `${shown}/extensions`,
        names: await names(join(folder, "extensions")),
      })),
    ),
    commands,
    root,
  };
}
