/** `/kimi doctor` in the real pi: well and ill, in print and RPC mode and on the screen. */
import { chmodSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { hosts, type PiHost } from "../support/hosts.ts";
import { holdKimiCliLock } from "../support/peers.ts";
import { ourModel, runPi, withoutModelsWarning } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { findSecrets } from "../support/secrets.ts";
import { describeInTmux, startTmux, type TmuxPi } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { createLoggedInWorld, createWorld, type World } from "../support/world.ts";

/** The doctor's words from the shell, without a session or a model. */
async function ask(host: PiHost, { home, env }: World, variables: Record<string, string> = {}) {
  const { stdout, stderr, exitCode } = await runPi(host, home, ["-p", "/kimi doctor --all"], env(variables));
  expect(withoutModelsWarning(stderr)).toBe("");
  const bad = stdout.split("\n").filter((line) => line.startsWith("✗"));
  return { stdout, bad, exitCode };
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

describe.each(hosts)("/kimi doctor on pi $name", (host) => {
  test("finds nothing wrong where nothing is", async () => {
    const world = await createLoggedInWorld();
    const { service, home, env } = world;
    const asked = service.log.length;
    const { stdout, bad, exitCode } = await ask(host, world);
    expect({ bad, exitCode }).toEqual({ bad: [], exitCode: 0 });
    for (const line of [
      "Nothing is wrong.",
      "✓ Login in use: that of kimi-cli",
      "✓ kimi-cli: file: ~/.kimi/credentials/kimi-code.json can be read by you alone",
      "✓ API at the host in KIMI_CODE_BASE_URL: answers, and takes the login",
      "✓ Clock: agrees with the server's",
    ])
      expect(stdout.split("\n")).toContain(line);
    expect(stdout).not.toContain(home.path);
    expect(stdout).not.toContain(new URL(service.url).port);
    expect(new Set(service.log.slice(asked).map(({ kind }) => kind))).toEqual(new Set(["models", "other"]));

    const short = await runPi(host, home, ["-p", "/kimi doctor"], env());
    expect(short.stdout.split("\n")[0]).toBe("Nothing is wrong.");
    expect(short.stdout).toContain("\n✓ Login in use: that of kimi-cli (1 more fine)\n");
    expect(short.stdout.split("\n").length).toBeLessThan(10);
    expect(short.stdout).toMatch(
      /\npi-kimi-coder \S+ on pi \S+, Node \S+, \w+ \w+\n\/kimi doctor --all lists every check\.\n$/,
    );
  });

  test("names files that are open, or no files, and locks that are held or cannot be taken", async () => {
    const world = await createLoggedInWorld();
    const { home, service, login: token } = world;
    const release = await holdKimiCliLock(home);
    onTestFinished(release);
    chmodSync(home.kimiCliPath, 0o644);
    home.write(".opencode-kimi-auth/oauth.json", '{"access_token": "at-torn');
    mkdirSync(home.kimiCodePath(service), { recursive: true });
    home.write(".kimi-code/oauth", "");
    mkdirSync(join(home.agentDir, "kimi-coder.json"), { recursive: true });
    home.write(".local/state/kimi-coder-requests", "");
    home.write(".pi/agent/extensions/kimi-other.ts", "export default () => {};");
    const { stdout, bad, exitCode } = await ask(host, world);
    const slot = "~/.kimi-code/credentials/kimi-code-env-<slot>.json";
    expect(bad.map((line) => line.replace(/env-[0-9a-f]{16}/g, "env-<slot>"))).toEqual([
      "✗ Other extensions for Kimi: there is one: a file or folder in ~/.pi/agent/extensions",
      "✗ kimi-cli: file: ~/.kimi/credentials/kimi-code.json has mode 0644: others on this machine may get at it",
      `✗ kimi-code: file: ${slot} is a folder`,
      "✗ Own file kimi-coder.json: ~/.pi/agent/kimi-coder.json is a folder: a logout in pi may be undone at the next start",
      "✗ Own folder kimi-coder-requests: ~/.local/state/kimi-coder-requests is no folder: requests are sent without taking turns",
      expect.stringMatching(
        /^✗ Lock ~\/\.kimi\/credentials\/kimi-code\.lock: held by process \d+ \(python3?\)$/,
      ),
      "✗ Lock ~/.kimi-code/oauth/kimi-code-env-<slot>.lock: ~/.kimi-code/oauth is no folder: the login cannot be renewed",
    ]);
    expect(stdout).toMatch(/^7 things are wrong:\n✗ .*\n {2}→ /);
    // Nothing needs it.
    expect(stdout).toContain("\n– Login of opencode-kimi-auth: its file is not a JSON object\n");
    expect(exitCode).toBe(1);
    expect(findSecrets(stdout)).toEqual([]);
    expect(stdout).not.toContain(token.access_token);
  });

  test("names hosts that are not found, or not reached", async () => {
    const world = await createLoggedInWorld();
    const { bad } = await ask(host, world, {
      KIMI_CODE_OAUTH_HOST: `http://127.0.0.1:${await closedPort()}`,
      KIMI_CODE_BASE_URL: "https://nobody.invalid/coding/v1",
    });
    expect(bad).toEqual([
      expect.stringMatching(
        /^✗ API at the host in KIMI_CODE_BASE_URL: DNS: the name cannot be resolved \(E\w+\)$/,
      ),
      "✗ Authorization server at the host in KIMI_CODE_OAUTH_HOST: it cannot be reached (ECONNREFUSED)",
    ]);
  });

  test("sees a clock that is off, and a token that is not taken", async () => {
    const world = await createLoggedInWorld();
    const date = new Date(Date.now() + 600_000).toUTCString();
    // Not only once: the list of models is asked for in the background too.
    world.service.fault({ path: "models", times: 9, do: { status: 401, body: {}, headers: { date } } });
    expect((await ask(host, world)).bad).toEqual([
      "✗ API at the host in KIMI_CODE_BASE_URL: does not take the access token (401)",
      expect.stringMatching(/^✗ Clock: (9|10) m behind the server's$/),
    ]);
  });

  test("goes through a proxy as pi's requests do, and shows nothing of its address", async () => {
    const world = await createLoggedInWorld();
    const port = await closedPort();
    const { stdout, bad } = await ask(host, world, {
      HTTP_PROXY: `http://user:very-secret@127.0.0.1:${port}`,
      NO_PROXY: "localhost",
    });
    expect(bad).toEqual([
      "✗ API at the host in KIMI_CODE_BASE_URL: it cannot be reached (ECONNREFUSED)",
      "✗ Authorization server at the host in KIMI_CODE_OAUTH_HOST: it cannot be reached (ECONNREFUSED)",
    ]);
    expect(stdout).toContain("✓ Proxy variables: HTTP_PROXY, NO_PROXY set; requests go by them\n");
    expect(stdout).not.toMatch(new RegExp(`very-secret|${port}`));
  });

  test("gives the shell JSON, also without a login", async () => {
    const { home, env } = await createWorld();
    const { stdout, stderr, exitCode } = await runPi(host, home, ["-p", "/kimi doctor --json"], env());
    expect({ stderr: withoutModelsWarning(stderr), exitCode }).toEqual({ stderr: "", exitCode: 1 });
    const report: unknown = JSON.parse(stdout);
    const text = expect.any(String);
    expect(report).toEqual({
      version: 1,
      ok: false,
      about: {
        extension: text,
        pi: host.version,
        node: text,
        runtime: expect.stringMatching(/^Node \d/),
        system: text,
      },
      checks: expect.any(Array),
    });
    const checks: readonly unknown[] =
      isJsonObject(report) && Array.isArray(report.checks) ? report.checks : [];
    expect(checks).toContainEqual({
      group: "logins",
      name: "Login in use",
      state: "bad",
      says: "no login found",
      fix: "type /login kimi-coder in pi, or log in with kimi-cli, or set KIMI_CODER_API_KEY",
    });
    for (const check of checks) {
      expect(check).toEqual({
        group: expect.stringMatching(/^(program|logins|files|locks|network|plan)$/),
        name: text,
        state: expect.stringMatching(/^(ok|bad|none)$/),
        says: text,
        fix: isJsonObject(check) && check.state === "bad" ? text : null,
      });
    }
  });

  test("answers in RPC mode with a notice, and pi goes on", async () => {
    const { service, home, env } = await createLoggedInWorld();
    const pi = startRpc(host, home, [...ourModel], env());
    expect(await pi.say("/kimi doctor")).toContain("✓ Login in use: that of kimi-cli (");
    await pi.prompt("hello");
    expect(service.chats()).toHaveLength(1);
    await pi.close();
  });
});

/** Lines are broken anywhere at 40 columns. */
const joined = (text: string) => text.replace(/\s+/g, "");

/** Scrolls up until each has been seen: the older pi leaves that to the terminal, the newer one has its own. */
async function scrollTo(pi: TmuxPi, ...wanted: string[]): Promise<void> {
  const missing = new Set(wanted);
  const look = (screen: string) => {
    for (const text of wanted) if (screen.includes(text)) missing.delete(text);
    return missing.size === 0;
  };
  for (let page = 0; page < 20 && !look(await pi.history()); page++) {
    await pi.key("PageUp");
    await pi.waitFor(look, 300).catch(() => undefined);
  }
  expect([...missing]).toEqual([]);
}

describeInTmux.each(hosts)("/kimi doctor on the screen of pi $name", (host) => {
  test.each([
    [40, 20],
    [80, 24],
    [200, 50],
  ])("stays in the transcript at %d × %d, and is never sent", async (width, height) => {
    const { service, home, env } = await createLoggedInWorld();
    chmodSync(home.kimiCliPath, 0o640);
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width, height });
    await pi.waitFor((screen) => joined(screen).includes("usingkimi-clicredentials"));
    await enter(pi, "/kimi doctor");
    await pi.waitFor((screen) => joined(screen).includes("--alllistseverycheck."));
    // The next status line would take the place of a notice.
    await pi.key("C-t");
    await pi.waitFor(/Thinking blocks: \w+/);
    await pi.submit("hello");
    await pi.waitFor("You said: hello");
    await scrollTo(
      pi,
      "1 thing is wrong:",
      "✗ kimi-cli: file:",
      "→ chmod 600",
      "✓ Login in use: that of kimi",
    );
    const sent = JSON.stringify(service.chats().map(({ body }) => body));
    expect(sent).toContain("hello");
    expect(sent).not.toMatch(/thing is wrong|chmod 600/);
  });

  test("has colours for what is wrong, its fix and what is fine, and is drawn again after /reload", async () => {
    const { home, env } = await createLoggedInWorld();
    chmodSync(home.kimiCliPath, 0o640);
    const pi = await startTmux(host, home, [...ourModel], { ...env(), width: 120, height: 50 });
    const colourOf = (styled: string, text: string) =>
      /(?:\u001b\[[\d;]*m)+(?=[^\u001b]*$)/.exec(styled.slice(0, styled.indexOf(text)))?.[0];
    await pi.waitFor("using kimi-cli credentials");
    await enter(pi, "/kimi doctor");
    await pi.waitFor("--all lists every check.");
    const styled = await pi.styled();
    const colours = ["✗ kimi-cli: file", "→ chmod 600", "✓ pi: "].map((text) => colourOf(styled, text));
    expect(colours).not.toContain(undefined);
    expect(new Set(colours).size, JSON.stringify(colours)).toBe(3);
    await pi.submit("/reload");
    await pi.waitFor(/Reloaded[\s\S]*/);
    await scrollTo(pi, "→ chmod 600");
  });
});
