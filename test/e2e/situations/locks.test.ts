/** Locks that others hold, that something else stands in the place of, or that cannot be taken at all. */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { hosts, newerHost, olderHost, type PiHost, root } from "../../support/hosts.ts";
import { holdKimiCliLock } from "../../support/peers.ts";
import { ourModel, printPi, runPi, startPrintPi } from "../../support/pi.ts";
import { startRpc } from "../../support/rpc.ts";
import {
  answered,
  expectLoginSurvives,
  expectOneSentence,
  ordinaryLogin,
  refreshSent,
} from "../../support/survival.ts";
import { eventually } from "../../support/waiting.ts";
import { worldTest as test, type World } from "../../support/world.ts";

/** Long ago, in s. */
const OLD = Date.now() / 1000 - 3600;

/** What may stand in a lock's place, made by an archive, a synchronised folder or a Finder. */
const obstacles = {
  "a plain file": (path: string) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
    utimesSync(path, OLD, OLD);
  },
  "a folder with .DS_Store in it": (path: string) => {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, ".DS_Store"), "");
    utimesSync(path, OLD, OLD);
  },
} as const;

/** kimi-code's name for the login of this service; the service's port is in it. */
const slotOf = ({ home, service }: World) => basename(home.kimiCodePath(service), ".json");

