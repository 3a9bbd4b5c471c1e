/**
 * Installs what the tests run beside the pinned pi of package.json into test/hosts: the newer pi, the Node it needs, its
 * standalone executable, and kimi-code. npm's `pretest`; does nothing where all is there in the locked versions.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildBinary } from "./build-binary.mjs";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "hosts");
const nodePackage = join(folder, "node_modules", "node");
const nodeBinary = join(nodePackage, "bin", "node");

if (!isInstalled()) {
  console.log("Installing the test hosts into test/hosts (npm ci; once, and when its lock file changes).");
  const status = npm("ci", "--no-fund", "--no-audit", "--loglevel=error");
  if (status !== 0) stop(`npm ci in test/hosts failed with status ${status}.`);
}
// npm may be told not to run install scripts, and the `node` package gets its binary by one.
if (!nodeRuns()) npm("rebuild", "node", "--foreground-scripts");
if (!nodeRuns()) run(process.execPath, ["installArchSpecificPackage"], nodePackage);
if (!nodeRuns()) {
  stop(
    "test/hosts/node_modules/node/bin/node does not run on this machine: the newer pi cannot be tested. " +
      "Allow npm's install scripts, or remove test/hosts/node_modules, and try again.",
  );
}

const reason = buildBinary(folder);
if (reason !== undefined)
  console.warn(`No standalone executable of pi: ${reason}. What is tested on it is SKIPPED here.`);

/** npm writes the hidden lock file last, so an interrupted installation does not pass. */
function isInstalled() {
  const wanted = readPackages(join(folder, "package-lock.json"));
  const present = readPackages(join(folder, "node_modules", ".package-lock.json"));
  if (!wanted) stop("test/hosts/package-lock.json cannot be read.");
  return (
    present !== undefined &&
    Object.entries(wanted).every(([path, { version, optional }]) => {
      if (path === "") return true;
      return present[path] === undefined ? optional === true : present[path].version === version;
    })
  );
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

function nodeRuns() {
  const { version } = JSON.parse(readFileSync(join(nodePackage, "package.json"), "utf8"));
  const { status, stdout } = spawnSync(nodeBinary, ["-v"], { encoding: "utf8" });
  return status === 0 && stdout.trim() === `v${version}`;
}

function npm(...args) {
  const script = process.env.npm_execpath;
  return script?.endsWith(".js") ? run(process.execPath, [script, ...args]) : run("npm", args);
}

function run(command, args, cwd = folder) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (error) console.error(`${command}: ${error.message}`);
  return status;
}

function stop(sentence) {
  console.error(sentence);
  process.exit(1);
}
