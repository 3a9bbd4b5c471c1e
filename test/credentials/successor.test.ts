/** The place of a login's next token: reserved before a refresh token is presented, written only over the login it replaces. */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { piStore } from "../../extensions/credentials/pi-entry.ts";
import type { CredentialStore } from "../../extensions/credentials/store.ts";
import {
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiAuthStore,
  opencodeKimiFullStore,
} from "../../extensions/credentials/stores.ts";
import { reserveLogin, reserveSuccessor, type Successor } from "../../extensions/credentials/successor.ts";
import { FIRST, listing, put, SECOND, temporaryDirectory, USUAL_HOSTS } from "./support/homes.ts";
import { lockFoundHeld } from "./support/lock-waits.ts";
import { type Peer, startPeer } from "./support/processes.ts";
import { replace, save } from "./support/replace.ts";

const WRITTEN = { state: "written" };
const WIRE = { access_token: "access-1", refresh_token: "refresh-1", expires_at: 1_800_000_000 };
const ENTRY = { type: "oauth", access: "access-1", refresh: "refresh-1", expires: 1_800_000_000_000 };

const STORES: Record<string, (home: string) => { readonly store: CredentialStore; readonly login: object }> =
  {
    "kimi-cli": (home) => ({ store: kimiCliStore(home), login: WIRE }),
    "kimi-code": (home) => ({ store: kimiCodeStore(home, USUAL_HOSTS), login: WIRE }),
    "opencode-kimi-auth": (home) => ({ store: opencodeKimiAuthStore(home), login: WIRE }),
    "opencode-kimi-full": (home) => ({
      store: opencodeKimiFullStore(home),
      login: { "kimi-for-coding-oauth": ENTRY },
    }),
    pi: (home) => ({ store: piStore(join(home, "auth.json"), "kimi.com"), login: { "kimi-coder": ENTRY } }),
  };

async function reserved(store: CredentialStore): Promise<Successor> {
  const reservation = await reserveSuccessor(store);
  if (reservation.state === "failed") throw new Error(reservation.code);
  return reservation.successor;
}

/** The drafts beside a file. */
function drafts(path: string): string[] {
  return readdirSync(dirname(path))
    .filter((name) => name.endsWith(".pi-new"))
    .map((name) => join(dirname(path), name));
}

/**
 * Lets a write come to where its draft is being forced onto the disk. As nothing but microtasks runs here, the disk's
 * answer is not heard before the test awaits something else.
 */
async function untilItWaitsForTheDisk(path: string): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (drafts(path).some((draft) => readFileSync(draft, "utf8").includes("refresh-2"))) return;
    await Promise.resolve();
  }
  throw new Error("no draft was filled");
}

