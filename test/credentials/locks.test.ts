/** The locks under which a login is renewed: which, in which order, and what may stand in their place. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { lock as lockProperly } from "proper-lockfile";
import { describe, expect, it, vi } from "vitest";
import { lockFile } from "../../extensions/credentials/flock.ts";
import { takeLocks } from "../../extensions/credentials/locks.ts";
import type { CredentialStore, Owner, Patience, Release } from "../../extensions/credentials/store.ts";
import { kimiCliStore, opencodeKimiFullStore } from "../../extensions/credentials/stores.ts";
import { listing, put, temporaryDirectory } from "./support/homes.ts";
import { pretendPlatform } from "./support/platform.ts";
import { children, startNode } from "./support/processes.ts";
import { homeWith, type OpenStore, openKimiCode, STORES } from "./support/stores.ts";

const AT_ONCE: Patience = { timeout: 0 };

const OPENCODE_LOCK = "opencode/auth.json.kimi-for-coding-oauth.refresh.lock";

/** Each store's locks in order, and whether each is a folder. */
const LOCKS: Readonly<Record<Owner, readonly (readonly [path: string, isFolder: boolean])[]>> = {
  "kimi-cli": [
    ["credentials/kimi-code.pi.flock", false],
    ["credentials/kimi-code.lock", false],
  ],
  "kimi-code": [
    ["credentials/kimi-code.pi.flock", false],
    ["oauth/kimi-code.lock", true],
  ],
  "opencode-kimi-full": [
    ["opencode/kimi-code.pi.flock", false],
    [OPENCODE_LOCK, true],
  ],
  "opencode-kimi-auth": [["oauth.pi.flock", false]],
  pi: [["kimi-coder.pi.flock", false]],
};

function newStore(open: OpenStore) {
  const { home, store } = homeWith(open);
  return { home, store, at: (path: string) => join(home, path) };
}

async function held(store: CredentialStore, patience = AT_ONCE): Promise<Release> {
  const locking = await takeLocks(store, patience);
  if (locking.state === "failed") throw new Error(JSON.stringify(locking.failure));
  return locking.release;
}

const isOpen = (path: string) =>
  readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  });

const stores = Object.values(STORES).map((open) => ({ open, owner: open("/").owner }));

describe.each(stores)("$owner's login", ({ open, owner }) => {
  const locks = LOCKS[owner];

  it("has its locks where they are said to be, and they exclude until they are released", async () => {
    const { home, store, at } = newStore(open);
    const release = await held(store);
    expect(store.locks.map(({ path }) => relative(home, path))).toEqual(locks.map(([path]) => path));
    for (const [path, isFolder] of locks) expect(statSync(at(path)).isDirectory()).toBe(isFolder);
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure: { kind: "busy" } });
    const waiting = held(store, { timeout: 10_000 });
    await release();
    const second = await waiting;
    await release();
    expect((await takeLocks(store, AT_ONCE)).state).toBe("failed");
    await second();
    for (const [path, isFolder] of locks) expect(existsSync(at(path))).toBe(!isFolder);
  });

  it("is not locked, and nothing is made, where it is not", async () => {
    const home = temporaryDirectory();
    const store = open(join(home, "none"));
    const failure = { kind: "lock", code: "ENOENT", path: store.path };
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure });
    expect(listing(home)).toEqual([]);
  });

  it("is locked among pi's processes also where there is no flock", async () => {
    pretendPlatform("win32");
    const { store, at } = newStore(open);
    const [[ours, wasFolder], owners] = [locks[0] ?? ["", false], locks[1]];
    const release = await held(store);
    expect([wasFolder, statSync(at(`${ours}.d`)).isDirectory()]).toEqual([false, true]);
    if (owners) expect(existsSync(at(owners[0]))).toBe(owners[1]);
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure: { kind: "busy" } });
    await release();
    expect(existsSync(at(`${ours}.d`))).toBe(false);
  });

  it.each([
    ["an empty folder", []],
    ["a folder that somebody has looked into on a Mac", [".DS_Store"]],
  ])("is locked although %s stands in the place of our lock", async (_name, files) => {
    const { store, at } = newStore(open);
    const ours = at(locks[0]?.[0] ?? "");
    mkdirSync(ours);
    for (const name of files) writeFileSync(join(ours, name), "");
    await (await held(store))();
    expect(statSync(ours).isFile()).toBe(true);
  });

  it("is not locked where a folder with something of value is in the place of our lock; it is named", async () => {
    const { store, at } = newStore(open);
    const ours = at(locks[0]?.[0] ?? "");
    const value = put(join(ours, "letter"), "dear");
    const failure = { kind: "lock", code: "EISDIR", path: ours };
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure });
    expect(readFileSync(value, "utf8")).toBe("dear");
  });

  it("is locked although a plain file is in the place of the folder that stands in for our lock", async () => {
    pretendPlatform("win32");
    const { store, at } = newStore(open);
    const folder = put(at(`${locks[0]?.[0]}.d`), "");
    const release = await held(store);
    expect(statSync(folder).isDirectory()).toBe(true);
    await release();
  });
});

