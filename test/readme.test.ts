/** Every command in README.md and docs/ runs as it stands. What they say of the code, documents.test.ts compares. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isJsonObject, type JsonObject } from "../extensions/lib/json.ts";
import { promisedHosts } from "./support/counts.ts";
import { newerHost, olderHost, readObject, root } from "./support/hosts.ts";
import { createMachine, type Machine } from "./support/machine.ts";
import { type Published, startPublished } from "./support/published.ts";
import { type CodeBlock, codeBlocks, firstColumn, readDocuments, readReadme } from "./support/readme.ts";
import { describeInTmux, startTerminal } from "./support/tmux.ts";
import { enter, enterLogin } from "./support/typing.ts";

/** Bytes of the tarball, and of all that npm puts on disk for it. */
const PACKED_CEILING = 250_000;
const INSTALLED_CEILING = 1_200_000;
/** ms; installing takes longest where everything else runs at the same time. */
const PATIENCE = 120_000;

const readme = readReadme();
const documents = readDocuments();
const blocks = documents.flatMap(({ path, text }) => codeBlocks(text).map((block) => ({ ...block, path })));
const shellBlocks = blocks.filter(({ language }) => language === "sh");
const TUI = "pi --provider kimi-coder --model kimi-for-coding";

/** Types the line on the machine and looks at what it did. */
type Rule = (line: string, machine: Machine) => Promise<void>;

const rules: Readonly<Record<string, Rule>> = {
  "pi install npm:pi-kimi-coder": async (line, machine) => {
    await succeed(line, machine);
    expectInstallation(machine, machine.host === olderHost ? ".npm-global/lib" : ".pi/agent/npm");
  },
  "pi install -l npm:pi-kimi-coder": async (line, machine) => {
    await succeed(line, machine);
    expectInstallation(machine, "work/project/.pi/npm");
    expect(machine.home.files()[".pi/agent/settings.json"]).toBeUndefined();
    const trust = machine.host === olderHost ? "" : " --approve";
    await expectAnswer(`${TUI}${trust} -p hello`, "hello", machine);
  },
  'pi -e npm:pi-kimi-coder --provider kimi-coder --model kimi-for-coding -p "hello"': async (
    line,
    machine,
  ) => {
    await expectAnswer(line, "hello", machine);
    expectRuntimePackages(machine, true);
    expect(machine.home.files()[".pi/agent/settings.json"]).toBeUndefined();
  },
  "pi install git:<repository>": async (line, machine) => {
    await succeed(line.replace("<repository>", published.repository.url), machine);
    expectRuntimePackages(machine, false);
    await expectAnswer(`${TUI} -p hello`, "hello", machine);
  },
  [`${TUI} -p "hello"`]: (line, machine) => expectAnswer(line, "hello", machine),
  [`${TUI} -p "Explain this repository"`]: (line, machine) =>
    expectAnswer(line, "Explain this repository", machine),
  [`cat package.json | ${TUI} -p "What is this?"`]: async (line, machine) => {
    await expectAnswer(line, /^You said: .*What is this\?\n$/s, machine);
    expect(JSON.stringify(machine.service.chats().at(-1)?.body)).toContain("pi-package");
  },
  [`${TUI} --thinking high -p "Why is the sky blue?"`]: async (line, machine) => {
    await expectAnswer(line, "Why is the sky blue?", machine);
    expect(machine.service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "enabled" } });
  },
  'pi -p "/kimi usage"': (line, machine) => expectOutput(line, /^ ?Kimi quota · Moderato\n/m, machine),
  'pi -p "/kimi usage --json"': (line, machine) => expectOutput(line, /"plan": "Moderato"/, machine),
  'pi -p "/kimi status --json"': (line, machine) => expectOutput(line, /"owner": "kimi-cli"/, machine),
  'pi -p "/kimi doctor"': (line, machine) => expectDoctor(line, /^✓ .*kimi-cli/m, /^✗/m, machine),
  'pi -p "/kimi doctor --all"': (line, machine) => expectDoctor(line, /^✓ API at/m, /^✗/m, machine),
  'pi -p "/kimi doctor --json"': (line, machine) =>
    expectDoctor(line, /"group": "program"/, /"ok": false/, machine),
  "mkdir -p ~/.pi/agent/extensions ~/.pi/agent/agents": async (line, machine) => {
    await succeed(line, machine);
  },
  'cp -R "$(npm root -g)"/@*/pi-coding-agent/examples/extensions/subagent ~/.pi/agent/extensions/': async (
    line,
    machine,
  ) => {
    // Where `npm install -g` puts pi.
    const root = (await succeed("npm root -g", machine)).trim();
    const scope = join(root, "@somebody");
    mkdirSync(scope, { recursive: true });
    symlinkSync(machine.host.folder, join(scope, "pi-coding-agent"));
    await succeed(line, machine);
    expect(machine.home.files()).toHaveProperty([".pi/agent/extensions/subagent/index.ts"]);
  },
  "pi --list-models kimi-coder": async (line, machine) => {
    // The older pi prints the list to stderr where stdin is no terminal.
    const { stdout, stderr } = await machine.shell(line);
    const listed = `${stdout}${stderr}`.match(/^kimi-coder +\S+/gm);
    const table = firstColumn(readme, "Models");
    expect(listed?.map((row) => row.replace(/^kimi-coder +/, "")).sort()).toEqual([...table].sort());
  },
};