describe.each(Object.entries(STORES))("in %s's store", (_, open) => {
  function newStore() {
    const home = temporaryDirectory();
    const { store, login } = open(home);
    put(store.path, JSON.stringify({ ...login, padding: "x".repeat(5_000) }));
    return { home, store, login, content: () => readFileSync(store.path, "utf8") };
  }

  it("room is reserved in full beside the file, which stays, and given back", async () => {
    const { home, store, content } = newStore();
    const before = [content(), listing(home)];
    const { discard } = await reserved(store);
    const [draft = ""] = drafts(store.path);
    expect(statSync(draft).size).toBeGreaterThan(32_768 + content().length);
    expect(statSync(draft).blocks * 512).toBeGreaterThan(32_768);
    discard();
    discard();
    expect([content(), listing(home)]).toEqual(before);
  });

  it("the successor takes the login's place, and leaves no draft", async () => {
    const { home, store } = newStore();
    const before = listing(home);
    const successor = await reserved(store);
    expect(await successor.write("refresh-1", SECOND)).toEqual(WRITTEN);
    expect(listing(home)).toEqual(before);
    expect(await store.read()).toMatchObject({ state: "present", token: { refreshToken: "refresh-2" } });
    successor.discard();
  });

  it("another login stands, and so does a logout", async () => {
    const { store, content } = newStore();
    const successor = await reserved(store);
    const other = content().replace("refresh-1", "refresh-other");
    writeFileSync(store.path, other);
    expect(await successor.write("refresh-1", SECOND)).toMatchObject({
      state: "superseded",
      found: { state: "present", token: { refreshToken: "refresh-other" } },
    });
    expect(content()).toBe(other);
    rmSync(store.path);
    expect(await successor.write("refresh-1", SECOND)).toEqual({
      state: "superseded",
      found: { state: "absent" },
    });
    expect(existsSync(store.path)).toBe(false);
    successor.discard();
  });

  it("a logout while the successor is being written stands", async () => {
    const { home, store } = newStore();
    const successor = await reserved(store);
    const replacing = successor.write("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    rmSync(store.path);
    expect(await replacing).toEqual({ state: "superseded", found: { state: "absent" } });
    successor.discard();
    expect(listing(home).filter((name) => name.includes(".json"))).toEqual([]);
  });

  it("a new login while the successor is being written stands", async () => {
    const { home, store, content } = newStore();
    const before = listing(home);
    const successor = await reserved(store);
    const replacing = successor.write("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    const other = content().replace("refresh-1", "refresh-other");
    writeFileSync(store.path, other);
    expect(await replacing).toMatchObject({
      state: "superseded",
      found: { state: "present", token: { refreshToken: "refresh-other" } },
    });
    expect(content()).toBe(other);
    successor.discard();
    expect(listing(home)).toEqual(before);
  });

  it("what its owner adds while the successor is being written is kept", async () => {
    const { home, store, login, content } = newStore();
    const before = listing(home);
    const successor = await reserved(store);
    const replacing = successor.write("refresh-1", SECOND);
    await untilItWaitsForTheDisk(store.path);
    writeFileSync(store.path, JSON.stringify({ ...login, anthropic: { type: "api", key: "k" } }));
    expect(await replacing).toEqual(WRITTEN);
    expect(JSON.parse(content())).toMatchObject({ anthropic: { type: "api", key: "k" } });
    expect(await store.read()).toMatchObject({ state: "present", token: { refreshToken: "refresh-2" } });
    successor.discard();
    expect(listing(home)).toEqual(before);
  });

  it("a file that never stops changing is given up, and left", async () => {
    const { store, login, content } = newStore();
    const successor = await reserved(store);
    let count = 0;
    let outcome: unknown;
    const replacing = successor.write("refresh-1", SECOND).then((found) => {
      outcome = found;
    });
    while (outcome === undefined) {
      // What the draft holds of the file has not been compared with it yet.
      const [draft] = drafts(store.path);
      const text = draft === undefined ? "" : readFileSync(draft, "utf8");
      const ofNow = count === 0 ? text.includes("refresh-2") : text.includes(`"count": ${count}`);
      if (ofNow) put(store.path, JSON.stringify({ ...login, count: ++count }));
      await new Promise(setImmediate);
    }
    await replacing;
    expect(outcome).toEqual({ state: "failed", code: "EAGAIN" });
    expect(JSON.parse(content())).toMatchObject({ ...login, count: 4 });
    expect(await successor.write("refresh-1", SECOND)).toEqual(WRITTEN);
    successor.discard();
  });

  it("damage is not taken for a logout: the room is kept, and it is written when the file is whole", async () => {
    const { store, login, content } = newStore();
    const successor = await reserved(store);
    writeFileSync(store.path, '{"access_tok');
    expect(await successor.write("refresh-1", SECOND)).toEqual({ state: "failed", code: "EBADMSG" });
    expect(content()).toBe('{"access_tok');
    writeFileSync(store.path, JSON.stringify(login));
    expect(await successor.write("refresh-1", SECOND)).toEqual(WRITTEN);
    successor.discard();
  });

  it("nothing is put in place that could not be written, or where the file cannot be read", async () => {
    const { store, content } = newStore();
    const before = content();
    const given = await reserved(store);
    given.discard();
    expect(await given.write("refresh-1", SECOND)).toEqual({ state: "failed", code: "EBADF" });
    expect(content()).toBe(before);
    const successor = await reserved(store);
    rmSync(store.path);
    mkdirSync(store.path);
    expect(await successor.write("refresh-1", SECOND)).toEqual({ state: "failed", code: "EISDIR" });
    successor.discard();
  });

  it("no room beside the file is told, and so is a place where nothing can be", async () => {
    const { store, home, content } = newStore();
    const long = join(home, "x".repeat(250)); // its draft's name is too long
    renameSync(store.path, long);
    symlinkSync(long, store.path);
    const before = content();
    expect(await reserveSuccessor(store)).toEqual({ state: "failed", code: "ENAMETOOLONG" });
    expect(content()).toBe(before);

    const empty = temporaryDirectory();
    const none = open(join(empty, "none")).store;
    expect(await reserveSuccessor(none)).toEqual({ state: "failed", code: "ENOENT" });
    expect(listing(empty)).toEqual([]);
    mkdirSync(none.path, { recursive: true });
    expect(await reserveSuccessor(none)).toEqual({ state: "failed", code: "EISDIR" });
  });
});

describe("in pi's own store", () => {
  it("the login is written under pi's lock, which is held for nothing else", async () => {
    const path = put(join(temporaryDirectory(), "auth.json"), JSON.stringify({ "kimi-coder": ENTRY }));
    const successor = await reserved(piStore(path, "kimi.com"));
    mkdirSync(`${path}.lock`); // by pi
    const writing = successor.write("refresh-1", SECOND);
    await untilItWaitsForTheDisk(path);
    const others = { anthropic: { type: "api_key", key: "k" } };
    const changed = JSON.stringify({ ...others, "kimi-coder": { ...ENTRY, note: "mine" } });
    writeFileSync(path, changed);
    const waits = lockFoundHeld(3).then(() => "waits");
    expect(await Promise.race([writing, waits])).toBe("waits");
    expect(readFileSync(path, "utf8")).toBe(changed);
    rmSync(`${path}.lock`, { recursive: true });
    expect(await writing).toEqual(WRITTEN);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      ...others,
      "kimi-coder": {
        ...ENTRY,
        note: "mine",
        access: "access-2",
        refresh: "refresh-2",
        expires: SECOND.expiresAt,
      },
    });
    expect(existsSync(`${path}.lock`)).toBe(false);
  });
});

