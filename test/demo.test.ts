/** The demo lines of README.md, run as they stand: the main job without an account. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createHome, type Home } from "./support/home.ts";
import { root } from "./support/hosts.ts";
import { run } from "./support/processes.ts";
import { codeBlocks, readReadme } from "./support/readme.ts";
import { findSecrets } from "./support/secrets.ts";
import { describeInTmux, startTerminal } from "./support/tmux.ts";

const DEFAULT = "npm run demo";
const ASKING = 'npm run demo -- "your prompt"';
const INTERACTIVE = "npm run demo -- --interactive";

const lines = codeBlocks(readReadme())
  .flatMap((block) => block.lines)
  .filter((line) => line.startsWith("npm run demo"));

test("the README names these demos", () => {
  expect(lines).toEqual([DEFAULT, ASKING, INTERACTIVE]);
});

describe.each([
  [DEFAULT, "What is a rotating token?"],
  [ASKING, "your prompt"],
])("%s", (line, prompt) => {
  test("logs in, streams thinking and answer, and says what was written and what travelled", async () => {
    const home = createEmptyHome();

    const demo = await run("bash", ["-c", line], { cwd: root, env: home.env(), owner: home });

    expect(demo, demo.stderr).toMatchObject({ exitCode: 0, stderr: "" });
    expect(demo.stdout).toContain("[thinking] The user wants to hear it again.\n");
    expect(demo.stdout).toContain(`[answer] You said: ${prompt}\n`);
    expectReport(demo.stdout);
    expect(travelled(demo.stdout)).toContain("  200 POST /coding/v1/chat/completions (thinking enabled)");
    expectNothingLeft(home);
  });
});

describeInTmux(INTERACTIVE, () => {
  test("opens pi's screen on the service, and reports after it is left", async () => {
    const home = createEmptyHome();
    const demo = await startTerminal(["bash", "-c", INTERACTIVE], home, { cwd: root });
    try {
      await demo.ready(30_000);
      await demo.submit("hello");
      await demo.waitFor("You said: hello");
      await demo.key("C-d");
      expect(await demo.ended()).toBe(0);
      const history = await demo.history();
      expectReport(history);
      expect(travelled(history).join("\n")).toContain("200 POST /coding/v1/chat/completions");
      expectNothingLeft(home);
    } finally {
      await demo.close();
    }
  });
});

function createEmptyHome(): Home {
  const home = createHome();
  onTestFinished(() => home.remove());
  home.write(".npmrc", "update-notifier=false\n");
  return home;
}

function expectReport(output: string): void {
  for (const file of [
    ".kimi/credentials/kimi-code.json",
    ".kimi/device_id",
    ".pi/agent/auth.json",
    ".pi/agent/kimi-coder.json",
  ]) {
    expect(output).toContain(`  600 ${file}\n`);
  }
  expect(travelled(output).filter((line) => !/\/v1\/(models|chat|usages|me)\b/.test(line))).toEqual([
    "  200 POST /api/oauth/device_authorization",
    "  400 POST /api/oauth/token (authorization_pending)",
    "  400 POST /api/oauth/token (authorization_pending)",
    "  200 POST /api/oauth/token",
  ]);
  expect(findSecrets(output)).toEqual([]);
}

function travelled(output: string): string[] {
  const [, report = ""] = output.split("What travelled:\n");
  return report.split("\n").filter((line) => /^ {2}\d{3} /.test(line));
}

/** Of what the support put there only the link to jiti's cache is left, and the demo's own home is gone. */
function expectNothingLeft(home: Home): void {
  expect(readdirSync(join(home.path, "tmp"))).toEqual(["jiti"]);
  expect(Object.keys(home.files()).filter((path) => !path.startsWith(".npm"))).toEqual([]);
}