let published: Published;
beforeAll(async () => {
  published = await startPublished();
}, PATIENCE);
afterAll(() => published.close());

test("no line stands there that no test runs, and no test runs what does not stand there", () => {
  const known = [...Object.keys(rules), TUI];
  const lines = shellBlocks.filter(({ section }) => section !== "Development").flatMap(({ lines }) => lines);
  expect([...new Set(lines)].sort()).toEqual(known.sort());
  expect(
    blocks
      .filter(({ language }) => language !== "sh")
      .map(({ path, section, language }) => [path, section, language]),
  ).toEqual([
    ["README.md", "Log in", "text"],
    ["README.md", "Use", "json"],
    ["docs/configuration.md", "pi's settings", "json"],
    // e2e/workers.test.ts and e2e/subagents.test.ts run the first two, documents.test.ts compares the others.
    ["docs/workers.md", "In tmux", "bash"],
    ["docs/workers.md", "With pi's subagents", "markdown"],
    ["docs/workers.md", "The status file", "json"],
    ["docs/workers.md", "The status file", "json"],
  ]);
});

describe.each(promisedHosts)("on pi $name", (host) => {
  const machines: Machine[] = [];
  const create = async () => {
    const machine = await createMachine(host, published.registry);
    machines.push(machine);
    return machine;
  };
  /** Where the first block of the README has been typed. */
  let installed: Machine;
  beforeAll(async () => {
    installed = await create();
    const [quickStart] = shellBlocks;
    expect(quickStart).toMatchObject({ section: "" });
    for (const line of quickStart?.lines ?? []) await obey(line, installed);
  }, PATIENCE);
  afterAll(async () => {
    for (const machine of machines) await machine.remove();
  });

  test.each(inSection("Install"))("an empty machine obeys: $lines.0", async ({ lines }) => {
    const machine = await create();
    for (const line of lines) await obey(line, machine);
  });

  const installedLines = [...inSection("Use"), ...inDocument("json"), ...inDocument("troubleshooting")];
  test.each([...new Set(installedLines.flatMap(({ lines }) => lines))].filter((line) => line !== TUI))(
    "installed, it obeys: %s",
    async (line) => {
      await obey(line, installed);
    },
  );

  test("the lines for subagents find pi's own extension", async () => {
    const machine = await create();
    for (const { lines } of inDocument("workers")) for (const line of lines) await obey(line, machine);
  });

  test("the settings make it pi's default, and their key is the one that is sent", async () => {
    const machine = installed;
    const settings = ".pi/agent/settings.json";
    // What pi takes when nothing is said, or what is said is wrong; nobody listens there.
    const other = { baseUrl: "http://127.0.0.1:9/v1", api: "openai-completions", apiKey: "other" };
    const providers = { other: { ...other, models: [{ id: "other" }] } };
    machine.home.write(".pi/agent/models.json", JSON.stringify({ providers }));
    const before = machine.home.read(settings);
    const apply = (pasted: JsonObject) =>
      machine.home.write(settings, JSON.stringify({ ...JSON.parse(before), ...pasted }));
    try {
      apply(parsedUnder("Use"));
      await expectAnswer("pi -p hello", "hello", machine);
      expect(machine.service.chats().at(-1)?.body).toMatchObject({ model: "kimi-for-coding" });

      const { apiKeys, ...others } = parsedUnder("pi's settings");
      expect(apiKeys).toEqual({ KIMI_CODER_API_KEY: expect.stringContaining("…") });
      machine.service.apiKeys.add("sk-test-key");
      apply({ ...others, apiKeys: { KIMI_CODER_API_KEY: "sk-test-key" } });
      await expectAnswer("pi -p hello", "hello", machine);
      expect(machine.service.chats().at(-1)?.accessToken).toBe("sk-test-key");
    } finally {
      machine.home.write(settings, before);
    }
  });

  describeInTmux("in a terminal", () => {
    test(`it obeys: ${TUI}`, async () => {
      const { home, env } = installed;
      const pi = await startTerminal(["bash", "-c", TUI], home, { env: { ...env, PI_OFFLINE: "1" } });
      try {
        await enter(pi, "hello");
        await pi.waitFor("You said: hello");
      } finally {
        await pi.close();
      }
    });

    test("what is to be typed under Log in logs in", async () => {
      expect(pastedUnder("Log in")).toBe("/login kimi-coder");
      const { home, env, service } = installed;
      // Of somebody who has no login yet.
      rmSync(home.kimiCliPath);
      home.writeAuth({});
      service.deviceResponse({ interval: 0.2 });
      const pi = await startTerminal(["bash", "-c", "pi"], home, { env: { ...env, PI_OFFLINE: "1" } });
      try {
        await enterLogin(pi, host);
        await pi.waitFor(/logged in/i);
        const issued = service.log.findLast(({ kind }) => kind === "device_poll")?.issued;
        expect(issued).toBeDefined();
        expect(home.readKimiCli()).toMatchObject({ access_token: issued?.access_token });
      } finally {
        await pi.close();
      }
    });
  });
});

