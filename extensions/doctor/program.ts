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
  /** Commands of extensions: their name, and the file they come from. */
  readonly commands: readonly { readonly name: string; readonly path: string }[];
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
  const { configuration, versions } = parts;
  return [
    { name: "pi", check: () => checkPi(versions.pi) },
    { name: runtime.bun === undefined ? "Node" : "Bun", check: () => checkRuntime(runtime) },
    { name: "Libraries", check: checkLibraries },
    { name: "Configuration variables", check: () => checkVariables(configuration) },
    {
      name: "Other extensions for Kimi",
      check: async () => checkNeighbours(await findNeighbours(parts, displayPath)),
    },
  ];
}

/** The oldest that the sweep found working, see "Versions of pi" in README.md. */
const OLDEST_PI = [0, 51, 0];
/** What package.json asks for. */
const OLDEST_NODE = [20, 17];

export function checkPi(version: string): Finding {
  const plain = numbersOf(version);
  return isAtLeast(plain ?? "", OLDEST_PI)
    ? ok(`${plain}`)
    : bad(`${plain ?? WITHOUT} is not supported`, `update pi to ${OLDEST_PI.join(".")} or newer`);
}

/** pi's standalone executable is compiled with Bun, whose `process.version` is that of a Node it imitates. */
function checkRuntime({ bun, node = "" }: NodeJS.Dict<string>): Finding {
  if (bun !== undefined) return ok(`${numbersOf(bun) ?? WITHOUT}, in pi's own executable`);
  const plain = numbersOf(node);
  return isAtLeast(plain ?? "", OLDEST_NODE)
    ? ok(`${plain}`)
    : bad(`${plain ?? WITHOUT} is too old`, "use Node 20.17 or newer");
}

const WITHOUT = "a version without a number";

function numbersOf(version: string): string | undefined {
  return /^\d+\.\d+\.\d+/.exec(version)?.[0];
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

export interface NeighboursSeen extends Pick<ProgramParts, "commands" | "root"> {
  /** The folders in which pi looks for extensions: pi's own, and the project's. */
  readonly places: readonly {
    /** As its path may be shown. */
    readonly shown: string;
    readonly folder: string;
    /** What stands in its settings.json, parsed; paths in it are relative to the folder. */
    readonly settings: unknown;
    /** The files and folders in its `extensions`. */
    readonly names: readonly string[];
  }[];
}

async function findNeighbours(
  { configuration: { agentDir }, commands, root, cwd }: ProgramParts,
  displayPath: DisplayPath,
): Promise<NeighboursSeen> {
  const folders = [
    { folder: agentDir, shown: displayPath(agentDir) },
    { folder: join(cwd, ".pi"), shown: "the project's .pi" },
  ];
  const places = folders.map(async ({ folder, shown }) => ({
    folder,
    shown,
    settings: readJsonSync(join(folder, "settings.json")),
    names: await readdir(join(folder, "extensions")).catch(() => []),
  }));
  return { places: await Promise.all(places), commands, root };
}

type Kind = "ours" | "kimi" | "unrelated";

export function checkNeighbours({ places, commands, root }: NeighboursSeen): Finding {
  const found = [
    ...places.flatMap(({ shown, folder, settings, names }) => [
      ...listedIn(settings).map(({ source, where }) => ({
        kind: isInside(resolve(folder, source), root) ? ("ours" as const) : kindOf(source),
        where: `${where} in ${shown}/settings.json`,
      })),
      ...names.map((name) => ({ kind: kindOf(name), where: `a file or folder in ${shown}/extensions` })),
    ]),
    ...commands
      .filter(({ path }) => !isInside(path, root))
      .map(({ name }) => ({ kind: kindOf(name), where: "a command of another extension" })),
  ];
  const placesOf = (kind: Kind) => found.filter((one) => one.kind === kind).map(({ where }) => where);
  const others = [...new Set(placesOf("kimi"))];
  if (others.length > 0) {
    return bad(
      `there is one: ${sayPlaces(others)}`,
      "remove it (pi remove, or the line in settings.json): two extensions may renew one login at once",
    );
  }
  const own = placesOf("ours");
  if (own.length > 1) {
    const says = `pi-kimi-coder is installed ${own.length} times: ${sayPlaces(own)}`;
    return bad(says, "remove all but one (pi remove)");
  }
  return ok("none");
}

/** How many places are named. */
const MOST_PLACES = 5;

function sayPlaces(places: readonly string[]): string {
  const more = places.length > MOST_PLACES ? ["and more"] : [];
  return [...places.slice(0, MOST_PLACES), ...more].join("; ");
}

/** No path or address of a package is longer, characters. */
const LONGEST_SOURCE = 4_096;

/** The packages and extensions of a settings.json. */
function listedIn(settings: unknown) {
  if (!isJsonObject(settings)) return [];
  return ["packages", "extensions"].flatMap((key) => {
    const entries = settings[key];
    if (!Array.isArray(entries)) return [];
    return entries.flatMap((entry: unknown, index) => {
      const source = isJsonObject(entry) ? entry.source : entry;
      return typeof source === "string" && source.length <= LONGEST_SOURCE
        ? [{ source, where: `${key}[${index}]` }]
        : [];
    });
  });
}

/** Of a path by its last part alone: the user may be called Kimi. A package (npm:, git:) or address by all of it. */
function kindOf(source: string): Kind {
  const [versionless = ""] = basename(source).split("@", 1);
  const name = versionless.replace(/^npm:/, "").replace(/\.(?:git|[cm]?[jt]s)$/, "");
  if (name === "pi-kimi-coder") return "ours";
  return /kimi/i.test(/^(?:npm:|git:|git@|ssh:|https?:)/.test(source) ? source : name) ? "kimi" : "unrelated";
}

function isInside(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`) || path.startsWith(`${root}\\`);
}
