import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { lock } from "proper-lockfile";
import { afterEach, describe, expect, it, vi } from "vitest";
import { guardedFs, lockDirectory } from "../../extensions/credentials/directory-lock.ts";
import { put, temporaryDirectory } from "./support/homes.ts";
import { startNode } from "./support/processes.ts";

const OPTIONS = { stale: 5_000, update: 1_000 };

async function hold(file: string, timeout = 10_000) {
  const outcome = await lockDirectory(file, OPTIONS, timeout);
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

describe("a directory lock", () => {
  it("excludes until it is released, which may be done twice", async () => {
    const file = join(temporaryDirectory(), "file");
    const release = await hold(file);
    expect(await lockDirectory(file, OPTIONS, 50)).toEqual({ state: "busy" });
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
    expect(await lockDirectory(join(home, "none", "file"), OPTIONS, 50)).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    put(join(home, "plain"), "");
    expect(await lockDirectory(join(home, "plain", "file"), OPTIONS, 50)).toEqual({
      state: "failed",
      code: "ENOTDIR",
    });
  });

  it("is taken from a holder that died longer ago than `stale`, and not sooner", async () => {
    const home = temporaryDirectory();
    leaveDead(join(home, "sooner"), 3_000);
    leaveDead(join(home, "later"), 6_000);
    expect(await lockDirectory(join(home, "sooner"), OPTIONS, 0)).toEqual({ state: "busy" });
    expect(await lockDirectory(join(home, "later"), OPTIONS, 0)).toMatchObject({ state: "held" });
  });

  it("gives a sign of life every `update` ms", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const file = join(temporaryDirectory(), "file");
    const release = await hold(file);
    const past = statSync(`${file}.lock`).mtime;
    vi.advanceTimersByTime(OPTIONS.update);
    await vi.waitFor(() => expect(statSync(`${file}.lock`).mtime).not.toEqual(past), { interval: 5 });
    await release();
    expect(existsSync(`${file}.lock`)).toBe(false);
  });

  it("survives having lost the lock while asleep, and leaves the successor's alone", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const file = join(temporaryDirectory(), "file");
    const noticed = await hold(file);
    rmdirSync(`${file}.lock`);
    vi.advanceTimersByTime(OPTIONS.update); // proper-lockfile finds out, and by default would throw from its timer
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

  it("is the lock of proper-lockfile with kimi-code's options, in both directions", async () => {
    const file = put(join(temporaryDirectory(), "kimi-code"), "");
    const theirs = { stale: 5_000, realpath: false, retries: 0 };
    const release = await hold(file);
    await expect(lock(file, theirs)).rejects.toMatchObject({ code: "ELOCKED" });
    await release();
    const releaseTheirs = await lock(file, theirs);
    expect(await lockDirectory(file, OPTIONS, 50)).toEqual({ state: "busy" });
    await releaseTheirs();
    await (await hold(file, 0))();
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
    expect(await lockDirectory(file, OPTIONS, 0)).toEqual({ state: "busy" });
    const then = new Date(Date.now() - OPTIONS.stale - 1);
    utimesSync(`${file}.lock`, then, then);
    expect(await lockDirectory(file, OPTIONS, 0)).toMatchObject({ state: "held" });
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
