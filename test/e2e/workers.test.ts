/** Workers that nobody looks at: pi in terminals, driven by keys and read by the status file alone, on one login. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import { hosts, newerHost, olderHost, type PiHost, root, shellCommand } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { run } from "../support/processes.ts";
import { codeBlocks, readDocument } from "../support/readme.ts";
import { describeInTmux, startTmux, type TmuxPi } from "../support/tmux.ts";
import { eventually } from "../support/waiting.ts";
import { createWorld, type World } from "../support/world.ts";

/** ms; a whole pi starts in it, eight at a time. */
const PATIENCE = 60_000;

interface Worker {
  readonly pi: TmuxPi;
  /** What the status file says; empty while there is none. */
  readonly status: () => JsonObject;
  /** Waits for a state. */
  readonly becomes: (state: string) => Promise<JsonObject>;
  readonly ask: (prompt: string) => Promise<void>;
}

function readStatus(path: string): JsonObject {
  const value: unknown = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  return isJsonObject(value) ? value : {};
}

async function startWorker(
  host: PiHost,
  { home, env }: World,
  statusPath: string,
  extra: Readonly<Record<string, string>>,
): Promise<Worker> {
  const pi = await startTmux(host, home, [...ourModel], env(extra));
  onTestFinished(() => pi.close());
  const status = () => readStatus(statusPath);
  const becomes = (state: string) =>
    eventually(
      () => (status().state === state ? status() : undefined),
      () => `the worker should be ${state}: ${JSON.stringify(status())}`,
      PATIENCE,
    );
  await becomes("idle");
  return { pi, status, becomes, ask: (prompt) => pi.submit(prompt) };
}

function startNumbered(host: PiHost, world: World, name: string): Promise<Worker> {
  const path = join(world.home.path, "status", `${name}.json`);
  return startWorker(host, world, path, { KIMI_CODER_STATUS_FILE: path });
}

/** What an orchestrator hands on. */
function messageOf(status: JsonObject): string {
  return typeof status.messageFile === "string"
    ? readFileSync(status.messageFile, "utf8")
    : `${status.message}`;
}

function isAlive(pid: unknown): boolean {
  try {
    return process.kill(Number(pid), 0);
  } catch {
    return false;
  }
}

describeInTmux("eight pi in terminals on one login", () => {
  test("answer all, one refresh, while the login ends, one is killed and another's login is revoked", async () => {
    const world = await createWorld();
    const { service, home } = world;
    const { refresh_token } = world.logInToKimiCli();
    const other = await createWorld();
    const foreign = other.logInToKimiCli();
    const hostOf = (index: number) => (index % 2 ? olderHost : newerHost);
    const [workers, revoked] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, (_, index) => startNumbered(hostOf(index), world, `${index}`))),
      startNumbered(olderHost, other, "revoked"),
    ]);
    other.service.revokeLogin(foreign.refresh_token);

    // Every answer takes its time, so that each worker is seen at work.
    service.fault({ path: "chat", times: Number.POSITIVE_INFINITY, do: { delay: 1_500 } });
    await Promise.all(workers.slice(0, 4).map((worker, index) => worker.ask(`count to ${index}`)));
    await Promise.all(workers.slice(0, 4).map((worker) => worker.becomes("processing")));
    const [victim] = workers;
    const dead = victim?.status().pid;
    process.kill(Number(dead), "SIGKILL");
    service.expireAccessTokens();
    await Promise.all(
      [...workers.slice(4), revoked].map((worker, index) => worker.ask(`count to ${index + 4}`)),
    );

    for (const [index, worker] of workers.entries()) {
      if (worker === victim) continue;
      const status = await worker.becomes("completed");
      expect(messageOf(status)).toBe(`You said: count to ${index}`);
      expect(status).toMatchObject({ turn: 1, error: null, exit: null });
    }
    expect(await revoked.becomes("error")).toMatchObject({ error: { class: "login" }, message: null });
    await eventually(
      () => !isAlive(dead) || undefined,
      () => "it should be dead",
      PATIENCE,
    );
    expect(victim?.status()).toMatchObject({ state: "processing", exit: null, pid: dead });

    // Its place is taken by another.
    const successor = await startNumbered(olderHost, world, "0");
    await successor.ask("count to 0");
    expect(messageOf(await successor.becomes("completed"))).toBe("You said: count to 0");
    expect(service.refreshes()).toHaveLength(1);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.currentTokens(refresh_token)?.refresh_token).toBe(home.readKimiCli()?.refresh_token);
  });
});

