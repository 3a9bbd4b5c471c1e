/**
 * Builds pi's standalone executable, as its releases ship it, from the npm packages of pi and Bun into
 * test/hosts/binary. Does nothing where it has been built from the same versions.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What pi looks for beside its executable, by its place in the npm package. */
const NEIGHBOURS = {
  "package.json": "package.json",
  "dist/modes/interactive/theme": "theme",
  "dist/modes/interactive/assets": "assets",
  "dist/core/export-html": "export-html",
};

/** Returns why there is none; undefined where there is one now. */
export function buildBinary(hosts) {
  const packages = join(hosts, "node_modules");
  const pi = join(packages, "@earendil-works", "pi-coding-agent");
  const bunPackage = join(packages, "@oven", "bun-linux-x64");
  if (!existsSync(bunPackage)) return `npm has no Bun of ours for ${process.platform} on ${process.arch}`;

  const folder = join(hosts, "binary");
  const versions = JSON.stringify({ pi: readVersion(pi), bun: readVersion(bunPackage) });
  if (readText(join(folder, "built-from.json")) === versions) return undefined;

  console.log("Building pi's standalone executable into test/hosts/binary (once, and for other versions).");
  const unfinished = `${folder}.${process.pid}`;
  try {
    mkdirSync(unfinished);
    const bun = join(bunPackage, "bin", "bun");
    const args = ["build", "--compile", "--outfile", join(unfinished, "pi"), join("dist", "bun", "cli.js")];
    const { status, error, stderr } = spawnSync(bun, args, { cwd: pi, encoding: "utf8" });
    if (status !== 0) return `bun build failed: ${error?.message ?? stderr.trim()}`;
    for (const [from, to] of Object.entries(NEIGHBOURS))
      cpSync(join(pi, from), join(unfinished, to), { recursive: true });
    writeFileSync(join(unfinished, "built-from.json"), versions);
    rmSync(folder, { recursive: true, force: true });
    renameSync(unfinished, folder);
    return undefined;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

function readVersion(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