describe("the owner's lock", () => {
  it("is asked for only under our own, and our own is let go of where it is not to be had", async () => {
    const { store, at } = newStore(kimiCliStore);
    const [ours, owners] = [at("credentials/kimi-code.pi.flock"), at("credentials/kimi-code.lock")];
    const other = await lockFile(ours, AT_ONCE);
    expect((await takeLocks(store, AT_ONCE)).state).toBe("failed");
    expect(existsSync(owners)).toBe(false);
    if (other.state === "held") await other.release();

    const theirs = await lockFile(owners, AT_ONCE);
    expect(await takeLocks(store, { timeout: 60 })).toEqual({ state: "failed", failure: { kind: "busy" } });
    expect(await lockFile(ours, AT_ONCE)).toMatchObject({ state: "held" });
    if (theirs.state === "held") await theirs.release();
  });

  it("is let go of first, so that whoever gets ours need not wait for it", async () => {
    const { store, at } = newStore(opencodeKimiFullStore);
    const release = await held(store);
    const released = release();
    expect([existsSync(at(OPENCODE_LOCK)), isOpen(at("opencode/kimi-code.pi.flock"))]).toEqual([false, true]);
    await released;
    expect(isOpen(at("opencode/kimi-code.pi.flock"))).toBe(false);
  });

  it("is waited for until the signal fires", async () => {
    const { store, at } = newStore(kimiCliStore);
    await lockFile(at("credentials/kimi-code.lock"), AT_ONCE);
    const stop = new AbortController();
    const before = children();
    const waiting = takeLocks(store, { timeout: 600_000, signal: stop.signal });
    // A child takes our lock, then another waits for the owner's.
    await vi.waitFor(() => expect(children()).toBe(before + 1), { interval: 5 });
    stop.abort();
    expect(await waiting).toEqual({ state: "failed", failure: { kind: "busy" } });
  });

  it.each<[string, (home: string) => CredentialStore, string, (path: string) => void, string]>([
    ["kimi-cli's, a folder", kimiCliStore, "credentials/kimi-code.lock", mkdirSync, "EISDIR"],
    [
      "kimi-code's, a plain file",
      openKimiCode,
      "oauth/kimi-code.lock",
      (path) => void put(path, ""),
      "ENOTDIR",
    ],
    [
      "kimi-code's, a folder with something in it",
      openKimiCode,
      "oauth/kimi-code.lock",
      (path) => void put(join(path, ".DS_Store"), ""),
      "ENOTEMPTY",
    ],
    [
      "opencode's, a plain file",
      opencodeKimiFullStore,
      OPENCODE_LOCK,
      (path) => void put(path, ""),
      "ENOTDIR",
    ],
  ])("is not mended, because it is not ours, but named: %s", async (_name, open, path, make, code) => {
    const { store, at } = newStore(open);
    make(at(path));
    const old = new Date(Date.now() - 600_000);
    utimesSync(at(path), old, old);
    const before = listing(dirname(at(path)));
    const failure = { kind: "lock", code, path: at(path) };
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure });
    expect(listing(dirname(at(path)))).toEqual(expect.arrayContaining(before));
  });
});

