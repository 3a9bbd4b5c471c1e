/** A person's machine: `pi` on PATH, npm with a registry on loopback, kimi-cli's login, and a shell to type into. */
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../extensions/lib/json.ts";
import { createHome, type Home } from "./home.ts";
import { type PiHost, readObject, root, shellCommand } from "./hosts.ts";
import { type KimiService, startKimiService } from "./kimi-service/index.ts";
import { type Finished, run } from "./processes.ts";
import { configureNpm, type Registry } from "./registry.ts";

export interface Machine {
  readonly host: PiHost;
  readonly home: Home;
  readonly service: KimiService;
  /** A project with a package.json, where lines are typed. */
  readonly project: string;
  /** For programs that are started without `shell`. */
  readonly env: Record<string, string>;
  /** Runs a line by bash as it stands; `cwd` is the project unless told. */
  shell(line: string, cwd?: string): Promise<Finished>;
  /** The packages (`package.json` contents) that npm has put below a folder of the home. */
  installed(): InstalledPackage[];
  remove(): Promise<void>;
}

interface InstalledPackage {
  readonly folder: string;
  readonly manifest: JsonObject;
}

export async function createMachine(host: PiHost, registry: Registry): Promise<Machine> {
  const service = await startKimiService();
  const home = createHome();
  configureNpm(home, registry);
  home.writeKimiCli(service.issueLogin());
  const script = `#!/bin/sh\nexec ${shellCommand(host)} "$@"\n`;
  writeFileSync(join(home.path, "bin", "pi"), script, { mode: 0o755 });
  const project = join(home.work, "project");
  mkdirSync(project);
  copyFileSync(join(root, "package.json"), join(project, "package.json"));
  // Offline, pi installs nothing.
  const env = { ...service.environment, PI_OFFLINE: "" };
  return {
    host,
    home,
    service,
    project,
    env,
    shell: (line, cwd = project) =>
      run("bash", ["-o", "pipefail", "-c", line], { cwd, env: home.env(env), owner: home }),
    installed: () => [...findPackages(home.path)],
    async remove() {
      // A clone holds this repository's tests, whose made-up tokens nobody has leaked.
      rmSync(join(home.agentDir, "git"), { recursive: true, force: true });
      home.remove();
      await service.close();
    },
  };
}

function* findPackages(folder: string): Generator<InstalledPackage> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    const isPackage = /\/node_modules\/(?:@[^/]+\/)?[^/@.][^/]*$/.test(path);
    if (isPackage) {
      yield { folder: path, manifest: readObject(join(path, "package.json")) };
    }
    yield* findPackages(path);
  }
}
