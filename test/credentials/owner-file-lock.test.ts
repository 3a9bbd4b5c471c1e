import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { lockOwnerFile, lockOwnerFileAmongUs } from "../../extensions/credentials/owner-file-lock.ts";
import { modeOf, put, temporaryDirectory } from "./support/homes.ts";
import { startNode } from "./support/processes.ts";

/** opencode-kimi-full's figure, ms. */
const STALE = 120_000;

async function hold(folder: string) {
  const outcome = await lockOwnerFile(folder, STALE, { timeout: 10_000 });
  if (outcome.state !== "held") throw new Error(JSON.stringify(outcome));
  return outcome.release;
}

async function lockUnder(cases: readonly object[]) {
  const args = [JSON.stringify(cases)];
  const lines = await startNode("lock-under-faults.ts", args, { preload: "failing-fs.cjs" }).rest();
  return lines.map((line) => JSON.parse(line));
}

describe("opencode-kimi-full's refresh lock", () => {
  it("is a directory with an owner.json that names the holder, as that program writes it, and where it runs", async () => {
    const folder = join(temporaryDirectory(), "lock");
    const release = await hold(folder);
    expect(readdirSync(folder)).toEqual(["owner.json"]);
    expect(modeOf(join(folder, "owner.json"))).toBe(0o600);
    expect(JSON.parse(readFileSync(join(folder, "owner.json"), "utf8"))).toEqual({
      token: expect.stringMatching(/^[0-9a-f-]{36}$/),
      pid: process.pid,
      host: hostname(),
      updatedAt: expect.closeTo(Date.now(), -4),
    });
    expect(await lockOwnerFile(folder, STALE, { timeout: 20 })).toEqual({ state: "busy" });
    await release();
    await release();
    expect(existsSync(folder)).toBe(false);
  });

  it("gives a sign of life every 30 s", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
    const folder = join(temporaryDirectory(), "lock");
    const release = await hold(folder);
    const owner = join(folder, "owner.json");
    const before = readFileSync(owner, "utf8");
    vi.advanceTimersByTime(30_000);
    await vi.waitFor(() => expect(readFileSync(owner, "utf8")).not.toBe(before), { interval: 5 });
    await release();
    vi.useRealTimers();
    expect(existsSync(folder)).toBe(false);
  });

  it("is taken from a holder that is silent for two minutes, whether it got to name itself or not", async () => {
    const home = temporaryDirectory();
    for (const [name, ago, state] of [
      ["a", 119, "busy"],
      ["b", 121, "held"],
    ] as const) {
      const named = put(join(home, name, "owner.json"), '{"token":"dead"}');
      const nameless = join(home, `${name}-nameless`);
      mkdirSync(nameless);
      const then = new Date(Date.now() - ago * 1000);
      utimesSync(named, then, then);
      utimesSync(nameless, then, then);
      expect(await lockOwnerFile(join(home, name), STALE, { timeout: 0 })).toMatchObject({ state });
      expect(await lockOwnerFile(nameless, STALE, { timeout: 0 })).toMatchObject({ state });
    }
    expect(readdirSync(home).sort()).toEqual(["a", "a-nameless", "b", "b-nameless"]);
  });

  it.each(['{"token":"another"}', "null", "{torn"])(
    "is not removed by a holder that has lost it: %j",
    async (successor) => {
      const folder = join(temporaryDirectory(), "lock");
      const release = await hold(folder);
      put(join(folder, "owner.json"), successor);
      await release();
      expect(readFileSync(join(folder, "owner.json"), "utf8")).toBe(successor);
    },
  );

  it("gives no sign of life in the name of a holder that has lost it", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
    const folder = join(temporaryDirectory(), "lock");
    const release = await hold(folder);
    const owner = put(join(folder, "owner.json"), '{"token":"another"}');
    vi.advanceTimersByTime(30_000);
    for (let i = 0; i < 20; i++) await readFile(owner); // longer than a sign of life takes
    await release();
    vi.useRealTimers();
    expect(readFileSync(owner, "utf8")).toBe('{"token":"another"}');
    expect(readdirSync(folder)).toEqual(["owner.json"]);
  });

  it("leaves nothing behind when the file system fails, and gives no sign of life in half", async () => {
    const [home, beaten] = [temporaryDirectory(), temporaryDirectory()];
    const failing = (call: string) => ({ folder: join(home, "lock"), faults: [{ call, code: "EIO" }] });
    const cases = [
      ...["mkdirSync", "writeFileSync", "renameSync"].map(failing),
      { folder: join(beaten, "lock"), faults: [], atBeat: [{ call: "renameSync", code: "EIO" }] },
    ];
    const nothing = { outcome: { state: "failed", code: "EIO" }, files: [] };
    const held = { outcome: { state: "held" }, files: ["lock", "lock/owner.json"] };
    expect(await lockUnder(cases)).toEqual([nothing, nothing, nothing, held]);
  });

  it("is left to whoever was quicker to put a dead holder's out of the way", async () => {
    const dead = () => {
      const folder = join(temporaryDirectory(), "lock");
      const owner = put(join(folder, "owner.json"), '{"token":"dead"}');
      utimesSync(owner, 0, 0);
      return folder;
    };
    const cases = ["ENOENT", "EACCES"].map((code) => ({
      folder: dead(),
      faults: [{ call: "renameSync", code }],
    }));
    const files = ["lock", "lock/owner.json"];
    expect(await lockUnder(cases)).toEqual([
      { outcome: { state: "busy" }, files },
      { outcome: { state: "failed", code: "EACCES" }, files },
    ]);
  });

  it("names what stands in its way", async () => {
    const home = temporaryDirectory();
    expect(await lockOwnerFile(join(home, "none", "lock"), STALE, { timeout: 0 })).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    // Whatever it is, it is no lock, and stays however old it is.
    const plain = put(join(home, "plain"), "");
    utimesSync(plain, 0, 0);
    expect(await lockOwnerFile(plain, STALE, { timeout: 0 })).toEqual({ state: "failed", code: "ENOTDIR" });
    expect(existsSync(plain)).toBe(true);
  });
});

