import { getEventListeners } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { lockFile, usualSearchPath } from "../../extensions/credentials/flock.ts";
import { modeOf, put, temporaryDirectory } from "./support/homes.ts";
import { pretendPlatform } from "./support/platform.ts";
import { children, hasPython, startNode, startPeer, startPython } from "./support/processes.ts";

const RUN = join(import.meta.dirname, "support/run.mjs");

/** As kimi-cli opens and locks its file. */
const PYTHON = `
import fcntl, os, sys
path, task = sys.argv[1:3]
def take(how):
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, how)
        return fd
    except OSError:
        os.close(fd)
if task == "hold":
    fd = take(fcntl.LOCK_EX)
    print("held")
    sys.stdin.readline()
    os.close(fd)
    print("released")
elif task == "try":
    print("busy" if take(fcntl.LOCK_EX | fcntl.LOCK_NB) is None else "held")
else:
    counter = sys.argv[3]
    for _ in range(int(sys.argv[4])):
        fd = take(fcntl.LOCK_EX)
        os.mkdir(counter + ".inside")
        value = int(open(counter).read())
        open(counter, "w").write(str(value + 1))
        os.rmdir(counter + ".inside")
        os.close(fd)
`;

const pythonTries = (path: string) => startPython(PYTHON, [path, "try"]).says();

async function hold(path: string, searchPath?: string) {
  const outcome = await lockFile(path, { timeout: 10_000 }, searchPath);
  if (outcome.state !== "held") throw new Error(JSON.stringify(outcome));
  return outcome.release;
}

