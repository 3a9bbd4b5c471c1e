/** README.md is true: every command in it runs as it stands, and what it says of messages and variables is so. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findConfiguredKey, readConfiguration } from "../extensions/configuration.ts";
import { asksForStatus } from "../extensions/unattended.ts";
import { readSchema } from "./status-file/schema.ts";
import { hosts, newerHost, olderHost, root } from "./support/hosts.ts";
import { createMachine, type Machine } from "./support/machine.ts";
import { type Published, startPublished } from "./support/published.ts";
import { type CodeBlock, codeBlocks, firstColumn, readReadme } from "./support/readme.ts";
import { describeInTmux, startTerminal } from "./support/tmux.ts";
import { enter, enterLogin } from "./support/typing.ts";

/** Bytes of the tarball, and of all that npm puts on disk for it. */
const PACKED_CEILING = 250_000;
const INSTALLED_CEILING = 1_200_000;
/** ms; installing takes longest where everything else runs at the same time. */
const PATIENCE = 120_000;

const readme = readReadme();
const blocks = codeBlocks(readme);
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
  'pi -p "/kimi doctor"': async (line, machine) => {
    const { stdout, exitCode } = await machine.shell(line);
    expect(stdout).toMatch(/^✓ .*kimi-cli/m);
    expect(exitCode).toBe(/^✗/m.test(stdout) ? 1 : 0);
  },
  "mkdir -p ~/.pi/agent/extensions ~/.pi/agent/agents": async (line, machine) => {
    await succeed(line, machine);
  },
  'cp -R "$(npm root -g)"/@*/pi-coding-agent/examples/extensions/subagent ~/.pi/agent/extensions/': async (
    line,
    machine,
  ) => {
    // Where `npm install -g` puts pi.
    const root = (await succeed("npm root -g", machine)).trim();
    const [folder = ""] = machine.host.cli.split(/(?<=pi-coding-agent)\//);
    const scope = join(root, "@somebody");
    mkdirSync(scope, { recursive: true });
    symlinkSync(folder, join(scope, "pi-coding-agent"));
    await succeed(line, machine);
    expect(machine.home.files()).toHaveProperty([".pi/agent/extensions/subagent/index.ts"]);
  },
  "pi --list-models kimi-coder": async (line, machine) => {
    // The older pi prints the list to stderr where stdin is no terminal.
    const { stdout, stderr } = await machine.shell(line);
    const listed = `${stdout}${stderr}`.match(/^kimi-coder +\S+/gm);
    const table = firstColumn(readme.replace("### Models", "## Models"), "Models").flat();
    expect(listed?.map((row) => row.replace(/^kimi-coder +/, "")).sort()).toEqual(table.sort());
  },
};

let published: Published;
beforeAll(async () => {
  published = await startPublished();
}, PATIENCE);
afterAll(() => published.close());

test("the README has no line that no test runs, and no test runs what it does not say", () => {
  const known = [...Object.keys(rules), TUI];
  const lines = shellBlocks.filter(({ section }) => section !== "Development").flatMap(({ lines }) => lines);
  expect([...new Set(lines)].sort()).toEqual(known.sort());
  expect(
    blocks.filter(({ language }) => language !== "sh").map(({ section, language }) => [section, language]),
  ).toEqual([
    ["Log in", "text"],
    ["Use", "json"],
    ["Kimi workers", "bash"],
    ["Kimi workers", "markdown"],
    ["Kimi workers", "json"],
    ["Kimi workers", "json"],
  ]);
});

test("the schema of the status file is the one that is shipped", () => {
  const shown = blocks.filter(({ lines }) => lines.some((line) => line.includes('"$schema"')));
  expect(shown.map(({ lines }) => JSON.parse(lines.join("\n")))).toEqual([readSchema()]);
});

