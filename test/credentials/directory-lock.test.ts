import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  guardedFs,
  lockDirectory,
  lockDirectorySync,
  waitForLock,
} from "../../extensions/credentials/directory-lock.ts";
import type { LockOutcome } from "../../extensions/credentials/store.ts";
import { put, temporaryDirectory } from "./support/homes.ts";
import { startNode } from "./support/processes.ts";

const STALE = 5_000;
const UPDATE = 1_000;

async function hold(file: string, timeout = 10_000) {
  const outcome = await lockDirectory(file, STALE, { timeout });
  if (outcome.state !== "held") throw new Error(JSON.stringify(outcome));
  return outcome.release;
}

/** What a holder leaves that died `ago` ms ago. */
function leaveDead(file: string, ago: number): void {
  mkdirSync(`${file}.lock`);
  const then = new Date(Date.now() - ago);
  utimesSync(`${file}.lock`, then, then);
}

afterEach(() => void vi.useRealTimers());

describe("waiting for a lock", () => {
  const BUSY: LockOutcome = { state: "busy" };

  /** Tries that give these outcomes in turn, the last one from then on; how many there were. */
  function outcomes(...list: LockOutcome[]) {
    let made = 0;
    return { made: () => made, attempt: () => list[Math.min(made++, list.length - 1)] ?? BUSY };
  }

  it.each<LockOutcome>([
    { state: "failed", code: "EACCES" },
    { state: "held", release: async () => {} },
  ])("ends where the lock is $state", async (outcome) => {
    const tries = outcomes(BUSY, BUSY, outcome, BUSY);
    expect(await waitForLock({ timeout: 10_000 }, tries.attempt)).toBe(outcome);
    expect(tries.made()).toBe(3);
  });

  it("is one try where there is no time, or the signal has fired", async () => {
    for (const patience of [{ timeout: 0 }, { timeout: 600_000, signal: AbortSignal.abort() }]) {
      const tries = outcomes(BUSY);
      expect(await waitForLock(patience, tries.attempt)).toEqual(BUSY);
      expect(tries.made()).toBe(1);
    }
  });

  it("ends when the signal fires", async () => {
    const stop = new AbortController();
    const tries = outcomes(BUSY);
    const attempt = () => {
      if (tries.made() === 3) stop.abort();
      return tries.attempt();
    };
    expect(await waitForLock({ timeout: 600_000, signal: stop.signal }, attempt)).toEqual(BUSY);
    expect(tries.made()).toBe(4);
  });

  it("lasts until the time is over, at first with a look soon, later at most every 75 ms", async () => {
    const tries = outcomes(BUSY);
    const started = performance.now();
    expect(await waitForLock({ timeout: 600 }, tries.attempt)).toEqual(BUSY);
    expect(performance.now() - started).toBeGreaterThanOrEqual(590);
    // 10, 20, 40, 80 and 150 ms apart, each by half at the least.
    expect(tries.made()).toBeGreaterThanOrEqual(5);
    expect(tries.made()).toBeLessThanOrEqual(14);
  });

  it("throws what a try throws", async () => {
    const broken = () => Promise.reject(new Error("broken"));
    await expect(waitForLock({ timeout: 10_000 }, broken)).rejects.toThrow("broken");
  });
});

describe("a directory lock", () => {
  it("excludes until it is released, which may be done twice", async () => {
    const file = join(temporaryDirectory(), "file");
    const release = await hold(file);
    expect(await lockDirectory(file, STALE, { timeout: 50 })).toEqual({ state: "busy" });
    const waiting = hold(file);
    await release();
    const second = await waiting;
    await release();
    expect(existsSync(`${file}.lock`)).toBe(true);
    await second();
    expect(existsSync(`${file}.lock`)).toBe(false);
  });

  it("names what stands in its way", async () => {
    const home = temporaryDirectory();
    expect(await lockDirectory(join(home, "none", "file"), STALE, { timeout: 50 })).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    put(join(home, "plain"), "");
    expect(await lockDirectory(join(home, "plain", "file"), STALE, { timeout: 50 })).toEqual({
      state: "failed",
      code: "ENOTDIR",
    });
  });

  it("is taken from a holder that died longer ago than `stale`, and not sooner", async () => {
    const home = temporaryDirectory();
    leaveDead(join(home, "sooner"), 3_000);
    leaveDead(join(home, "later"), 6_000);
    expect(await lockDirectory(join(home, "sooner"), STALE, { timeout: 0 })).toEqual({ state: "busy" });
    expect(await lockDirectory(join(home, "later"), STALE, { timeout: 0 })).toMatchObject({ state: "held" });
  });

  it("gives a sign of life every second", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const file = join(temporaryDirectory(), "file");
    const release = await hold(file);
    const past = statSync(`${file}.lock`).mtime;
    vi.advanceTimersByTime(UPDATE);
    await vi.waitFor(() => expect(statSync(`${file}.lock`).mtime).not.toEqual(past), { interval: 5 });
    await release();
    expect(existsSync(`${file}.lock`)).toBe(false);
  });

  it("survives having lost the lock while asleep, and leaves the successor's alone", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const file = join(temporaryDirectory(), "file");
    const noticed = await hold(file);
    rmdirSync(`${file}.lock`);
    vi.advanceTimersByTime(UPDATE); // proper-lockfile finds out, and by default would throw from its timer
    await new Promise(setImmediate);
    leaveDead(file, -4_000);
    await noticed();
    expect(existsSync(`${file}.lock`)).toBe(true);

    rmdirSync(`${file}.lock`);
    const unnoticed = await hold(file);
    rmdirSync(`${file}.lock`);
    leaveDead(file, -4_000);
    await unnoticed();
    expect(existsSync(`${file}.lock`)).toBe(true);
  });
});