describe("flock(2)", () => {
  it("creates the lock file with mode 0600, leaves one that is there as it is, and never removes it", async () => {
    const home = temporaryDirectory();
    const release = await hold(join(home, "new"));
    expect(modeOf(join(home, "new"))).toBe(0o600);
    await release();
    expect(readFileSync(join(home, "new"), "utf8")).toBe("");
    await (await hold(put(join(home, "old"), "content")))();
    expect(readFileSync(join(home, "old"), "utf8")).toBe("content");
  });

  it("excludes a second holder in the same process until it is released, which may be done twice", async () => {
    const path = join(temporaryDirectory(), "lock");
    const countOpen = () => readdirSync("/dev/fd").length;
    const before = countOpen();
    const release = await hold(path);
    expect(await lockFile(path, { timeout: 60 })).toEqual({ state: "busy" });
    expect(countOpen()).toBe(before + 1);
    const waiting = hold(path);
    await Promise.all([release(), release()]);
    await (await waiting)();
    await release();
    expect(countOpen()).toBe(before);
  });

  it("falls when its holder is killed", async () => {
    const path = join(temporaryDirectory(), "lock");
    const peer = startNode("peer.ts", ["hold", "flock", path]);
    expect(await peer.says()).toBe("held");
    expect(await lockFile(path, { timeout: 0 })).toEqual({ state: "busy" });
    await peer.kill();
    expect(await lockFile(path, { timeout: 0 })).toMatchObject({ state: "held" });
  });

  it("names what stands in its way", async () => {
    const home = temporaryDirectory();
    expect(await lockFile(join(home, "none", "lock"), { timeout: 10 })).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    expect(await lockFile(home, { timeout: 10 })).toEqual({ state: "failed", code: "EISDIR" });
  });

  it("says so where there is no means to take it", async () => {
    const path = join(temporaryDirectory(), "lock");
    const unsupported = { state: "failed", code: "ENOTSUP" };
    expect(await lockFile(path, { timeout: 10 }, "/nonexistent")).toEqual(unsupported);
    pretendPlatform("win32");
    expect(await lockFile(path, { timeout: 10 })).toEqual(unsupported);
  });

  /** Where these programs are found, and no others. */
  function programs(scripts: Readonly<Record<string, string>>, mode = 0o700): string {
    const bin = join(temporaryDirectory(), "bin");
    for (const [name, script] of Object.entries(scripts)) {
      chmodSync(put(join(bin, name), `#!/bin/sh\n${script}\n`), mode);
    }
    return bin;
  }

  it("tries the next program where one is not to be run, or says that it cannot", async () => {
    const path = join(temporaryDirectory(), "lock");
    const searchPath = programs({ flock: "exit 65", perl: "exit 0" });
    expect(await lockFile(path, { timeout: 0 }, searchPath)).toMatchObject({ state: "held" });
    for (const bin of [programs({ flock: "exit 65", perl: "exit 2" }), programs({ flock: "" }, 0o600)]) {
      expect(await lockFile(path, { timeout: 0 }, bin)).toEqual({
        state: "failed",
        code: "ENOTSUP",
      });
    }
  });

  it.each<[string, () => string, string]>([
    // Longer than one variable of the environment may be.
    ["cannot be started", () => `/usr/bin:/bin:${"/x".repeat(100_000)}`, "E2BIG"],
    ["is killed", () => programs({ flock: "kill -9 $$", perl: "exit 2" }), "EINTR"],
    ["may not be loaded", () => programs({ flock: "exit 126", perl: "exit 2" }), "ENOEXEC"],
  ])("is not given up as impossible when the program %s", async (_, searchPath, code) => {
    const path = join(temporaryDirectory(), "lock");
    for (const timeout of [0, 10_000]) {
      expect(await lockFile(path, { timeout }, searchPath())).toEqual({ state: "failed", code });
    }
  });

  it("does not hang on a program that does, in a file system that does not answer", async () => {
    const path = join(temporaryDirectory(), "lock");
    const searchPath = programs({ flock: "exec /bin/sleep 60", perl: "exit 2" });
    expect(await lockFile(path, { timeout: 0 }, searchPath)).toEqual({ state: "failed", code: "ETIMEDOUT" });
  });

  describe("while it waits", () => {
    async function held() {
      const path = join(temporaryDirectory(), "lock");
      return { path, release: await hold(path) };
    }

    it("is told by the system, not by looking: one child, until the holder lets go", async () => {
      const { path, release } = await held();
      const calls = join(path, "..", "calls");
      const searchPath = programs({ flock: `echo "$@" >> "${calls}"; exec /usr/bin/flock "$@"` });
      const waiting = lockFile(path, { timeout: 20_000 }, searchPath);
      await vi.waitFor(() => expect(readFileSync(calls, "utf8")).toBe("-x 3\n"));
      await release();
      expect(await waiting).toMatchObject({ state: "held" });
      expect(readFileSync(calls, "utf8")).toBe("-x 3\n");
    });

    it("gives up when its time is over, and leaves no child behind", async () => {
      const { path } = await held();
      const before = children();
      expect(await lockFile(path, { timeout: 60 })).toEqual({ state: "busy" });
      expect(children()).toBe(before);
    });

    it("gives up at once when the signal fires, or has fired", async () => {
      const { path, release } = await held();
      const stop = new AbortController();
      const before = children();
      const waiting = lockFile(path, { timeout: 600_000, signal: stop.signal });
      await vi.waitFor(() => expect(children()).toBe(before + 1), { interval: 5 });
      stop.abort();
      expect(await waiting).toEqual({ state: "busy" });
      expect(getEventListeners(stop.signal, "abort")).toEqual([]);
      expect(await lockFile(path, { timeout: 600_000, signal: stop.signal })).toEqual({ state: "busy" });
      await release();
      // One look is made all the same.
      expect(await lockFile(path, { timeout: 600_000, signal: stop.signal })).toMatchObject({
        state: "held",
      });
    });

    it("takes the lock of the file that is there by then, when the one it waited for was replaced", async () => {
      const { path, release } = await held();
      const before = children();
      const waiting = hold(path);
      await vi.waitFor(() => expect(children()).toBe(before + 1), { interval: 5 });
      rmSync(path);
      await release();
      await waiting;
      expect(await lockFile(path, { timeout: 0 })).toEqual({ state: "busy" });
    });
  });

  it("says so when the process has no files left to open", async () => {
    const path = put(join(temporaryDirectory(), "lock"), "");
    const script = 'ulimit -n 64 && exec "$@"';
    const run = [RUN, join(import.meta.dirname, "support/out-of-files.ts"), path];
    const said = await startPeer("/bin/sh", ["-c", script, "sh", process.execPath, ...run]).rest();
    expect([...new Set(said)]).toEqual(["EMFILE", "held"]);
  });

  it("needs no child on macOS, where open(2) takes the lock itself", async () => {
    const path = join(temporaryDirectory(), "lock");
    pretendPlatform("darwin");
    const outcome = await lockFile(path, { timeout: 10 }, "/nonexistent");
    expect(outcome).toMatchObject({ state: "held" });
    if (outcome.state === "held") await outcome.release();
  });

  it("takes the system's programs before those that a project puts into PATH", async () => {
    const called = join(temporaryDirectory(), "called");
    vi.stubEnv("PATH", `${programs({ flock: `touch "${called}"` })}:${process.env.PATH}`);
    onTestFinished(() => void vi.unstubAllEnvs());
    await (await hold(join(called, "..", "lock")))();
    expect(existsSync(called)).toBe(false);
  });

  it.each([
    [":/opt/bin::", ":/opt/bin"],
    [undefined, ""],
  ])(
    "is looked for in the system's directories, and in those of PATH %j, but never in the folder we are in",
    (path, more) => {
      expect(usualSearchPath(path)).toBe(`/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin${more}`);
    },
  );

  it("asks again under the file's own name when the file was replaced meanwhile", async () => {
    const path = join(temporaryDirectory(), "lock");
    // A flock(1) that succeeds, but whose file is gone by then.
    const searchPath = programs({ flock: `/bin/rm "${path}"` });
    expect(await lockFile(path, { timeout: 0 }, searchPath)).toEqual({ state: "busy" });
  });

  it("tells the child nothing but where to find programs", async () => {
    const home = temporaryDirectory();
    const searchPath = programs({ flock: `/usr/bin/env > "${home}/env"; exec /usr/bin/flock "$@"` });
    await (await hold(join(home, "lock"), searchPath))();
    const names = readFileSync(join(home, "env"), "utf8").match(/^\w+(?==)/gm);
    expect(names?.filter((name) => !["PWD", "SHLVL", "_", "OLDPWD"].includes(name))).toEqual(["PATH"]);
  });
});