describeInTmux("in a project it is installed for", () => {
  test("the newer pi asks for trust, and answers once it is given", async () => {
    const machine = await createMachine(newerHost, published.registry);
    const { home, env, project } = machine;
    await succeed("pi install -l npm:pi-kimi-coder", machine);
    const pi = await startTerminal(["bash", "-c", TUI], home, {
      env: { ...env, PI_OFFLINE: "1" },
      cwd: project,
    });
    try {
      await pi.waitFor(/trust/i);
      await pi.key("Enter");
      await enter(pi, "hello");
      await pi.waitFor("You said: hello");
    } finally {
      await pi.close();
      await machine.remove();
    }
  });
});

describe("the package", () => {
  test("holds the extension and its papers, nothing else, and stays small", () => {
    const { files, size } = published.registry.ours;
    const papers = [
      "CHANGELOG.md",
      "LICENSE",
      "images/thinking.png",
      "package.json",
      ...documents.map(({ path }) => path),
    ];
    expect(files.filter((file) => !file.startsWith("extensions/")).sort()).toEqual(papers.sort());
    expect(files).toContain("extensions/index.ts");
    const loaded = files.filter((file) => file.startsWith("extensions/"));
    expect(loaded.filter((file) => !/\.(?:ts|schema\.json)$/.test(file))).toEqual([]);
    expect(size).toBeLessThan(PACKED_CEILING);
  });

  test("asked npm for nothing but itself and its runtime dependencies", () => {
    expect(published.registry.missed).toEqual([]);
  });
});