describe("kimi-code's lock", () => {
  it("is named where a file is in the place of the folder that it is in", async () => {
    const { store, at } = newStore(openKimiCode);
    put(at("oauth"), "theirs");
    const failure = { kind: "lock", code: "ENOTDIR", path: at("oauth/kimi-code.lock") };
    expect(await takeLocks(store, AT_ONCE)).toEqual({ state: "failed", failure });
    expect(readFileSync(at("oauth"), "utf8")).toBe("theirs");
  });

  const THEIRS = { stale: 5_000, realpath: false };

  it("is taken as kimi-code takes it, on an empty file; what it keeps there stays", async () => {
    const { store, at } = newStore(openKimiCode);
    const sentinel = at("oauth/kimi-code");
    const release = await held(store);
    expect(readFileSync(sentinel, "utf8")).toBe("");
    await expect(lockProperly(sentinel, THEIRS)).rejects.toMatchObject({ code: "ELOCKED" });
    await release();
    const releaseTheirs = await lockProperly(sentinel, THEIRS);
    expect((await takeLocks(store, AT_ONCE)).state).toBe("failed");
    await releaseTheirs();
    writeFileSync(sentinel, "theirs");
    await (await held(store))();
    expect(readFileSync(sentinel, "utf8")).toBe("theirs");
  });

  it("is taken from a holder that has been silent for five seconds, as kimi-code takes it", async () => {
    const { store, at } = newStore(openKimiCode);
    mkdirSync(at("oauth/kimi-code.lock"), { recursive: true });
    const silentFor = (ms: number) => {
      const then = new Date(Date.now() - ms);
      utimesSync(at("oauth/kimi-code.lock"), then, then);
    };
    silentFor(4_000);
    expect((await takeLocks(store, AT_ONCE)).state).toBe("failed");
    silentFor(5_001);
    await (await held(store))();
  });
});

describe("among processes", () => {
  it.each([
    ["kimi-cli", {}],
    ["kimi-cli", { PLATFORM: "win32" }],
    ["kimi-code", {}],
    ["opencode", {}],
  ])("one at a time is let in to the login of %s, also past a dead owner's lock: %j", async (kind, env) => {
    const home = temporaryDirectory();
    const open = { "kimi-cli": kimiCliStore, "kimi-code": openKimiCode, opencode: opencodeKimiFullStore }[
      kind
    ];
    put(open?.(home).path ?? "", "{}");
    for (const dead of [join(home, OPENCODE_LOCK), join(home, "oauth/kimi-code.lock")]) {
      mkdirSync(dead, { recursive: true });
      utimesSync(dead, 0, 0);
    }
    const counter = put(join(home, "counter"), "0");
    const args = ["count", kind, home, counter, "5"];
    await Promise.all(
      [1, 2, 3].map(() => startNode("peer.ts", args, { env: { ...process.env, ...env } }).rest()),
    );
    expect(readFileSync(counter, "utf8")).toBe("15");
  });

  it("a holder that is stopped is waited for, however long; one that is killed is not", async () => {
    const { home, store } = newStore(openKimiCode);
    const peer = startNode("peer.ts", ["hold", "kimi-code", home]);
    expect(await peer.says()).toBe("held");
    peer.signal("SIGSTOP");
    utimesSync(join(home, "oauth/kimi-code.lock"), 0, 0); // for kimi-code it is dead by now
    expect(await takeLocks(store, { timeout: 200 })).toEqual({ state: "failed", failure: { kind: "busy" } });
    await peer.kill();
    await (await held(store))();
  });
});
