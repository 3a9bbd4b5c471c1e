import { spawnSync } from "node:child_process";
import {
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { kimiCliStore } from "../../extensions/credentials/kimi-cli.ts";
import { kimiCodeStore } from "../../extensions/credentials/kimi-code.ts";
import { opencodeKimiAuthStore } from "../../extensions/credentials/opencode-kimi-auth.ts";
import { opencodeKimiFullStore } from "../../extensions/credentials/opencode-kimi-full.ts";
import { FIRST, listing, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { startPeer } from "./support/processes.ts";

const WIRE = { access_token: "access-1", refresh_token: "refresh-1", expires_at: 1_800_000_000 };
const ENTRY = { type: "oauth", access: "access-1", refresh: "refresh-1", expires: 1_800_000_000_000 };

const STORES = {
  "kimi-cli": {
    open: (home: string) => ({ store: kimiCliStore({ share: home }), login: WIRE }),
    locks: ["credentials/kimi-code.lock", "credentials/kimi-code.pi.lock"],
  },
  "kimi-code": {
    open: (home: string) => ({
      store: kimiCodeStore({
        home,
        oauthHost: "https://auth.kimi.com",
        baseUrl: "https://api.kimi.com/coding/v1",
      }),
      login: WIRE,
    }),
    locks: ["oauth/kimi-code.lock"],
  },
  "opencode-kimi-auth": {
    open: (folder: string) => ({ store: opencodeKimiAuthStore({ folder }), login: WIRE }),
    locks: ["oauth.pi.lock"],
  },
  "opencode-kimi-full": {
    open: (data: string) => ({
      store: opencodeKimiFullStore({ data }),
      login: { "kimi-for-coding-oauth": ENTRY },
    }),
    locks: ["opencode/auth.json.kimi-for-coding-oauth.refresh.lock", "opencode/kimi-code.pi.lock"],
  },
};

describe.each(Object.entries(STORES))("in %s's store", (_, { open, locks }) => {
  function newStore() {
    const home = temporaryDirectory();
    const { store, login } = open(home);
    put(store.path, JSON.stringify(login));
    return { home, store, login, content: () => readFileSync(store.path, "utf8") };
  }

  it("the locks are where they are said to be", async () => {
    const { home, store } = newStore();
    const taken = [await store.lockAmongPi(0), await store.lockOfOwner(0)];
    const names = listing(home).filter((name) => name.endsWith(".lock"));
    expect(names).toEqual(locks);
    expect(store.locks.map(({ path }) => relative(home, path)).sort()).toEqual(locks);
    for (const { kind, path } of store.locks) {
      expect(statSync(path).isDirectory()).toBe(kind === "folder");
    }
    for (const lock of taken) if (lock.state === "held") await lock.release();
  });

  /**
   * Lets a replacement come to where its temporary file is being forced onto the disk. As nothing but microtasks runs
   * here, the disk's answer is not heard before the test awaits something else.
   */
  async function untilItWaitsForTheDisk(path: string): Promise<void> {
    const before = listing(dirname(path)).length;
    for (let i = 0; i < 1_000; i++) {
      if (listing(dirname(path)).length > before) return;
      await Promise.resolve();
    }
    throw new Error("no temporary file came");
  }

  it("a logout while the successor is being written stands", async () => {
    const { home, store } = newStore();
    const replacing = store.replace("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    rmSync(store.path);
    expect(await replacing).toEqual({ state: "superseded", found: { state: "absent" } });
    expect(listing(home).filter((name) => name.includes(".json"))).toEqual([]);
  });

  it("a new login while the successor is being written stands", async () => {
    const { home, store, content } = newStore();
    const before = listing(home);
    const replacing = store.replace("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    const other = content().replace("refresh-1", "refresh-other");
    writeFileSync(store.path, other);
    expect(await replacing).toMatchObject({
      state: "superseded",
      found: { state: "present", token: { refreshToken: "refresh-other" } },
    });
    expect(content()).toBe(other);
    expect(listing(home)).toEqual(before);
  });

  it("what its owner adds while the successor is being written is kept", async () => {
    const { home, store, login, content } = newStore();
    const before = listing(home);
    const replacing = store.replace("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    writeFileSync(store.path, JSON.stringify({ ...login, anthropic: { type: "api", key: "k" } }));
    expect(await replacing).toEqual({ state: "written" });
    expect(JSON.parse(content())).toMatchObject({ anthropic: { type: "api", key: "k" } });
    expect(await store.read()).toMatchObject({ state: "present", token: { refreshToken: "refresh-2" } });
    expect(listing(home)).toEqual(before);
  });

  it("a file that never stops changing is given up, and left", async () => {
    const { home, store, login, content } = newStore();
    const before = listing(home);
    const attempts = new Set<string>();
    let outcome: unknown;
    const replacing = store.replace("refresh-1", SECOND).then((found) => {
      outcome = found;
    });
    while (outcome === undefined) {
      // What is here in this moment has not been compared with the file yet.
      const attempt = listing(dirname(store.path)).find((name) => name.endsWith(".pi-new"));
      if (attempt && !attempts.has(attempt)) {
        attempts.add(attempt);
        put(store.path, JSON.stringify({ ...login, count: attempts.size }));
      }
      await new Promise(setImmediate);
    }
    await replacing;
    expect(outcome).toEqual({ state: "failed", code: "EAGAIN" });
    expect(JSON.parse(content())).toMatchObject({ count: 4 });
    expect(listing(home)).toEqual(before);
  });

  it("a successor that finds no room beside the file is told, and the file left", async () => {
    const { store, home, content } = newStore();
    const long = join(home, "x".repeat(250)); // its temporary file's name is too long
    renameSync(store.path, long);
    symlinkSync(long, store.path);
    const before = content();
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "failed", code: "ENAMETOOLONG" });
    expect(content()).toBe(before);
  });

  it("a rehearsal says that the login could be replaced, and touches nothing", async () => {
    const { home, store, content } = newStore();
    const before = [content(), listing(home)];
    expect(await store.rehearse()).toEqual({ state: "possible" });
    expect([content(), listing(home)]).toEqual(before);
  });

  it("a rehearsal looks where the symlink leads", async () => {
    const { store } = open(temporaryDirectory());
    mkdirSync(dirname(store.path), { recursive: true });
    symlinkSync(join(dirname(store.path), "unplugged", "login"), store.path);
    expect(await store.rehearse()).toEqual({ state: "failed", code: "ENOENT" });
    mkdirSync(join(dirname(store.path), "unplugged"));
    expect(await store.rehearse()).toEqual({ state: "possible" });
  });

  it("a rehearsal names what cannot be replaced, and creates no folder", async () => {
    const home = temporaryDirectory();
    const { store } = open(join(home, "none"));
    expect(await store.rehearse()).toEqual({ state: "failed", code: "ENOENT" });
    expect(listing(home)).toEqual([]);
    mkdirSync(store.path, { recursive: true });
    expect(await store.rehearse()).toEqual({ state: "failed", code: "EISDIR" });
  });
});

describe.each(["kimi-cli", "kimi-code"] as const)("a login that is to be saved in %s's store", (owner) => {
  function newStore(home: string) {
    const place = { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" };
    return owner === "kimi-cli" ? kimiCliStore({ share: home }) : kimiCodeStore({ home, ...place });
  }
  const POSSIBLE = { state: "possible" };

  it("can be, and nothing is made for it yet, where there is no folder", async () => {
    const home = temporaryDirectory();
    expect(await newStore(join(home, "new", "home")).rehearseSave()).toEqual(POSSIBLE);
    expect(listing(home)).toEqual([]);
  });

  it("can be over whatever stands there", async () => {
    const home = temporaryDirectory();
    const store = newStore(home);
    mkdirSync(dirname(store.path), { recursive: true });
    expect(await store.rehearseSave()).toEqual(POSSIBLE);
    expect(listing(dirname(store.path))).toEqual([]);
    put(store.path, "rubbish");
    expect(await store.rehearseSave()).toEqual(POSSIBLE);
    expect(readFileSync(store.path, "utf8")).toBe("rubbish");
  });

  it("cannot be in place of a folder, nor below a file", async () => {
    const home = temporaryDirectory();
    const store = newStore(home);
    mkdirSync(store.path, { recursive: true });
    expect(await store.rehearseSave()).toEqual({ state: "failed", code: "EISDIR" });
    const file = put(join(home, "file"), "");
    expect(await newStore(file).rehearseSave()).toEqual({ state: "failed", code: "ENOTDIR" });
  });
});

describe("a rehearsal", () => {
  it("takes as much room as the longest login", async () => {
    const share = temporaryDirectory();
    const store = kimiCliStore({ share });
    const long = "x".repeat(16_384);
    put(store.path, "");
    await store.save({ ...FIRST, accessToken: long, refreshToken: long });
    const tooLittle = Math.floor(readFileSync(store.path).length / 1024);
    put(store.path, JSON.stringify(WIRE));
    const [rehearsed] = await writeLoginAfter(`ulimit -f ${tooLittle}`, share);
    expect(rehearsed).toEqual({ state: "failed", code: "EFBIG" });
    put(store.path, JSON.stringify(WIRE));
    expect(await writeLoginAfter(`ulimit -f ${tooLittle + 4}`, share)).toEqual([
      { state: "possible" },
      { state: "written" },
    ]);
  });
});

/** Rehearses and replaces kimi-cli's login, or rehearses that a new one is saved, after these commands of the shell. */
async function writeLoginAfter(
  commands: string,
  share: string,
  around: readonly string[] = [],
  what: "replace" | "save" = "replace",
) {
  const support = (name: string) => fileURLToPath(new URL(`support/${name}`, import.meta.url));
  const shell = ["bash", "-c", `set -e; cd "$0"; ${commands}; exec "$@"`, share];
  const node = [process.execPath, support("run.mjs"), support("write-login.ts"), share, what];
  const [command = "", ...args] = [...around, ...shell, ...node];
  const lines = await startPeer(command, args).rest();
  return lines.map((line) => JSON.parse(line));
}

const NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"];
const canMount =
  spawnSync("unshare", [...NAMESPACE.slice(1), "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
if (!canMount)
  process.stderr.write("SKIPPED: the tests on mounted files, because unshare or mount may not\n");

describe.skipIf(!canMount)("on a real mount", () => {
  const POSSIBLE = { state: "possible" };
  const WRITTEN = { state: "written" };

  function newLogin() {
    const share = temporaryDirectory();
    const { path } = kimiCliStore({ share });
    put(path, JSON.stringify(WIRE));
    const source = put(join(share, "source"), JSON.stringify({ ...WIRE, padding: "x".repeat(3_000) }));
    return { share, source };
  }

  it("a file that is mounted by itself is written in place", async () => {
    const { share, source } = newLogin();
    const { ino } = statSync(source);
    const commands = "mount --bind source credentials/kimi-code.json";
    expect(await writeLoginAfter(commands, share, NAMESPACE)).toEqual([POSSIBLE, WRITTEN]);
    expect(JSON.parse(readFileSync(source, "utf8"))).toMatchObject({ refresh_token: "refresh-2" });
    expect(statSync(source).ino).toBe(ino);
    expect(listing(join(share, "credentials"))).toEqual(["kimi-code.json"]);
  });

  it.each([
    [
      "a file that is mounted read-only",
      "mount --bind source credentials/kimi-code.json; mount -o remount,ro,bind credentials/kimi-code.json",
      "EROFS",
    ],
    [
      "a folder that is mounted read-only",
      "mount --bind credentials credentials; mount -o remount,ro,bind credentials",
      "EROFS",
    ],
    [
      "a full disk",
      "mount -t tmpfs -o size=64k none credentials; cp source credentials/kimi-code.json; head -c 48k /dev/zero > credentials/x",
      "ENOSPC",
    ],
  ])("%s is told by the rehearsal", async (_, commands, code) => {
    const { share, source } = newLogin();
    const before = readFileSync(source, "utf8");
    const [rehearsed] = await writeLoginAfter(commands, share, NAMESPACE);
    expect(rehearsed).toEqual({ state: "failed", code });
    expect(readFileSync(source, "utf8")).toBe(before);
  });

  it("a home that is mounted read-only is told before a login is asked for", async () => {
    const share = temporaryDirectory();
    const commands = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"';
    const rehearsed = await writeLoginAfter(commands, share, NAMESPACE, "save");
    expect(rehearsed).toEqual([{ state: "failed", code: "EROFS" }]);
  });

  it.skipIf(process.getuid?.() !== 0)(
    "a group that root's container does not know is no hindrance",
    async () => {
      const { share } = newLogin();
      const { path } = kimiCliStore({ share });
      chownSync(path, 0, 12_345);
      expect(await writeLoginAfter("true", share, NAMESPACE)).toEqual([POSSIBLE, WRITTEN]);
      expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ refresh_token: "refresh-2" });
    },
  );
});

it.skipIf(process.getuid?.() !== 0)("what root writes stays with its owner", async () => {
  const store = kimiCliStore({ share: temporaryDirectory() });
  put(store.path, JSON.stringify(WIRE));
  chownSync(store.path, 1234, 2345);
  expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
  expect(statSync(store.path)).toMatchObject({ uid: 1234, gid: 2345 });
});