describe("under Development", () => {
  const lines = inSection("Development").flatMap(({ lines }) => lines);

  test("stand scripts that are there", () => {
    const { scripts } = readObject(join(root, "package.json"));
    const named = lines.flatMap((line) => /^npm run (\S+)/.exec(line)?.[1] ?? []);
    for (const script of named) expect(Object.keys(scripts ?? {})).toContain(script);
  });

  test("stands what CI runs", () => {
    const ci = readFileSync(join(root, ".ci", "run"), "utf8");
    const commands = [...ci.matchAll(/^npm (?:run )?\S+/gm)].map(([command]) => command);
    expect(commands).toEqual(lines.slice(0, 2).flatMap((line) => line.split(" && ")));
  });
});

/** Of README.md. */
function inSection(section: string): CodeBlock[] {
  return shellBlocks.filter((block) => block.path === "README.md" && block.section === section);
}

/** Of a document in docs/. */
function inDocument(name: string): CodeBlock[] {
  return shellBlocks.filter(({ path }) => path === `docs/${name}.md`);
}

function parsedUnder(section: string): JsonObject {
  const value: unknown = JSON.parse(pastedUnder(section));
  if (!isJsonObject(value)) throw new Error(`no JSON object under ${section}`);
  return value;
}

/** The one block of the section that is not for a shell. */
function pastedUnder(section: string): string {
  const [block, ...more] = blocks.filter((one) => one.section === section && one.language !== "sh");
  expect(more).toEqual([]);
  return block?.lines.join("\n") ?? "";
}

async function obey(line: string, machine: Machine): Promise<void> {
  const rule = rules[line];
  if (rule === undefined) throw new Error(`README.md has a line that no rule knows: ${line}`);
  await rule(line, machine);
}

async function succeed(line: string, machine: Machine): Promise<string> {
  const { stdout, stderr, exitCode } = await machine.shell(line);
  expect(exitCode, `${line}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** Its exit code says whether it found something wrong. */
async function expectDoctor(line: string, says: RegExp, wrong: RegExp, machine: Machine): Promise<void> {
  const { stdout, exitCode } = await machine.shell(line);
  expect(stdout).toMatch(says);
  expect(exitCode).toBe(wrong.test(stdout) ? 1 : 0);
}

/** The answer repeats what the service heard. */
async function expectOutput(line: string, output: RegExp, machine: Machine): Promise<void> {
  expect(await succeed(line, machine)).toMatch(output);
}

async function expectAnswer(line: string, heard: string | RegExp, machine: Machine): Promise<void> {
  const stdout = await succeed(line, machine);
  if (typeof heard === "string") expect(stdout).toBe(`You said: ${heard}\n`);
  else expect(stdout).toMatch(heard);
  expect(machine.service.chats().at(-1)).toMatchObject({ status: 200 });
}

function expectInstallation(machine: Machine, prefix: string): void {
  const folder = join(machine.home.path, prefix, "node_modules", "pi-kimi-coder");
  expect(machine.installed().map((one) => one.folder)).toContain(folder);
  expectRuntimePackages(machine, true);
  const bytes = machine
    .installed()
    .filter((one) => !/node_modules.*node_modules/.test(one.folder.slice(machine.home.path.length)))
    .reduce((sum, one) => sum + sizeOf(one.folder), 0);
  expect(bytes).toBeGreaterThan(published.registry.ours.unpackedSize);
  expect(bytes).toBeLessThan(INSTALLED_CEILING);
}

/** npm has installed what is needed at run time and no pi, and nothing that runs while it is installed. */
function expectRuntimePackages(machine: Machine, itself: boolean): void {
  const found = machine.installed();
  const names = new Set(found.map(({ manifest }) => manifest.name));
  const expected = published.registry.packages.map(({ name }) => name);
  expect([...names].sort()).toEqual(
    [...new Set(expected.filter((name) => itself || name !== "pi-kimi-coder"))].sort(),
  );
  for (const { manifest } of found) {
    expect(Object.keys(manifest.scripts ?? {})).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/^(?:pre|post)?install$/)]),
    );
  }
}

function sizeOf(path: string): number {
  if (!existsSync(path)) return 0;
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