const PROGRAMS = ["flock", "perl"].map((name) =>
  ["/usr/bin", "/bin"].map((bin) => `${bin}/${name}`).find(existsSync),
);

describe.skipIf(!hasPython).each(PROGRAMS.filter((path) => path !== undefined))(
  "flock(2) by %s, against Python",
  (program) => {
    function onlyThat(home: string): string {
      const bin = join(home, "bin");
      mkdirSync(bin);
      symlinkSync(program, join(bin, program.endsWith("perl") ? "perl" : "flock"));
      return bin;
    }

    it("keeps Python out while we hold it, and lets it in afterwards", async () => {
      const home = temporaryDirectory();
      const path = join(home, "lock");
      const release = await hold(path, onlyThat(home));
      expect(await pythonTries(path)).toBe("busy");
      await release();
      expect(await pythonTries(path)).toBe("held");
    });

    it("waits for Python, and does not wait for a Python that was killed", async () => {
      const home = temporaryDirectory();
      const path = join(home, "lock");
      const searchPath = onlyThat(home);
      const patient = startPython(PYTHON, [path, "hold"]);
      expect(await patient.says()).toBe("held");
      expect(await lockFile(path, { timeout: 100 }, searchPath)).toEqual({ state: "busy" });
      const waiting = hold(path, searchPath);
      patient.tell("let go");
      await (await waiting)();

      const dying = startPython(PYTHON, [path, "hold"]);
      expect(await dying.says()).toBe("held");
      await dying.kill();
      expect(await lockFile(path, { timeout: 0 }, searchPath)).toMatchObject({ state: "held" });
    });
  },
);

describe.skipIf(!hasPython)("flock(2) among processes", () => {
  it("lets one in at a time: Python's and ours", async () => {
    const home = temporaryDirectory();
    const path = join(home, "lock");
    const counter = put(join(home, "counter"), "0");
    const ours = [1, 2].map(() => startNode("peer.ts", ["count", "flock", path, counter, "15"]));
    const theirs = [1, 2].map(() => startPython(PYTHON, [path, "count", counter, "15"]));
    await Promise.all([...ours, ...theirs].map((peer) => peer.rest()));
    expect(readFileSync(counter, "utf8")).toBe("60");
  });
});