describe("the same lock among processes of ours", () => {
  const NAMED = { token: "another", host: hostname() };

  /** A lock whose holder gave its last sign of life `ago` ms ago. */
  function left(holder: object | undefined, ago = 600_000): string {
    const folder = join(temporaryDirectory(), "lock");
    mkdirSync(folder);
    if (holder) put(join(folder, "owner.json"), JSON.stringify(holder));
    const then = new Date(Date.now() - ago);
    utimesSync(holder ? join(folder, "owner.json") : folder, then, then);
    return folder;
  }
  const take = (folder: string, timeout: number) => lockOwnerFileAmongUs(folder, { timeout });

  /** The id of a process that has ended. */
  const ended = () => spawnSync("true").pid;

  it.each([
    ["that has ended", () => ({ ...NAMED, pid: ended() })],
    ["of another machine", () => ({ ...NAMED, pid: process.pid, host: "elsewhere" })],
    ["that never got to name itself", () => undefined],
  ])("is taken from a holder %s after two seconds of silence, not at the first look", async (_, holder) => {
    const folder = left(holder());
    expect(await take(folder, 0)).toEqual({ state: "busy" });
    const started = performance.now();
    expect(await take(folder, 20_000)).toMatchObject({ state: "held" });
    expect(performance.now() - started).toBeGreaterThan(2_000);
  });

  it("is not taken from a process that lives, however long it is silent: it may have been stopped", async () => {
    const folder = left({ ...NAMED, pid: process.pid });
    expect(await take(folder, 3_500)).toEqual({ state: "busy" });
  });

  it("is not taken from a process of another user", async () => {
    vi.spyOn(process, "kill").mockImplementation(() => {
      throw Object.assign(new Error("not permitted"), { code: "EPERM" });
    });
    onTestFinished(() => void vi.restoreAllMocks());
    expect(await take(left({ ...NAMED, pid: 1 }), 3_500)).toEqual({ state: "busy" });
  });

  it("is not taken from a holder elsewhere that gives signs of life, whatever its clock says", async () => {
    const folder = left({ ...NAMED, pid: 1, host: "elsewhere" });
    let beats = 0;
    const beating = setInterval(() => {
      const then = new Date(Date.now() - 600_000 + ++beats * 1_000);
      utimesSync(join(folder, "owner.json"), then, then);
    }, 500);
    expect(await take(folder, 4_000)).toEqual({ state: "busy" });
    clearInterval(beating);
  });

  it("counts no time in which we were asleep as silence of the holder", async () => {
    const folder = left({ ...NAMED, pid: ended() });
    const real = performance.now.bind(performance);
    let asleep = 0;
    vi.spyOn(performance, "now").mockImplementation(() => real() + asleep);
    onTestFinished(() => void vi.restoreAllMocks());
    setTimeout(() => {
      asleep = 3_600_000;
    }, 300);
    expect(await take(folder, 1_200)).toEqual({ state: "busy" });
    expect(asleep).toBe(3_600_000);
  });

  it("falls when its holder is killed, and not while it is stopped", async () => {
    const folder = join(temporaryDirectory(), "lock");
    const peer = startNode("peer.ts", ["hold", "among us", folder]);
    expect(await peer.says()).toBe("held");
    peer.signal("SIGSTOP");
    expect(await take(folder, 3_500)).toEqual({ state: "busy" });
    await peer.kill();
    expect(await take(folder, 20_000)).toMatchObject({ state: "held" });
  });

  it("lets one process in at a time", async () => {
    const home = temporaryDirectory();
    const counter = put(join(home, "counter"), "0");
    const args = ["count", "among us", join(home, "lock"), counter, "10"];
    await Promise.all([1, 2, 3].map(() => startNode("peer.ts", args).rest()));
    expect(readFileSync(counter, "utf8")).toBe("30");
    expect(readdirSync(home)).toEqual(["counter"]);
  });
});