describe("a directory lock taken in one step", () => {
  it("excludes as the other does, and throws where it is held", async () => {
    const file = join(temporaryDirectory(), "file");
    const release = lockDirectorySync(file, STALE);
    expect(await lockDirectory(file, STALE, { timeout: 0 })).toEqual({ state: "busy" });
    expect(() => lockDirectorySync(file, STALE)).toThrow(expect.objectContaining({ code: "ELOCKED" }));
    release();
    expect(existsSync(`${file}.lock`)).toBe(false);
    expect(release).not.toThrow();
  });
});

describe("a directory lock among processes", () => {
  it("lets one in at a time, also when all of them find a dead holder's lock", async () => {
    const home = temporaryDirectory();
    const file = join(home, "file");
    const counter = put(join(home, "counter"), "0");
    leaveDead(file, 60_000);
    const peers = [1, 2, 3, 4].map(() => startNode("peer.ts", ["count", "directory", file, counter, "15"]));
    await Promise.all(peers.map((peer) => peer.rest()));
    expect(readFileSync(counter, "utf8")).toBe("60");
    expect(readdirSync(home)).toEqual(["counter"]);
  });

  it("is let go of by a process that exits, and outlives one that is killed only until it is stale", async () => {
    const file = join(temporaryDirectory(), "file");
    await startNode("peer.ts", ["exit", "directory", file]).rest();
    expect(existsSync(`${file}.lock`)).toBe(false);
    const peer = startNode("peer.ts", ["hold", "directory", file]);
    expect(await peer.says()).toBe("held");
    await peer.kill();
    expect(await lockDirectory(file, STALE, { timeout: 0 })).toEqual({ state: "busy" });
    const then = new Date(Date.now() - STALE - 1);
    utimesSync(`${file}.lock`, then, then);
    expect(await lockDirectory(file, STALE, { timeout: 0 })).toMatchObject({ state: "held" });
  });
});

describe("the calls by which proper-lockfile works", () => {
  /** A lock's folder that was last touched `ago` ms ago. */
  function folder(ago: number): string {
    const file = join(temporaryDirectory(), "file");
    leaveDead(file, ago);
    return `${file}.lock`;
  }
  type Calls = ReturnType<typeof guardedFs>;
  const rmdir = (calls: Calls, path: string) =>
    new Promise<unknown>((done) => calls.rmdir(path, (error) => done(error)));
  const touch = (calls: Calls, path: string, at: Date) =>
    new Promise<unknown>((done) => calls.utimes(path, at, at, done));

  it("remove a dead holder's folder", async () => {
    const path = folder(5_001);
    expect(await rmdir(guardedFs(5_000), path)).toBeNull();
    expect(existsSync(path)).toBe(false);
  });

  it("do not remove the folder that a quicker waiter has made in its place", async () => {
    const path = folder(4_000);
    expect(await rmdir(guardedFs(5_000), path)).toMatchObject({ code: "ELOCKED" });
    expect(existsSync(path)).toBe(true);
  });

  it("say so where there is no folder any more", async () => {
    expect(await rmdir(guardedFs(5_000), join(temporaryDirectory(), "none"))).toMatchObject({
      code: "ENOENT",
    });
  });

  it.each(["rmdir", "rmdirSync"] as const)("remove our own folder, whatever its age: %s", async (how) => {
    const path = folder(0);
    const calls = guardedFs(5_000);
    expect(await touch(calls, path, new Date(Date.now() - 60_000))).toBeNull();
    if (how === "rmdir") expect(await rmdir(calls, path)).toBeNull();
    else calls.rmdirSync(path);
    expect(existsSync(path)).toBe(false);
  });

  it("leave a successor's folder, without a word", async () => {
    const path = folder(0);
    const calls = guardedFs(5_000);
    await touch(calls, path, new Date(Date.now() - 60_000));
    const now = new Date();
    utimesSync(path, now, now);
    expect(await rmdir(calls, path)).toBeNull();
    expect(existsSync(path)).toBe(true);
  });

  it("take nothing for our own that could not be touched", async () => {
    const path = folder(0);
    const calls = guardedFs(5_000);
    expect(await touch(calls, `${path}/none`, new Date(Date.now() - 60_000))).toMatchObject({
      code: "ENOENT",
    });
    expect(await rmdir(calls, path)).toMatchObject({ code: "ELOCKED" });
  });
});
