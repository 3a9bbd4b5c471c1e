/** pi's own subagent extension with workers on Kimi: eight pi processes on one login that ends in the middle. */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, type PiHost, root } from "../support/hosts.ts";
import type { KimiService, LogEntry } from "../support/kimi-service/index.ts";
import { ourModel, runPi } from "../support/pi.ts";
import { codeBlocks, readDocument } from "../support/readme.ts";
import { createLoggedInWorld } from "../support/world.ts";

const TASKS = Array.from({ length: 8 }, (_, index) => `name planet ${index + 1}`);

/** The examples that come with a pi. */
function examples(host: PiHost): string {
  return join(host.folder, "examples", "extensions");
}

/** What docs/workers.md has users paste. */
function agentProfile(): string {
  const profile = codeBlocks(readDocument("docs/workers.md")).find(({ language }) => language === "markdown");
  if (!profile) throw new Error("docs/workers.md shows no agent profile");
  return `${profile.lines.join("\n")}\n`;
}

/** What a request was made for. */
function heard({ body }: LogEntry): string {
  return JSON.stringify(body);
}

/** Its system prompt is the profile's. */
const isWorker = (entry: LogEntry) => entry.kind === "chat" && heard(entry).includes("You do the one task");

/** From the fourth worker's request on, no access token given before is good any more. */
function endLoginInTheMiddle(service: KimiService): void {
  let workers = 0;
  service.fault({
    path: "chat",
    times: Number.POSITIVE_INFINITY,
    when(entry) {
      if (isWorker(entry) && ++workers === 4) service.expireAccessTokens();
      return false;
    },
    do: { delay: 0 },
  });
}

describe.each(hosts)("pi's subagent extension on pi $name", (host) => {
  test("has eight right answers and one refresh when the login ends in the middle", async () => {
    const { service, home, env, login } = await createLoggedInWorld();
    home.write(".pi/agent/settings.json", JSON.stringify({ packages: [root] }));
    const extensions = join(home.agentDir, "extensions", "subagent");
    mkdirSync(dirname(extensions));
    cpSync(join(examples(host), "subagent"), extensions, { recursive: true });
    const agents = join(home.agentDir, "agents");
    mkdirSync(agents);
    writeFileSync(join(agents, "kimi-worker.md"), agentProfile());

    endLoginInTheMiddle(service);
    const tasks = TASKS.map((task) => ({ agent: "kimi-worker", task }));
    service.reply({ text: "", toolCalls: [{ name: "subagent", arguments: { tasks } }] });
    const options = { ...env(), extension: false } as const;
    const { stdout, stderr, exitCode } = await runPi(host, home, [...ourModel, "-p", "delegate"], options);

    expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
    expect(stdout).toContain("You said: ");
    const results = heard(service.chats().at(-1) ?? expect.fail("nobody asked"));
    expect(results).toContain("Parallel: 8/8 succeeded");
    for (const task of TASKS) expect(results).toContain(`You said: Task: ${task}`);
    const workers = service.log.filter(isWorker);
    expect(new Set(workers.filter(({ status }) => status === 200).map(heard)).size).toBe(TASKS.length);
    expect(workers.filter(({ status }) => status === 401).length).toBeGreaterThan(0);
    expect(service.refreshes()).toHaveLength(1);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.currentTokens(login.refresh_token)).toMatchObject({
      refresh_token: home.readKimiCli()?.refresh_token,
    });
  });
});