it("a lock as pi takes it on auth.json means nothing on another program's file", async () => {
  const store = kimiCliStore(temporaryDirectory());
  put(store.path, JSON.stringify(WIRE));
  mkdirSync(`${store.path}.lock`);
  const successor = await reserved(store);
  expect(await successor.write("refresh-1", SECOND)).toEqual(WRITTEN);
  successor.discard();
});

describe.each(["kimi-cli", "kimi-code"] as const)("a new login for %s", (owner) => {
  const newStore = (home: string) =>
    owner === "kimi-cli" ? kimiCliStore(home) : kimiCodeStore(home, USUAL_HOSTS);

  it.each([undefined, "rubbish", '{"access_token": ""}', JSON.stringify(WIRE)])(
    "is saved over %j",
    async (old) => {
      const store = newStore(join(temporaryDirectory(), "new"));
      if (old !== undefined) put(store.path, old);
      expect(await save(store, FIRST)).toEqual(WRITTEN);
      expect(await store.read()).toEqual({ state: "present", token: FIRST });
    },
  );

  it("has its room before the user is sent to a browser, and leaves what is there until it is saved", async () => {
    const store = newStore(temporaryDirectory());
    put(store.path, "rubbish");
    const reservation = await reserveLogin(store);
    expect(readFileSync(store.path, "utf8")).toBe("rubbish");
    if (reservation.state === "reserved") reservation.successor.discard();
    expect([reservation.state, drafts(store.path)]).toEqual(["reserved", []]);
  });

  it("cannot be in place of a folder, nor below a file", async () => {
    const home = temporaryDirectory();
    const store = newStore(home);
    mkdirSync(store.path, { recursive: true });
    expect(await reserveLogin(store)).toEqual({ state: "failed", code: "EISDIR" });
    const file = put(join(home, "file"), "");
    expect(await reserveLogin(newStore(file))).toMatchObject({ state: "failed", code: "ENOTDIR" });
  });
});

/** Reserves and writes kimi-cli's next login, after these commands of the shell. */
function afterCommands(
  commands: string,
  share: string,
  around: readonly string[] = [],
  what: "now" | "wait" | "save" = "now",
): Peer {
  const support = (name: string) => fileURLToPath(new URL(`support/${name}`, import.meta.url));
  const shell = ["bash", "-c", `set -e; cd "$0"; ${commands}; exec "$@"`, share];
  const node = [process.execPath, support("run.mjs"), support("reserve-and-write.ts"), share, what];
  const [command = "", ...args] = [...around, ...shell, ...node];
  return startPeer(command, args);
}
const said = async (peer: Peer): Promise<unknown[]> => (await peer.rest()).map((line) => JSON.parse(line));
const RESERVED = { state: "reserved" };