describe.concurrent.each(hosts)("pi $name", (host) => {
  test("with a valid token ends soon after its answer although kimi-cli holds its lock", async ({
    world,
  }) => {
    const { service, home, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli("due");
    const release = await holdKimiCliLock(home);
    const pi = startPrintPi(host, home, ["hello"], env());
    await service.waitFor(({ kind, status, finished }) => kind === "chat" && status === 200 && finished);
    const since = performance.now();
    const finished = await pi.finished;
    // A second, alone on a quick machine; kimi-cli's lock is held for as long as anybody waits.
    expect(performance.now() - since).toBeLessThan(15_000);
    expect(answered(finished)).toBe(true);
    expect(finished.stderr).toBe("");
    expect(service.refreshes()).toEqual([]);
    await release();
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("with an ended token waits for kimi-cli's lock for 25 s, and answers", async ({ world }) => {
    const { service, home, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli("expired");
    const release = await holdKimiCliLock(home);
    const pi = startPrintPi(host, home, ["hello"], env());
    await pause(25_000);
    expect(service.refreshes()).toEqual([]);
    await release();
    expect(answered(await pi.finished)).toBe(true);
    expect(service.refreshes()).toHaveLength(1);
    await expectLoginSurvives(host, world, refresh_token);
  });

  test("mends a folder in the place of a lock of ours", async ({ world }) => {
    const { home, env } = world;
    const { refresh_token } = ordinaryLogin(world, "expired");
    const lock = home.kimiCliPath.replace(/json$/, "pi.flock");
    obstacles["a folder with .DS_Store in it"](lock);
    const finished = await printPi(host, home, ["hello"], env());
    expect(finished).toMatchObject({ stdout: "You said: hello\n", stderr: "", exitCode: 0 });
    expect(lstatSync(lock).isFile()).toBe(true);
    await expectLoginSurvives(host, world, refresh_token);
  });

  test.for([
    { kind: "a folder with .DS_Store in it", owner: "kimi-cli" },
    { kind: "a plain file", owner: "kimi-code" },
  ] as const)(
    "says in one sentence that $kind stands in the place of the lock of $owner",
    async ({ kind, owner }, { world }) => {
      const { service, home, env } = world;
      const { refresh_token } = ordinaryLogin(world, "expired", owner);
      const lock =
        owner === "kimi-cli"
          ? join(dirname(home.kimiCliPath), "kimi-code.lock")
          : join(home.path, ".kimi-code", "oauth", `${slotOf(world)}.lock`);
      obstacles[kind](lock);
      const finished = await printPi(host, home, ["hello"], env());
      expectOneSentence(finished);
      expect(finished.stderr).toContain(lock);
      expect(finished.stderr).not.toContain("make the folder writable");
      expect(lstatSync(lock).isFile()).toBe(kind === "a plain file");
      expect(service.refreshes()).toEqual([]);
      rmSync(lock, { recursive: true });
      await expectLoginSurvives(host, world, refresh_token);
    },
  );

  test("answers with a valid token whatever stands in the place of a lock, and auth.json's is named", async ({
    world,
  }) => {
    const { home, env, logInToKimiCli } = world;
    const { refresh_token } = logInToKimiCli();
    home.writeAuth({});
    const lock = `${home.authPath}.lock`;
    obstacles["a folder with .DS_Store in it"](lock);
    const finished = await printPi(host, home, ["hello"], env());
    if (host === newerHost) {
      // pi 1.6.0 reads no credentials without that lock, and says so itself.
      expect(finished).toMatchObject({ stdout: "", exitCode: 1 });
      expect(finished.stderr).toContain(lock);
    } else {
      expect(finished).toMatchObject({ stdout: "You said: hello\n", exitCode: 0 });
      const ours = finished.stderr.split("\n").filter((line) => line.startsWith("Kimi Coder: "));
      expect(ours).toEqual([expect.stringContaining(lock)]);
    }
    rmSync(lock, { recursive: true });
    await expectLoginSurvives(host, world, refresh_token);
  });
});

const slowLock = { NODE_OPTIONS: `--require ${join(root, "test", "support", "slow-lock.cjs")}` };

test("pi 1.6.0 that reads auth.json anew as it ends does not leave its lock to the next pi", async ({
  world,
}) => {
  const { home, env, logInToKimiCli } = world;
  logInToKimiCli();
  const pi = startRpc(newerHost, home, [...ourModel], env(slowLock));
  const lock = join(home.agentDir, "auth.json.lock");
  await eventually(
    () => (home.readAuth()?.["kimi-coder"] && existsSync(lock)) || undefined,
    () => "pi never read the entry",
  );
  await pi.close();
  expect(existsSync(lock)).toBe(false);
});

/** For a shell in a mount namespace of its own: nothing that takes a flock can be started there. */
const HIDE =
  'for program in /usr/bin/flock /bin/flock /usr/bin/perl /bin/perl /usr/local/bin/perl; do [ ! -e "$program" ] || mount --bind /dev/null "$program" || exit 70; done; exec "$@"';

/** The host on a machine without flock and perl. */
function withoutFlock(host: PiHost): PiHost {
  return {
    ...host,
    program: "unshare",
    script: ["--mount", "sh", "-c", HIDE, "sh", host.program, ...host.script],
  };
}

const canHide = spawnSync("unshare", ["--mount", "sh", "-c", HIDE, "sh", "true"]).status === 0;
if (!canHide) console.warn("Not tested here: a machine without flock and perl (unshare --mount needs root).");

describe.concurrent.each(canHide ? hosts.map(withoutFlock) : [])(
  "pi $name without flock and perl",
  (host) => {
    const other = withoutFlock(host.name === olderHost.name ? newerHost : olderHost);

    test("renews once with many starts at a time", async ({ world }) => {
      const { service, home, env, logInToKimiCli } = world;
      const { refresh_token } = logInToKimiCli("expired");
      service.fault({ path: "token", do: { delay: 1_000 } });
      const starts = [host, other, host, other].map((one) => printPi(one, home, ["hello"], env()));
      expect((await Promise.all(starts)).map(answered)).toEqual([true, true, true, true]);
      expect(service.refreshes()).toHaveLength(1);
      await expectLoginSurvives(host, world, refresh_token);
    });

    test("one that is stopped while it renews stays the holder, and the other adopts", async ({ world }) => {
      const { service, home, env, logInToKimiCli } = world;
      const { refresh_token } = logInToKimiCli("expired");
      const answer = service.hold({ path: "token" });
      const holder = startPrintPi(host, home, ["hello"], env());
      await refreshSent(world);
      holder.kill("SIGSTOP");
      answer();
      await pause(12_000);
      const second = startPrintPi(other, home, ["hello"], env());
      await pause(9_000);
      holder.kill("SIGCONT");
      const ends = await Promise.all([holder.finished, second.finished]);
      expect(service.reusedRefreshTokens()).toBe(0);
      expect(service.refreshes()).toHaveLength(1);
      expect(ends.map(answered)).toEqual([true, true]);
      await expectLoginSurvives(host, world, refresh_token);
    });

    test("one that was killed while it renewed holds nobody up for longer than 30 s", async ({ world }) => {
      const { service, home, env, logInToKimiCli } = world;
      const { refresh_token } = logInToKimiCli("expired");
      // Nothing is committed, so that the token is still good.
      service.fault({ path: "token", do: { hang: true } });
      const holder = startPrintPi(host, home, ["hello"], env());
      await refreshSent(world);
      holder.kill();
      const finished = await printPi(host, home, ["hello"], env());
      expect(answered(finished)).toBe(true);
      await expectLoginSurvives(host, world, refresh_token);
    });
  },
);

describe.each(hosts)("/kimi doctor in print mode on pi $name", (host) => {
  test.for(["due", "expired"] as const)(
    "with a Kimi model and a login that is %s writes and renews nothing",
    async (state, { world }) => {
      const { service, home, env, logInToKimiCli } = world;
      logInToKimiCli(state);
      // What pi itself makes at its first start.
      await runPi(host, home, ["--list-models"], env());
      const snapshot = () =>
        Object.fromEntries(
          Object.keys(home.files())
            .filter((path) => !/[/@]$|\/sessions\//.test(path))
            .map((path) => [path, `${statSync(join(home.path, path)).ino} ${home.read(path)}`]),
        );
      const before = snapshot();
      const requests = service.log.length;
      const { stdout } = await runPi(host, home, [...ourModel, "-p", "/kimi doctor"], env());
      expect(stdout).toContain("✓ kimi-cli: file: ~/.kimi/credentials/kimi-code.json");
      expect(service.refreshes()).toEqual([]);
      expect(service.log.slice(requests).filter(({ kind }) => !["models", "other"].includes(kind))).toEqual(
        [],
      );
      expect(snapshot()).toEqual(before);
    },
  );
});
