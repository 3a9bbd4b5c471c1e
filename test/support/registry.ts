/**
 * An npm registry on loopback: this repository and what it needs at run time, packed as `npm publish` would, and
 * stand-ins for pi's own packages, which npm could install and must not.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import type { Home } from "./home.ts";
import { readObject, root } from "./hosts.ts";
import { startLoopback } from "./loopback.ts";
import { run } from "./processes.ts";

/** A tarball as npm describes it; sizes in bytes. */
export interface Packed {
  readonly name: string;
  readonly version: string;
  readonly filename: string;
  readonly integrity: string;
  readonly shasum: string;
  readonly size: number;
  readonly unpackedSize: number;
  /** Paths in the package. */
  readonly files: readonly string[];
}

export interface Registry {
  readonly url: string;
  /** This repository's tarball. */
  readonly ours: Packed;
  /** What is installed with it, itself included. */
  readonly packages: readonly Packed[];
  /** Paths that were asked for and are not here: packages that nobody should have needed. */
  readonly missed: readonly string[];
  /** Packs a folder and serves it too; of several versions of a package the last is `latest`. */
  publish(folder: string): Promise<Packed>;
  close(): Promise<void>;
}

const SUCCESSORS = ["pi-ai", "pi-coding-agent", "pi-tui"].map((name) => `@earendil-works/${name}`);

/** Packs this repository and its runtime dependencies into the home, and serves them. */
export async function startRegistry(home: Home): Promise<Registry> {
  const destination = join(home.path, "tmp", "registry");
  mkdirSync(destination);
  const folders = [root, ...dependencyFolders(root)];
  const { peerDependencies } = readObject(join(root, "package.json"));
  const peers = [...Object.keys(isJsonObject(peerDependencies) ? peerDependencies : {}), ...SUCCESSORS];
  const standIns = peers.map((name) => writeStandIn(join(destination, name), name));
  const served = await pack([...folders, ...standIns], destination, home);
  const packages = served.filter(({ name }) => !peers.includes(name));
  const manifests = [...folders, ...standIns].map((folder) => readObject(join(folder, "package.json")));
  const missed: string[] = [];
  const loopback = await startLoopback((request, response) => {
    const path = decodeURIComponent(request.url ?? "").slice(1);
    const tarball = served.find(({ filename }) => path === `-/${filename}`);
    const versions = manifests.filter(({ name }) => name === path);
    if (tarball) {
      response.end(readFileSync(join(destination, tarball.filename)));
    } else if (versions.length > 0) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(packument(path, versions)));
    } else {
      missed.push(path);
      response.writeHead(404).end("{}");
    }
  });

  const packument = (name: string, versions: readonly JsonObject[]) => ({
    name,
    "dist-tags": { latest: versions.at(-1)?.version },
    versions: Object.fromEntries(
      versions.map((manifest) => {
        const { filename, integrity, shasum } = find(served, name, manifest.version);
        return [
          manifest.version,
          { ...manifest, dist: { tarball: `${loopback.url}/-/${filename}`, integrity, shasum } },
        ];
      }),
    ),
  });
  return {
    url: loopback.url,
    ours: find(packages, "pi-kimi-coder"),
    packages,
    missed,
    async publish(folder) {
      const [packed] = await pack([folder], destination, home);
      if (packed === undefined) throw new Error(`npm has packed nothing of ${folder}`);
      served.push(packed);
      manifests.push(readObject(join(folder, "package.json")));
      return packed;
    },
    close: loopback.close,
  };
}

/** Makes npm in this home use the registry; its global folder is in the home, because the older pi installs there. */
export function configureNpm(home: Home, registry: Registry): void {
  const lines = [
    `registry=${registry.url}/`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: npm expands it.
    "prefix=${HOME}/.npm-global",
    "fund=false",
    "audit=false",
    "update-notifier=false",
  ];
  home.write(".npmrc", `${lines.join("\n")}\n`);
}

function writeStandIn(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, version: "0.73.1" }));
  return folder;
}

function find(packages: readonly Packed[], name: string, version?: unknown): Packed {
  const packed = packages.find((one) => one.name === name && (version ?? one.version) === one.version);
  if (packed === undefined) throw new Error(`${name}@${String(version)} was not packed`);
  return packed;
}

/** Where npm has put the dependencies of `folder` and theirs, each once. */
function dependencyFolders(folder: string, seen = new Set<string>()): string[] {
  const { dependencies } = readObject(join(folder, "package.json"));
  for (const name of isJsonObject(dependencies) ? Object.keys(dependencies) : []) {
    const found = lookUp(folder, name);
    if (seen.has(found)) continue;
    seen.add(found);
    dependencyFolders(found, seen);
  }
  return [...seen];
}

/** As Node resolves packages: from the folder upwards. */
function lookUp(folder: string, name: string): string {
  const candidate = join(folder, "node_modules", name);
  if (existsSync(candidate)) return candidate;
  if (dirname(folder) === folder) throw new Error(`${name} is not installed`);
  return lookUp(dirname(folder), name);
}

async function pack(folders: readonly string[], destination: string, home: Home): Promise<Packed[]> {
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", destination, ...folders];
  const { stdout, stderr, exitCode } = await run("npm", args, { cwd: home.work, env: home.env() });
  if (exitCode !== 0) throw new Error(`npm pack: ${stderr}`);
  const answer: unknown = JSON.parse(stdout);
  if (!Array.isArray(answer)) throw new Error("npm pack answers with no list");
  return answer.map(parsePacked);
}

function parsePacked(value: unknown): Packed {
  if (!isJsonObject(value) || !Array.isArray(value.files)) throw new Error("npm pack describes no package");
  const text = (key: string) => {
    const found = value[key];
    if (typeof found !== "string") throw new Error(`npm pack names no ${key}`);
    return found;
  };
  const files: unknown[] = value.files;
  return {
    name: text("name"),
    version: text("version"),
    filename: text("filename"),
    integrity: text("integrity"),
    shasum: text("shasum"),
    size: Number(value.size),
    unpackedSize: Number(value.unpackedSize),
    files: files.map((file) => (isJsonObject(file) ? String(file.path) : "")),
  };
}