describe("room", () => {
  it("is reserved for the longest login", async () => {
    const share = temporaryDirectory();
    const store = kimiCliStore(share);
    const long = "x".repeat(16_384);
    await save(store, { ...FIRST, accessToken: long, refreshToken: long });
    const tooLittle = Math.floor(readFileSync(store.path).length / 1024);
    put(store.path, JSON.stringify(WIRE));
    expect(await said(afterCommands(`ulimit -f ${tooLittle}`, share))).toEqual([
      { state: "failed", code: "EFBIG" },
    ]);
    expect(await said(afterCommands(`ulimit -f ${tooLittle + 4}`, share))).toEqual([RESERVED, WRITTEN]);
  });
});

const NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"];
const canMount =
  spawnSync("unshare", [...NAMESPACE.slice(1), "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
if (!canMount)
  process.stderr.write("SKIPPED: the tests on mounted files, because unshare or mount may not\n");

describe.skipIf(!canMount)("on a real mount", () => {
  function newLogin() {
    const share = temporaryDirectory();
    const { path } = kimiCliStore(share);
    put(path, JSON.stringify(WIRE));
    const source = put(join(share, "source"), JSON.stringify({ ...WIRE, padding: "x".repeat(3_000) }));
    return { share, source };
  }

  it("a disk that fills up after the room was reserved takes nothing away", async () => {
    const { share } = newLogin();
    const disk = "mount -t tmpfs -o size=256k none credentials; cp source credentials/kimi-code.json";
    // Fills the disk as soon as the room is reserved, then lets the write go on, and shows what it wrote.
    const filler = `(until ls credentials | grep -q pi-new; do sleep 0.05; done; sleep 0.2;
      head -c 1m /dev/zero > credentials/x 2>/dev/null || true; echo full)`;
    const around = [
      ...NAMESPACE,
      "bash",
      "-c",
      `cd "$0"; ${disk}; { ${filler}; } | "$@"; cat credentials/kimi-code.json`,
      share,
    ];
    const lines = await afterCommands("true", share, around, "wait").rest();
    expect(lines.slice(0, 2).map((line) => JSON.parse(line))).toEqual([RESERVED, WRITTEN]);
    expect(JSON.parse(lines[2] ?? "")).toMatchObject({
      refresh_token: "refresh-2",
      padding: expect.any(String),
    });
  });

  it("a file that is mounted by itself is written in place", async () => {
    const { share, source } = newLogin();
    const { ino } = statSync(source);
    const commands = "mount --bind source credentials/kimi-code.json";
    expect(await said(afterCommands(commands, share, NAMESPACE))).toEqual([RESERVED, WRITTEN]);
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
  ])("%s is told before anything is presented", async (_, commands, code) => {
    const { share, source } = newLogin();
    const before = readFileSync(source, "utf8");
    expect(await said(afterCommands(commands, share, NAMESPACE))).toEqual([{ state: "failed", code }]);
    expect(readFileSync(source, "utf8")).toBe(before);
  });

  it("a home that is mounted read-only is told before a login is asked for", async () => {
    const share = temporaryDirectory();
    const commands = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"';
    const saved = await said(afterCommands(commands, share, NAMESPACE, "save"));
    expect(saved).toEqual([{ state: "failed", code: "EROFS" }]);
  });

  it.skipIf(process.getuid?.() !== 0)(
    "a group that root's container does not know is no hindrance",
    async () => {
      const { share } = newLogin();
      const { path } = kimiCliStore(share);
      chownSync(path, 0, 12_345);
      expect(await said(afterCommands("true", share, NAMESPACE))).toEqual([RESERVED, WRITTEN]);
      expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ refresh_token: "refresh-2" });
    },
  );
});

it.skipIf(process.getuid?.() !== 0)("what root writes stays with its owner", async () => {
  const store = kimiCliStore(temporaryDirectory());
  put(store.path, JSON.stringify(WIRE));
  chownSync(store.path, 1234, 2345);
  expect(await replace(store, "refresh-1", SECOND)).toEqual(WRITTEN);
  expect(statSync(store.path)).toMatchObject({ uid: 1234, gid: 2345 });
});
