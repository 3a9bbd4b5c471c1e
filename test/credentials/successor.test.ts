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
import type { CredentialStore } from "../../extensions/credentials/store.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { reserveLogin, reserveSuccessor, type Successor } from "../../extensions/credentials/successor.ts";
import { FIRST, listing, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { lockFoundHeld } from "./support/lock-waits.ts";
import { type Peer, startPeer } from "./support/processes.ts";
import { replace, save } from "./support/replace.ts";
import { ENTRY, homeWith, STORES, WIRE } from "./support/stores.ts";

const WRITTEN = { state: "written" };
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

/** The store of a program that does something between our look at its file and the last look before we replace it. */
function whoseOwner(store: CredentialStore, acts: () => void): CredentialStore {
  const render: typeof store.format.render = (members) => {
    acts();
    return store.format.render(members);
  };
  return { ...store, format: { ...store.format, render } };
}

describe.each(Object.entries(STORES))("in %s's store", (_, open) => {
  const newStore = () => homeWith(open, { padding: "x".repeat(5_000) });

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

  it.each<[string, string, (text: string) => string | undefined, object]>([
    ["a logout", "stands", () => undefined, { state: "superseded", found: { state: "absent" } }],
    [
      "a new login",
      "stands",
      (text) => text.replace("refresh-1", "refresh-other"),
      { state: "superseded", found: { token: { refreshToken: "refresh-other" } } },
    ],
    ["what its owner adds", "is kept", (text) => text.replace("{", '{"added": 1, '), WRITTEN],
  ])("%s while the successor is being written %s", async (_what, _fate, change, outcome) => {
    const { home, store, content } = newStore();
    const changed = change(content());
    let acts = () => (changed === undefined ? rmSync(store.path) : writeFileSync(store.path, changed));
    const successor = await reserved(whoseOwner(store, () => acts()));
    expect(await successor.write("refresh-1", SECOND)).toEqual({ state: "failed", code: "EAGAIN" });
    const left = existsSync(store.path) ? content() : undefined;
    expect(left).toBe(changed);
    acts = () => {};
    expect(await successor.write("refresh-1", SECOND)).toMatchObject(outcome);
    if (outcome === WRITTEN) expect(content()).toContain('"added": 1');
    successor.discard();
    expect(listing(home).filter((name) => name.endsWith(".pi-new"))).toEqual([]);
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
    const none = open(join(empty, "none"));
    expect(await reserveSuccessor(none)).toEqual({ state: "failed", code: "ENOENT" });
    expect(listing(empty)).toEqual([]);
    mkdirSync(none.path, { recursive: true });
    expect(await reserveSuccessor(none)).toEqual({ state: "failed", code: "EISDIR" });
  });
});

describe("in pi's own store", () => {
  it("the login is written under pi's lock", async () => {
    const { store } = homeWith(STORES.pi);
    const { path } = store;
    const successor = await reserved(store);
    mkdirSync(`${path}.lock`); // by pi
    const writing = successor.write("refresh-1", SECOND);
    const others = { anthropic: { type: "api_key", key: "k" } };
    const changed = JSON.stringify({ ...others, "kimi-coder": { ...ENTRY, note: "mine" } });
    writeFileSync(path, changed);
    await lockFoundHeld(3);
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
  const { store } = homeWith(kimiCliStore);
  mkdirSync(`${store.path}.lock`);
  const successor = await reserved(store);
  expect(await successor.write("refresh-1", SECOND)).toEqual(WRITTEN);
  successor.discard();
});

describe("a new login", () => {
  const newStore = () => kimiCliStore(join(temporaryDirectory(), "new"));

  it.each([undefined, "rubbish", '{"access_token": ""}', JSON.stringify(WIRE)])(
    "is saved over %j",
    async (old) => {
      const store = newStore();
      if (old !== undefined) put(store.path, old);
      const reservation = reserveLogin(store);
      expect(existsSync(store.path) ? readFileSync(store.path, "utf8") : undefined).toBe(old);
      if (reservation.state === "failed") throw new Error(reservation.code);
      expect(reservation.successor.save(FIRST)).toEqual(WRITTEN);
      expect(await store.read()).toEqual({ state: "present", token: FIRST });
      expect(drafts(store.path)).toEqual([]);
      reservation.successor.discard();
      expect(reservation.successor.save(SECOND)).toEqual({ state: "failed", code: "EBADF" });
    },
  );

  it("cannot be in place of a folder, nor below a file", () => {
    const store = newStore();
    mkdirSync(store.path, { recursive: true });
    expect(reserveLogin(store)).toEqual({ state: "failed", code: "EISDIR" });
    const file = put(join(temporaryDirectory(), "file"), "");
    expect(reserveLogin(kimiCliStore(file))).toMatchObject({ state: "failed", code: "ENOTDIR" });
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
  const { store } = homeWith(kimiCliStore);
  chownSync(store.path, 1234, 2345);
  expect(await replace(store, "refresh-1", SECOND)).toEqual(WRITTEN);
  expect(statSync(store.path)).toMatchObject({ uid: 1234, gid: 2345 });
});