describe.each(hosts)("on pi $name", (host) => {
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

  test.each(inSection("Use").flatMap(({ lines }) => lines.filter((line) => line !== TUI)))(
    "installed, it obeys: %s",
    async (line) => {
      await obey(line, installed);
    },
  );

  test("the lines for subagents find pi's own extension", async () => {
    const machine = await create();
    for (const { lines } of inSection("Kimi workers")) for (const line of lines) await obey(line, machine);
  });

  test("the settings under Use make it pi's default", async () => {
    const machine = installed;
    const settings = ".pi/agent/settings.json";
    // What pi takes when nothing is said, or what is said is wrong; nobody listens there.
    const other = { baseUrl: "http://127.0.0.1:9/v1", api: "openai-completions", apiKey: "other" };
    const providers = { other: { ...other, models: [{ id: "other" }] } };
    machine.home.write(".pi/agent/models.json", JSON.stringify({ providers }));
    const pasted: unknown = JSON.parse(pastedUnder("Use"));
    const before: unknown = JSON.parse(machine.home.read(settings));
    machine.home.write(settings, JSON.stringify(Object.assign({}, before, pasted)));
    await expectAnswer("pi -p hello", "hello", machine);
    expect(machine.service.chats().at(-1)?.body).toMatchObject({ model: "kimi-for-coding" });
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
    const papers = ["CHANGELOG.md", "LICENSE", "README.md", "images/thinking.png", "package.json"];
    expect(files.filter((file) => !file.startsWith("extensions/")).sort()).toEqual(papers);
    expect(files).toContain("extensions/index.ts");
    expect(size).toBeLessThan(PACKED_CEILING);
  });

  test("asked npm for nothing but itself and its runtime dependencies", () => {
    expect(published.registry.missed).toEqual([]);
  });
});

describe("under Development", () => {
  const lines = inSection("Development").flatMap(({ lines }) => lines);

  test("stand the test command, what demo.test.ts, bench.test.ts and pictures.test.ts run, and two sweeps", () => {
    expect(lines.filter((line) => !line.startsWith("npm run demo"))).toEqual([
      "npm ci && npm test",
      "npm run bench",
      "npm run bench -- --peers",
      "npm run test:hosts",
      "npm run pictures",
      "npm run mutation",
    ]);
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const scriptsNamed = lines.flatMap((line) => /^npm run (\S+)/.exec(line)?.[1] ?? []);
    for (const script of scriptsNamed) expect(Object.keys(scripts)).toContain(script);
  });

  test("stands what CI runs", () => {
    const ci = readFileSync(join(root, ".ci", "run"), "utf8");
    const commands = [...ci.matchAll(/^\s*(npm [^|&;\n]+)/gm)].map(([, command]) => command?.trim());
    expect(commands).toEqual(lines[0]?.split(" && "));
  });
});

describe("what it says of the code", () => {
  test.each(firstColumn(readme, "Troubleshooting").flat())("the message `%s` is said", (message) => {
    const parts = message
      .split("…")
      .map(fixedPart)
      .filter((part) => part !== "");
    expect(parts).not.toEqual([]);
    for (const part of parts) expect(sentences(), part).toSatisfy((said: string[]) => isSaid(part, said));
  });

  test("the variables under Configuration are those that are read", () => {
    const read = new Set<string>();
    const env = new Proxy<Record<string, undefined>>(
      {},
      {
        get: (_target, name) => {
          read.add(String(name));
          return undefined;
        },
      },
    );
    readConfiguration(env, "/nowhere");
    findConfiguredKey(env, "/nowhere");
    asksForStatus(env);
    expect([...read].sort()).toEqual(firstColumn(readme, "Configuration").flat().sort());
  });
});

function inSection(section: string): CodeBlock[] {
  return shellBlocks.filter((block) => block.section === section);
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

/** Of a message: without what stands for a value, and without the punctuation at its ends. */
function fixedPart(part: string): string {
  return part.replace(/\([A-Z]*\)|\($|^\)/g, "").replace(/^[\s;,.]+|[\s;,.]+$/g, "");
}

/** Every string and template of the extension, `\0` for what is filled in. */
function sentences(): string[] {
  return readdirSync(join(root, "extensions"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(root, "extensions", name), "utf8"))
    .flatMap((source) => source.match(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g) ?? [])
    .map((literal) => literal.replace(/\$\{[^}]*\}/g, "\0"));
}

/** Any word of the message may be one that is filled in, but not most of it. */
function isSaid(part: string, said: readonly string[]): boolean {
  const pattern = new RegExp(
    part
      .split(/([\w./-]+)/)
      .map((piece, index) => (index % 2 === 1 ? `(?:${escapeRegExp(piece)}|\0)` : escapeRegExp(piece)))
      .join(""),
  );
  return said.some((sentence) => {
    const found = pattern.exec(sentence)?.[0].replaceAll("\0", "") ?? "";
    return found.length > part.length / 2;
  });
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
