/**
 * The programs themselves: their versions, the libraries, the variables, and other extensions for Kimi in the same pi.
 * Two that renew one login, or register one command, stand in each other's way; they are told by where they are
 * listed, not by name: a name in a file may be anything, also a secret.
 */
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { type Configuration, isAtLeast } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import { isJsonObject, readJsonSync } from "../lib/json.ts";
import type { DisplayPath } from "./names.ts";
import { bad, type Check, type Finding, ok } from "./report.ts";

export interface ProgramParts {
  readonly configuration: Pick<Configuration, "refusal" | "agentDir">;
  readonly versions: Versions;
  /** This extension's own folder. */
  readonly root: string;
  /** The project's. */
  readonly cwd: string;
}

/** `runtime`: `process.versions`. */
export function programChecks(
  parts: ProgramParts,
  runtime: NodeJS.Dict<string>,
  displayPath: DisplayPath,
): readonly Check[] {
  const { configuration, versions, root } = parts;
  return [
    { name: "pi", check: () => checkPi(versions.pi) },
    { name: runtime.bun === undefined ? "Node" : "Bun", check: () => checkRuntime(runtime) },
    { name: "Libraries", check: checkLibraries },
    { name: "Configuration variables", check: () => checkVariables(configuration) },
    {
      name: "Other extensions for Kimi",
      check: async () => checkNeighbours(await findPlaces(parts, displayPath), root),
    },
  ];
}

/** The oldest that the sweep found working, see "Versions of pi" in README.md. */
const OLDEST_PI = [0, 51, 0];
/** What package.json asks for. */
const OLDEST_NODE = [20, 17];

export function checkPi(version: string): Finding {
  return isAtLeast(version, OLDEST_PI)
    ? ok(version)
    : bad(`${version} is not supported`, `update pi to ${OLDEST_PI.join(".")} or newer`);
}

/** pi's standalone executable is compiled with Bun, whose `process.version` is that of a Node it imitates. */
function checkRuntime({ bun, node = "" }: NodeJS.Dict<string>): Finding {
  if (bun !== undefined) return ok(`${bun}, in pi's own executable`);
  return isAtLeast(node, OLDEST_NODE) ? ok(node) : bad(`${node} is too old`, "use Node 20.17 or newer");
}

/** pi uses a local folder in place and never installs its libraries. */
function checkLibraries(): Finding {
  try {
    createRequire(import.meta.url).resolve("proper-lockfile");
    return ok("installed");
  } catch {
    return bad("proper-lockfile is not installed", "run npm install in the folder of pi-kimi-coder");
  }
}

/** What is set to something unusable is refused in a sentence that names the variable, not its value. */
export function checkVariables({ refusal }: Pick<Configuration, "refusal">): Finding {
  if (refusal === undefined) return ok("none is refused");
  const [what] = refusal.replace(/^Kimi Coder: /, "").split(";");
  return bad(`${what}, and nothing is sent`, "correct or unset it and start pi again");
}

/** A folder in which pi looks for extensions: pi's own, or the project's. */
export interface Place {
  readonly folder: string;
  /** As its path may be shown. */
  readonly shown: string;
  /** What stands in its settings.json, parsed; paths in it are relative to the folder. */
  readonly settings: unknown;
  /** The files and folders in its `extensions`. */
  readonly names: readonly string[];
}

function findPlaces(
  { configuration: { agentDir }, cwd }: ProgramParts,
  displayPath: DisplayPath,
): Promise<readonly Place[]> {
  const folders = [
    { folder: agentDir, shown: displayPath(agentDir) },
    { folder: join(cwd, ".pi"), shown: "the project's .pi" },
  ];
  return Promise.all(
    folders.map(async ({ folder, shown }) => ({
      folder,
      shown,
      settings: readJsonSync(join(folder, "settings.json")),
      names: await readdir(join(folder, "extensions")).catch(() => []),
    })),
  );
}

/** `root` is this extension's own folder. */
export function checkNeighbours(places: readonly Place[], root: string): Finding {
  const found = places.flatMap(({ shown, folder, settings, names }) =>
    [
      ...listedIn(settings).map(({ source, at }) => ({ source, where: `${at} in ${shown}/settings.json` })),
      ...names.map((name) => ({
        source: join("extensions", name),
        where: `a file or folder in ${shown}/extensions`,
      })),
    ].map(({ source, where }) => ({
      kind: isInside(resolve(folder, source), root) ? "ours" : kindOf(source),
      where,
    })),
  );
  const other = found.find(({ kind }) => kind === "kimi");
  if (other) {
    return bad(
      `there is one: ${other.where}`,
      "remove it (pi remove, or the line in settings.json): two extensions may renew one login at once",
    );
  }
  const [first, second] = found.filter(({ kind }) => kind === "ours");
  return first && second
    ? bad(`pi-kimi-coder is installed twice: ${first.where}; ${second.where}`, "remove one (pi remove)")
    : ok("none");
}

/** The packages and extensions of a settings.json. */
function listedIn(settings: unknown) {
  if (!isJsonObject(settings)) return [];
  return ["packages", "extensions"].flatMap((key) => {
    const entries = settings[key];
    if (!Array.isArray(entries)) return [];
    return entries.flatMap((entry: unknown, index) => {
      const source = isJsonObject(entry) ? entry.source : entry;
      return typeof source === "string" ? [{ source, at: `${key}[${index}]` }] : [];
    });
  });
}

/** Of a path by its last part alone: the user may be called Kimi. A package (npm:, git:) or address by all of it. */
function kindOf(source: string): "ours" | "kimi" | "unrelated" {
  const [versionless = ""] = basename(source).split("@", 1);
  const name = versionless.replace(/^npm:/, "").replace(/\.(?:git|[cm]?[jt]s)$/, "");
  if (name === "pi-kimi-coder") return "ours";
  return /kimi/i.test(/^(?:npm:|git:|git@|ssh:|https?:)/.test(source) ? source : name) ? "kimi" : "unrelated";
}

function isInside(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`) || path.startsWith(`${root}\\`);
}
