import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { lockWithOwnerFile } from "../../extensions/credentials/opencode-lock.ts";
import { modeOf, put, temporaryDirectory } from "./support/homes.ts";
import { startNode } from "./support/processes.ts";

async function hold(folder: string) {
  const outcome = await lockWithOwnerFile(folder, 10_000);
  if (outcome.state !== "held") throw new Error(JSON.stringify(outcome));
  return outcome.release;
}

async function lockUnder(cases: readonly object[]) {
  const args = [JSON.stringify(cases)];
  const lines = await startNode("lock-under-faults.ts", args, { preload: "failing-fs.cjs" }).rest();
  return lines.map((line) => JSON.parse(line));
}

describe("opencode-kimi-full's refresh lock", () => {
  it("is a directory with an owner.json that names the holder, as that program writes it", async () => {
    const folder = join(temporaryDirectory(), "lock");
    const release = await hold(folder);
    expect(readdirSync(folder)).toEqual(["owner.json"]);
    expect(modeOf(join(folder, "owner.json"))).toBe(0o600);
    expect(JSON.parse(readFileSync(join(folder, "owner.json"), "utf8"))).toEqual({
      token: expect.stringMatching(/^[0-9a-f-]{36}$/),
      pid: process.pid,
      updatedAt: expect.closeTo(Date.now(), -4),
    });
    expect(await lockWithOwnerFile(folder, 20)).toEqual({ state: "busy" });
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
      expect(await lockWithOwnerFile(join(home, name), 0)).toMatchObject({ state });
      expect(await lockWithOwnerFile(nameless, 0)).toMatchObject({ state });
    }
    expect(readdirSync(home).sort()).toEqual(["a", "a-nameless", "b", "b-nameless"]);
  });

  it.each(['{"token":"another"}', '{"pid":1}', "null", "[]", "7", "{torn", ""])(
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
    expect(await lockWithOwnerFile(join(home, "none", "lock"), 0)).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    // Whatever it is, it is no lock, and stays however old it is.
    const plain = put(join(home, "plain"), "");
    utimesSync(plain, 0, 0);
    expect(await lockWithOwnerFile(plain, 0)).toEqual({ state: "failed", code: "ENOTDIR" });
    expect(existsSync(plain)).toBe(true);
  });
});