describeInTmux.each(hosts)("on pi $name", (host) => {
  test("a hand-off after fifteen minutes survives the end of the access token", async () => {
    const world = await createWorld();
    const { service, home } = world;
    const { refresh_token } = world.logInToKimiCli();
    const clock = join(home.path, "clock");
    writeFileSync(clock, "0");
    const shifted = `--require ${join(root, "test", "support", "shifted-clock.cjs")}`;
    const start = (name: string) => {
      const path = join(home.path, "status", `${name}.json`);
      const environment = { KIMI_CODER_STATUS_FILE: path, NODE_OPTIONS: shifted, SHIFTED_CLOCK: clock };
      return startWorker(host, world, path, environment);
    };
    const first = await start("first");
    await first.ask("find the bug");
    const found = messageOf(await first.becomes("completed"));

    const quarterOfAnHour = 15 * 60_000;
    service.advance(quarterOfAnHour);
    writeFileSync(clock, `${quarterOfAnHour}`);
    const second = await start("second");
    await Promise.all([second.ask(`repair this: ${found}`), first.ask("and another one")]);
    expect(messageOf(await second.becomes("completed"))).toBe(
      "You said: repair this: You said: find the bug",
    );
    await eventually(
      () => first.status().turn === 2 || undefined,
      () => "a second turn",
      PATIENCE,
    );
    expect(messageOf(await first.becomes("completed"))).toBe("You said: and another one");
    expect(service.refreshes()).toHaveLength(1);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.currentTokens(refresh_token)?.refresh_token).toBe(home.readKimiCli()?.refresh_token);
  });

  test("the script of docs/workers.md starts a worker, asks it twice, and says what went wrong", async () => {
    const world = await createWorld();
    const { service, home } = world;
    const { refresh_token } = world.logInToKimiCli();
    const script = codeBlocks(readDocument("docs/workers.md")).find(({ language }) => language === "bash");
    home.write("kimi-worker.sh", (script?.lines ?? []).join("\n"));
    home.write(".pi/agent/settings.json", JSON.stringify({ packages: [root] }));
    home.write("bin/pi", `#!/bin/sh\nexec ${shellCommand(host)} "$@"\n`);
    await run("chmod", ["755", join(home.path, "bin", "pi")], {
      cwd: home.work,
      env: home.env(),
      owner: home,
    });
    const env = home.env({ ...service.environment, TMUX_TMPDIR: join(home.path, "bin") });
    const ask = (prompt: string) =>
      run("bash", [join(home.path, "kimi-worker.sh"), "one", prompt], {
        cwd: home.work,
        env,
        owner: home,
        timeoutMs: PATIENCE,
      });
    onTestFinished(async () => {
      await run("tmux", ["kill-server"], { cwd: home.work, env, owner: home });
      const { pid } = readStatus(join(home.path, ".kimi-workers", "one.json"));
      await eventually(
        () => !isAlive(pid) || undefined,
        () => "pi should end with its terminal",
        PATIENCE,
      );
    });

    expect(await ask("hello")).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });
    expect(await ask("- and again")).toMatchObject({ stdout: "You said: - and again\n", exitCode: 0 });
    service.revokeLogin(refresh_token);
    const refused = await ask("one more");
    expect(refused.stdout).toMatch(/^Kimi Coder: .*\/login kimi-coder/);
    expect(refused.exitCode).toBe(1);
  });
});
