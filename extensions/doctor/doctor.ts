/** Runs all checks beside one another. Nothing is renewed, written or locked. */
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Configuration, type ConfiguredKey, PROVIDER } from "../configuration.ts";
import { readJsonSync } from "../credentials/file.ts";
import { fingerprint } from "../credentials/fingerprint.ts";
import { recall } from "../credentials/memory.ts";
import { piAuth } from "../credentials/pi-auth.ts";
import { chooseLogin, type Look } from "../credentials/selection.ts";
import type { CredentialStore } from "../credentials/store.ts";
import type { Versions } from "../identity.ts";
import { readKeptList } from "../models/cache.ts";
import { hostsOf } from "../region.ts";
import { readKeptFigures } from "../usage/kept.ts";
import type { Check } from "./check.ts";
import { checkFile, checkFolder, type FileProbes } from "./files.ts";
import { checkNetwork, type HostProbes } from "./hosts.ts";
import { checkFlock, checkFolderLock, type FolderLock, type LockProbes } from "./locks.ts";
import { checkLogins, type LoginsSeen } from "./logins.ts";
import { checkNeighbours, type NeighboursSeen } from "./neighbours.ts";
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
  /** Where the last figures of the plan are kept. */
  readonly usagePath: string;
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
    recall(join(configuration.agentDir, `${PROVIDER}.json`)),
    ...stores.map(async (store): Promise<Look> => ({ store, found: await store.read() })),
  ]);
  const seen: LoginsSeen = { looks, entry, memory, key: keyPlace(parts), now: probes.now() };
  const [files, locks, network, neighbours] = await Promise.all([
    checkFiles(parts, probes, called, looks),
    checkLocks(parts, probes, called, looks),
    checkNetwork({ configuration, key: parts.configuredKey()?.key }, probes, seen),
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
      { name: "plan", checks: checkPlan(parts, seen) },
    ],
  };
}

function keyPlace({ keyArgument, configuredKey }: DoctorParts): LoginsSeen["key"] {
  if (keyArgument) return "--api-key";
  const configured = configuredKey();
  if (!configured) return undefined;
  return configured.source === "KIMI_CODER_API_KEY" ? "KIMI_CODER_API_KEY" : "a file of pi";
}

/** The stores in which there is something, or should be. */
function there(looks: readonly Look[]): readonly CredentialStore[] {
  return looks.filter(({ found }) => found.state !== "absent").map(({ store }) => store);
}

async function checkFiles(
  { authPath }: DoctorParts,
  probes: Probes,
  called: NamePath,
  looks: readonly Look[],
): Promise<readonly Check[]> {
  const paths = [
    ...there(looks).map((store) => ({ what: storeName(store), path: store.path })),
    { what: "pi", path: authPath },
  ];
  const checks = await Promise.all(
    paths.flatMap(({ what, path }) => [
      checkFile(probes, called, path, what),
      checkFolder(probes, called, path, what),
    ]),
  );
  return checks;
}

async function checkLocks(
  { authPath }: DoctorParts,
  probes: Probes,
  called: NamePath,
  looks: readonly Look[],
): Promise<readonly Check[]> {
  const folders: FolderLock[] = [{ path: `${authPath}.lock`, stale: 30_000 }];
  const files: string[] = [];
  for (const { owner, path } of there(looks)) {
    const folder = dirname(path);
    const slot = path.slice(folder.length + 1).replace(/\.json$/, "");
    switch (owner) {
      case "kimi-cli":
        files.push(join(folder, "kimi-code.lock"));
        folders.push({ path: join(folder, "kimi-code.pi.lock"), stale: 10_000 });
        break;
      case "kimi-code":
        folders.push({ path: join(dirname(folder), "oauth", `${slot}.lock`), stale: 5_000 });
        break;
      case "opencode-kimi-auth":
        folders.push({ path: join(folder, "oauth.pi.lock"), stale: 10_000 });
        break;
      case "opencode-kimi-full":
        folders.push({ path: `${path}.kimi-for-coding-oauth.refresh.lock`, stale: 120_000 });
        break;
    }
  }
  return Promise.all([
    ...files.map((path) => checkFlock(probes, called, path)),
    ...folders.map((lock) => checkFolderLock(probes, called, lock)),
  ]);
}

function checkPlan(parts: DoctorParts, { looks, entry, memory, now }: LoginsSeen): readonly Check[] {
  const { configuration, modelsPath, keyArgument } = parts;
  const choice = chooseLogin(entry, looks, memory, now);
  const account = choice.state === "use" ? choice.store : undefined;
  const region = account?.region ?? configuration.regions[0].region;
  const { baseUrl } = hostsOf(configuration.regions, region);
  const kept = readKeptList(modelsPath, baseUrl, account);
  const key = parts.configuredKey()?.key;
  const asker = key === undefined ? account : { owner: "key", path: fingerprint(key) };
  // Of the key in an argument only pi knows.
  const figures =
    keyArgument || !asker
      ? undefined
      : readKeptFigures(parts.usagePath, { owner: asker.owner, path: asker.path, baseUrl });
  return [checkModels(kept, now), checkQuota(figures, now)];
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
