/** Workers that nobody looks at: pi in terminals, driven by keys and read by the status file alone, on one login. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { hosts, newerHost, olderHost, type PiHost, root, shellCommand } from "../support/hosts.ts";
import { ourModel } from "../support/pi.ts";
import { run } from "../support/processes.ts";
import { codeBlocks, readDocument } from "../support/readme.ts";
import { readStatusFile } from "../support/status-file.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { eventually } from "../support/waiting.ts";
import { createLoggedInWorld, type LoggedInWorld, type World } from "../support/world.ts";

/** ms; a whole pi starts in it, eight at a time. */
const PATIENCE = 60_000;

async function startWorker(host: PiHost, { home, env }: World, name: string, extra = {}) {
  const path = join(home.path, "status", `${name}.json`);
  const pi = await startTmux(host, home, ourModel, env({ KIMI_CODER_STATUS_FILE: path, ...extra }));
  onTestFinished(() => pi.close());
  const { read, waitFor } = readStatusFile(path);
  const becomes = (wanted: Readonly<Record<string, unknown>>) => waitFor(wanted, PATIENCE);
  await becomes({ state: "idle" });
  return { read, becomes, ask: (prompt: string) => pi.submit(prompt) };
}

async function untilDead(pid: unknown): Promise<void> {
  const isAlive = () => {
    try {
      return process.kill(Number(pid), 0);
    } catch {
      return false;
    }
  };
  await eventually(
    () => !isAlive() || undefined,
    () => `${pid} should be dead`,
    PATIENCE,
  );
}

/** One refresh, which all have the result of. */
function expectOneRefresh({ service, home, login }: LoggedInWorld): void {
  expect(service.refreshes()).toHaveLength(1);
  expect(service.reusedRefreshTokens()).toBe(0);
  expect(service.currentTokens(login.refresh_token)?.refresh_token).toBe(home.readKimiCli()?.refresh_token);
}

describeInTmux("eight pi in terminals on one login", () => {
  test("answer all, one refresh, while the login ends, one is killed and another's login is revoked", async () => {
    const world = await createLoggedInWorld();
    const { service } = world;
    const other = await createLoggedInWorld();
    const hostOf = (index: number) => (index % 2 ? olderHost : newerHost);
    const [workers, revoked] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, (_, index) => startWorker(hostOf(index), world, `${index}`))),
      startWorker(olderHost, other, "revoked"),
    ]);
    other.service.revokeLogin(other.login.refresh_token);

    // Every answer takes its time, so that each worker is seen at work.
    service.fault({ path: "chat", times: Number.POSITIVE_INFINITY, do: { delay: 1_500 } });
    await Promise.all(workers.slice(0, 4).map((worker, index) => worker.ask(`count to ${index}`)));
    await Promise.all(workers.slice(0, 4).map((worker) => worker.becomes({ state: "processing" })));
    const [victim] = workers;
    const dead = victim?.read().pid;
    process.kill(Number(dead), "SIGKILL");
    service.expireAccessTokens();
    await Promise.all(
      [...workers.slice(4), revoked].map((worker, index) => worker.ask(`count to ${index + 4}`)),
    );

    for (const [index, worker] of workers.entries()) {
      if (worker === victim) continue;
      expect(await worker.becomes({ state: "completed" })).toMatchObject({
        message: `You said: count to ${index}`,
        turn: 1,
        error: null,
        exit: null,
      });
    }
    expect(await revoked.becomes({ state: "error" })).toMatchObject({
      error: { class: "login" },
      message: null,
    });
    await untilDead(dead);
    expect(victim?.read()).toMatchObject({ state: "processing", exit: null, pid: dead });

    // Its place is taken by another.
    const successor = await startWorker(olderHost, world, "0");
    await successor.ask("count to 0");
    await successor.becomes({ state: "completed", message: "You said: count to 0" });
    expectOneRefresh(world);
  });
});

describeInTmux.each(hosts)("on pi $name", (host) => {
  test("a hand-off after fifteen minutes survives the end of the access token", async () => {
    const world = await createLoggedInWorld();
    const { service, home } = world;
    const clock = join(home.path, "clock");
    writeFileSync(clock, "0");
    const shifted = `--require ${join(root, "test", "support", "shifted-clock.cjs")}`;
    const start = (name: string) =>
      startWorker(host, world, name, { NODE_OPTIONS: shifted, SHIFTED_CLOCK: clock });
    const first = await start("first");
    await first.ask("find the bug");
    const { message: found } = await first.becomes({ state: "completed" });

    const quarterOfAnHour = 15 * 60_000;
    service.advance(quarterOfAnHour);
    writeFileSync(clock, `${quarterOfAnHour}`);
    const second = await start("second");
    await Promise.all([second.ask(`repair this: ${found}`), first.ask("and another one")]);
    await second.becomes({
      state: "completed",
      message: "You said: repair this: You said: find the bug",
    });
    await first.becomes({ state: "completed", turn: 2, message: "You said: and another one" });
    expectOneRefresh(world);
  });

  test("the script of docs/workers.md starts a worker, asks it twice, and says what went wrong", async () => {
    const world = await createLoggedInWorld();
    const { service, home, login } = world;
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
      await untilDead(readStatusFile(join(home.path, ".kimi-workers", "one.json")).read().pid);
    });

    expect(await ask("hello")).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });
    expect(await ask("- and again")).toMatchObject({ stdout: "You said: - and again\n", exitCode: 0 });
    service.revokeLogin(login.refresh_token);
    const refused = await ask("one more");
    expect(refused.stdout).toMatch(/^Kimi Coder: .*\/login kimi-coder/);
    expect(refused.exitCode).toBe(1);
  });
});
