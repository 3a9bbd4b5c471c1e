/**
 * What becomes of an installation: listed, updated, removed. How it is installed, how large it may be and that no pi
 * comes with it, readme.test.ts shows.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hosts, olderHost, readObject, root } from "../support/hosts.ts";
import { createMachine, type Machine } from "../support/machine.ts";
import { run } from "../support/processes.ts";
import { type Published, startPublished } from "../support/published.ts";

/** ms */
const PATIENCE = 120_000;
const ASK = "pi --provider kimi-coder --model kimi-for-coding -p";

let published: Published;
beforeAll(async () => {
  published = await startPublished();
}, PATIENCE);
afterAll(() => published.close());

describe.each(hosts)("on pi $name", { timeout: PATIENCE }, (host) => {
  const globally = host === olderHost ? ".npm-global/lib" : ".pi/agent/npm";

  test("npm: listed, updated to what was published since, and removed without a trace in the user's files", () =>
    onMachine(async (machine) => {
      const { home } = machine;
      home.write(".pi/agent/settings.json", '{"theme":"light"}');
      home.writeAuth({ anthropic: { type: "api_key", key: "k" } });
      await succeed(machine, "pi install npm:pi-kimi-coder");
      expect(await succeed(machine, "pi list")).toContain("npm:pi-kimi-coder");
      expect(await succeed(machine, `${ASK} hello`)).toBe("You said: hello\n");

      const version = `99.0.${host === olderHost ? 0 : 1}`;
      await publish(version);
      await succeed(machine, "pi update --extensions");
      const manifest: unknown = JSON.parse(home.read(`${globally}/node_modules/pi-kimi-coder/package.json`));
      expect(manifest).toMatchObject({ version });
      expect(await succeed(machine, `${ASK} again`)).toBe("You said: again\n");
      expect(machine.service.chats().at(-1)?.headers["user-agent"]).toContain(`pi-kimi-coder/${version}`);

      const login = readFileSync(home.kimiCliPath, "utf8");
      const device = home.read(".kimi/device_id");
      await succeed(machine, "pi remove npm:pi-kimi-coder");
      expect(await succeed(machine, "pi list")).not.toContain("kimi-coder");
      await expectGone(machine);
      expect(machine.installed()).toEqual([]);
      expect(readFileSync(home.kimiCliPath, "utf8") === login).toBe(true);
      expect(home.read(".kimi/device_id")).toBe(device);
      expect(home.readAuth()).toMatchObject({ anthropic: { type: "api_key", key: "k" } });
      const settings: unknown = JSON.parse(home.read(".pi/agent/settings.json"));
      expect(settings).toMatchObject({ theme: "light" });
    }));

  test("git: listed, updated to what was committed since, and removed", () =>
    onMachine(async (machine) => {
      const source = `git:${published.repository.url}`;
      await succeed(machine, `pi install ${source}`);
      expect(await succeed(machine, "pi list")).toContain(source);
      const version = `98.0.${host === olderHost ? 0 : 1}`;
      await published.repository.release(version);
      await succeed(machine, "pi update --extensions");
      expect(await succeed(machine, `${ASK} hello`)).toBe("You said: hello\n");
      expect(machine.service.chats().at(-1)?.headers["user-agent"]).toContain(`pi-kimi-coder/${version}`);
      await succeed(machine, `pi remove ${source}`);
      expect(await succeed(machine, "pi list")).not.toContain("kimi-coder");
      await expectGone(machine);
    }));

  async function onMachine(work: (machine: Machine) => Promise<void>): Promise<void> {
    const machine = await createMachine(host, published.registry);
    try {
      await work(machine);
    } finally {
      await machine.remove();
    }
  }
});

test("nothing of the package runs while git installs it", () => {
  const { scripts } = readObject(join(root, "package.json"));
  const atInstallation = /^(?:pre|post)?(?:install|prepare)$|^prepublish$|^dependencies$/;
  expect(Object.keys(scripts ?? {}).filter((name) => atInstallation.test(name))).toEqual([]);
});

/** This repository's tarball with another version. */
async function publish(version: string): Promise<void> {
  const folder = join(published.home.path, "tmp", `version-${version}`);
  mkdirSync(folder);
  const archive = join(published.home.path, "tmp", "registry", published.registry.ours.filename);
  await run("tar", ["-xzf", archive, "-C", folder], { cwd: folder, env: published.home.env() });
  const file = join(folder, "package", "package.json");
  writeFileSync(file, JSON.stringify({ ...readObject(file), version }));
  await published.registry.publish(join(folder, "package"));
}

/** pi knows the provider no more. */
async function expectGone(machine: Machine): Promise<void> {
  const requests = machine.service.log.length;
  const { stdout, stderr } = await machine.shell("pi --list-models kimi-coder");
  expect(`${stdout}${stderr}`).not.toMatch(/^kimi-coder /m);
  expect(await machine.shell(`${ASK} hello`)).toMatchObject({ exitCode: 1 });
  expect(machine.service.log).toHaveLength(requests);
}

async function succeed(machine: Machine, line: string): Promise<string> {
  const { stdout, stderr, exitCode } = await machine.shell(line);
  expect(exitCode, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}
