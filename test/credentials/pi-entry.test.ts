import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { AuthStorage } from "@mariozechner/pi-coding-agent";
import { lockSync } from "proper-lockfile";
import { describe, expect, it } from "vitest";
import { mirror, removeEntry } from "../../extensions/credentials/mirror.ts";
import { hadEntry, type PiEntry, piStore, readPiEntry } from "../../extensions/credentials/pi-entry.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { lockFoundHeld, skippedLockWaits } from "./support/lock-waits.ts";
import { startNode } from "./support/processes.ts";
import { homeWith } from "./support/stores.ts";

const SHARE = "/home/me/.kimi";
const SOURCE = `${SHARE}/credentials/kimi-code.json`;
const MIRRORED = { owner: "kimi-cli", source: SOURCE } as const;
const ENTRY = {
  type: "oauth",
  access: "access-1",
  refresh: "refresh-1",
  expires: 1_800_000_000_000,
  ...MIRRORED,
};
const NEXT = { ...ENTRY, access: "access-2", refresh: "refresh-2", expires: 1_800_000_900_250 };
const OTHERS = {
  anthropic: { type: "oauth", refresh: "r", access: "a", expires: 1, x: 1.5 },
  openai: { type: "api_key", key: "k" },
};

/** As auth.json keeps a token. */
const asKept = (token: Token): Token => ({ ...token, scope: undefined, tokenType: undefined });
const SEEN: PiEntry = { state: "oauth", token: asKept(FIRST), mirrored: MIRRORED, region: "kimi.com" };
const NONE: PiEntry = { state: "absent" };
const ALONE: PiEntry = { ...SEEN, mirrored: undefined };

/** kimi-cli's store, whose file is not there: what is given counts. */
const STORE = kimiCliStore(SHARE);

function newAuth(content?: unknown) {
  const home = temporaryDirectory();
  const path = join(home, "agent", "auth.json");
  const memoryPath = join(home, "agent", "kimi-coder.json");
  if (content !== undefined) {
    put(path, typeof content === "string" ? content : JSON.stringify(content, null, 2));
  }
  const files = { authPath: path, memoryPath };
  return {
    home,
    path,
    memoryPath,
    read: () => readPiEntry(path),
    /** Mirrors a login of kimi-cli, chosen upon this entry. */
    follow: (token: Token, seen: PiEntry = SEEN, store = STORE) => mirror(files, store, token, seen),
    remove: () => removeEntry(files),
    content: () => readFileSync(path, "utf8"),
    entry: (): unknown => JSON.parse(readFileSync(path, "utf8"))["kimi-coder"],
  };
}

describe("our entry in pi's auth.json", () => {
  it("is read with the owner it mirrors", async () => {
    expect(await newAuth({ ...OTHERS, "kimi-coder": ENTRY }).read()).toEqual(SEEN);
    expect(await newAuth({ "kimi-coder": { ...ENTRY, region: "kimi.ai" } }).read()).toEqual({
      ...SEEN,
      region: "kimi.ai",
    });
  });

  it("may come without an owner, be a key, or not be there", async () => {
    const { type, access, refresh, expires } = ENTRY;
    const plain = { type, access, refresh, expires };
    for (const entry of [plain, { ...plain, owner: "somebody", source: 1 }]) {
      expect(await newAuth({ "kimi-coder": entry }).read()).toEqual({ ...SEEN, mirrored: undefined });
    }
    expect(await newAuth({ "kimi-coder": { type: "api_key", key: "k" } }).read()).toEqual({
      state: "api-key",
    });
    for (const nothing of [OTHERS, "", undefined]) expect(await newAuth(nothing).read()).toEqual(NONE);
    const { home, read } = newAuth();
    await read();
    expect(listing(home)).toEqual([]);
  });

  it("is seeded into a file that pi then reads: 0600, directory 0700; and that is remembered", async () => {
    const { home, path, memoryPath, follow, content } = newAuth();
    expect(await follow(FIRST, NONE)).toEqual({ state: "written" });
    expect(content()).toBe(JSON.stringify({ "kimi-coder": ENTRY }, null, 2));
    expect([modeOf(path), modeOf(join(home, "agent"))]).toEqual([0o600, 0o700]);
    expect(listing(home)).toEqual(["agent", "agent/auth.json", "agent/kimi-coder.json"]);
    expect(AuthStorage.create(path).get("kimi-coder")).toEqual(ENTRY);
    expect(JSON.parse(readFileSync(memoryPath, "utf8"))).toEqual({ seeded: true });
  });

  it("is not seeded again once it was there: it was removed by a logout", async () => {
    const { path, memoryPath, follow } = newAuth();
    put(memoryPath, '{"seeded": true}');
    expect(await follow(FIRST, NONE)).toEqual({ state: "left" });
    expect(existsSync(path)).toBe(false);
  });

  it("is remembered also where it came to be before, and was right", async () => {
    const { memoryPath, follow } = newAuth({ "kimi-coder": ENTRY });
    expect(await follow(FIRST)).toEqual({ state: "left" });
    expect(JSON.parse(readFileSync(memoryPath, "utf8"))).toEqual({ seeded: true });
  });

  it("follows the owner's login, and nothing else in the file changes by a byte", async () => {
    const odd = '{"zzz":{"n":12345678901234567890},\n "kimi-coder": %, "1":[ 1.0 ],"__proto__":{"x":1}}';
    const own =
      '{"note":"mine","type":"oauth","access":"access-1","refresh":"refresh-1","expires":1, "later":[1.0]}';
    const { follow, content, entry } = newAuth(odd.replace("%", own));
    expect(await follow(SECOND, { ...SEEN, mirrored: undefined })).toEqual({ state: "written" });
    for (const part of [
      '{"n":12345678901234567890}',
      "[ 1.0 ]",
      '"__proto__": {"x":1}',
      '"note": "mine"',
      '"later": [1.0]',
    ]) {
      expect(content()).toContain(part);
    }
    expect(entry()).toEqual({ note: "mine", ...NEXT, later: [1] });

    const usual = newAuth({ ...OTHERS, "kimi-coder": ENTRY, last: OTHERS.openai });
    await usual.follow(SECOND);
    expect(usual.content()).toBe(
      JSON.stringify({ ...OTHERS, "kimi-coder": NEXT, last: OTHERS.openai }, null, 2),
    );
  });

  it("is not written again when it is right", async () => {
    const { path, follow } = newAuth({ "kimi-coder": ENTRY });
    const { ino } = statSync(path);
    expect(await follow(FIRST)).toEqual({ state: "left" });
    expect(statSync(path).ino).toBe(ino);
  });

  it.each([
    ["another access token", { access: "another" }],
    ["another refresh token", { refresh: "another" }],
    ["another end", { expires: 1 }],
    ["another region", { region: "kimi.ai" }],
  ])("is written again where it says %s", async (_, member) => {
    const { follow, entry } = newAuth({ "kimi-coder": { ...ENTRY, ...member } });
    expect(await follow(FIRST)).toEqual({ state: "written" });
    expect(entry()).toEqual(ENTRY);
  });

  it("no longer says what version 1 had replaced", async () => {
    const { follow, entry } = newAuth({ "kimi-coder": { ...ENTRY, replaces: "0123456789abcdef" } });
    await follow(SECOND);
    expect(entry()).toEqual(NEXT);
  });

  it("names the login that was taken in place of another", async () => {
    const elsewhere = { owner: "kimi-code", source: "/elsewhere" } as const;
    const { follow, entry } = newAuth({ "kimi-coder": { ...ENTRY, ...elsewhere } });
    expect(await follow(SECOND, { ...SEEN, mirrored: elsewhere })).toEqual({ state: "written" });
    expect(entry()).toEqual(NEXT);
  });

  it("names its region where that is not the usual one", async () => {
    const { follow, entry } = newAuth({ "kimi-coder": ENTRY });
    await follow(SECOND, SEEN, { ...STORE, region: "kimi.ai" });
    expect(entry()).toEqual({ ...NEXT, region: "kimi.ai" });
  });

  it("says what the owner's file holds by then, because a peer may have renewed meanwhile", async () => {
    const { store } = homeWith(kimiCliStore);
    const { follow, entry } = newAuth();
    expect(await follow(SECOND, NONE, store)).toEqual({ state: "written" });
    expect(entry()).toEqual({ ...ENTRY, source: store.path });
  });

  it.each<[string, unknown, PiEntry]>([
    ["a key", { type: "api_key", key: "k" }, SEEN],
    ["something else", null, SEEN],
    ["a logout", undefined, SEEN],
    ["another login than the one that was there", { ...NEXT, source: "/elsewhere" }, SEEN],
    ["another owner's login than the one that was there", { ...NEXT, owner: "kimi-code" }, SEEN],
    ["a login where there was none", { ...NEXT, source: "/elsewhere" }, NONE],
    ["a login without an owner where there was one with", { ...NEXT, owner: undefined }, SEEN],
    ["a login without an owner where there was none", { ...NEXT, owner: undefined }, NONE],
    ["a key where there was none", { type: "api_key", key: "k" }, NONE],
    ["a key where there was a login without an owner", { type: "api_key", key: "k" }, ALONE],
  ])("is left alone when there is %s", async (_, value, seen) => {
    const { memoryPath, follow, content } = newAuth({ ...OTHERS, "kimi-coder": value });
    const before = content();
    put(memoryPath, "{}");
    expect(await follow({ ...SECOND, accessToken: "access-3" }, seen)).toMatchObject({ state: "left" });
    expect(content()).toBe(before);
  });

  it("is not remembered where there was none of ours", async () => {
    const { memoryPath, follow } = newAuth({ "kimi-coder": { type: "api_key", key: "k" } });
    expect(await follow(FIRST, NONE)).toEqual({ state: "left" });
    expect(hadEntry(memoryPath)).toBe(false);
  });

  it("is no login of its own where there is none, a key, or something else", async () => {
    const read = (content: object) => piStore(newAuth(content).path, "kimi.com").read();
    expect(await read(OTHERS)).toEqual({ state: "absent" });
    const none = { state: "malformed", reason: "holds a Kimi entry that is no OAuth login" };
    for (const entry of [{ ...ENTRY, type: "api_key" }, null]) {
      expect(await read({ "kimi-coder": entry })).toEqual(none);
    }
  });

  it("is not rewritten by a login of its own, except with what that has become", async () => {
    const { owner: _, source: __, ...ownerless } = ENTRY;
    const { path, memoryPath, read, entry } = newAuth({ "kimi-coder": ownerless });
    const store = piStore(path, "kimi.com");
    const files = { authPath: path, memoryPath };
    expect(await mirror(files, store, FIRST, await read())).toEqual({ state: "left" });
    expect(await store.read()).toEqual({ state: "present", token: asKept(FIRST) });
    expect(entry()).toEqual(ownerless);
  });
});

describe("a logout", () => {
  it("removes our entry alone, and is remembered", async () => {
    const { path, memoryPath, remove, content, follow } = newAuth({ ...OTHERS, "kimi-coder": ENTRY });
    expect(await remove()).toEqual({ state: "written" });
    expect(content()).toBe(JSON.stringify(OTHERS, null, 2));
    expect([modeOf(path), hadEntry(memoryPath)]).toEqual([0o600, true]);
    expect(await follow(FIRST, NONE)).toEqual({ state: "left" });
  });

  it("is remembered where there was no entry yet, and no file", async () => {
    for (const auth of [newAuth(OTHERS), newAuth()]) {
      const had = existsSync(auth.path);
      expect(await auth.remove()).toEqual({ state: "left" });
      expect([existsSync(auth.path), hadEntry(auth.memoryPath)]).toEqual([had, true]);
    }
  });

  it("leaves a file alone that it cannot read, and says why", async () => {
    const torn = newAuth('{"kimi-coder": {"typ');
    expect(await torn.remove()).toEqual({ state: "failed", code: "EBADMSG" });
    expect(torn.content()).toBe('{"kimi-coder": {"typ');
    const folder = newAuth();
    mkdirSync(folder.path, { recursive: true });
    expect(await folder.remove()).toEqual({ state: "failed", code: "EISDIR" });
  });

  it("changes nothing where it cannot be remembered", async () => {
    const { memoryPath, remove, entry } = newAuth({ "kimi-coder": ENTRY });
    mkdirSync(memoryPath);
    expect(await remove()).toMatchObject({ state: "failed", path: memoryPath });
    expect(entry()).toEqual(ENTRY);
  });
});

describe("an auth.json that cannot be used", () => {
  it.each([
    ["torn", '{"kimi-coder": {"typ', "is not a JSON object"],
    ["huge", `{"x":"${"x".repeat(2 ** 20)}"}`, "is far too large"],
    ["no text", Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), "is not text"],
  ])("stays byte for byte when it is %s", async (_, bytes, reason) => {
    const { home, path, read, follow } = newAuth();
    put(path, bytes);
    expect(await read()).toEqual({ state: "malformed", reason });
    for (const seen of [SEEN, NONE]) {
      expect(await follow(FIRST, seen)).toEqual({ state: "failed", code: "EBADMSG" });
    }
    expect(readFileSync(path).equals(Buffer.from(bytes))).toBe(true);
    expect(listing(home)).toEqual(["agent", "agent/auth.json"]);
  });

  it.each([
    ["no object", "text"],
    ["of an unknown type", { ...ENTRY, type: "other" }],
    ["without a token", { ...ENTRY, access: undefined }],
    ["that says logged out", { ...ENTRY, access: "" }],
  ])("holds a damaged entry: one %s", async (_, entry) => {
    const { read } = newAuth({ "kimi-coder": entry });
    expect(await read()).toEqual({ state: "malformed", reason: "holds a damaged entry" });
  });

  it.each(["", '{"kimi-coder": {"typ'])("is looked at again while pi may be writing it: %j", async (half) => {
    const { path, read } = newAuth(half);
    const reading = read();
    put(path, JSON.stringify({ "kimi-coder": ENTRY }));
    expect(await reading).toEqual(SEEN);
  });

  it("stays when it is a directory or a loop", async () => {
    const { path, read, follow } = newAuth();
    mkdirSync(path, { recursive: true });
    expect(await read()).toEqual({ state: "unreadable", code: "EISDIR" });
    expect(await follow(FIRST)).toEqual({ state: "failed", code: "EISDIR" });
    const loop = newAuth();
    mkdirSync(dirname(loop.path));
    symlinkSync("auth.json", loop.path);
    expect(await loop.follow(FIRST)).toEqual({ state: "failed", code: "ELOOP" });
  });

  it("is named when its place cannot be written", async () => {
    const { home, follow } = newAuth();
    put(join(home, "agent"), "");
    expect(await follow(FIRST, NONE)).toEqual({ state: "failed", code: "ENOTDIR" });
  });
});

describe("pi's lock on auth.json", () => {
  it("keeps us out as long as pi holds it, and no longer", async () => {
    const { path, follow, content } = newAuth({ "kimi-coder": ENTRY });
    const before = content();
    const release = lockSync(path, { realpath: false });
    const waits = lockFoundHeld(4);
    const waiting = follow(SECOND);
    await waits;
    expect(content()).toBe(before);
    release();
    expect(await waiting).toEqual({ state: "written" });
  });

  it("is waited for five seconds, also where pi is about to write its first login", async () => {
    const { path, follow } = newAuth();
    mkdirSync(dirname(path));
    const release = lockSync(path, { realpath: false });
    const waits = skippedLockWaits();
    const locked = { state: "failed", code: "ELOCKED", path: `${path}.lock` };
    expect(await follow(FIRST, NONE)).toEqual(locked);
    const waited = waits.reduce((sum, ms) => sum + ms);
    expect(waited).toBeGreaterThanOrEqual(5_000);
    expect(waited).toBeLessThan(5_100);
    expect(existsSync(path)).toBe(false);
    release();
  });

  it("is not taken from a holder that may be alive: pi's give a sign of life every 15 s", async () => {
    const { path, follow } = newAuth({ "kimi-coder": ENTRY });
    mkdirSync(`${path}.lock`);
    const heldFor = (seconds: number) => {
      const since = new Date(Date.now() - seconds * 1000);
      utimesSync(`${path}.lock`, since, since);
    };
    heldFor(20);
    expect(await follow(SECOND)).toMatchObject({ state: "failed", code: "ELOCKED" });
    heldFor(31);
    expect(await follow(SECOND)).toEqual({ state: "written" });
  });

  it("has two names where auth.json is a symlink, and we respect both", async () => {
    const { home, path, follow, content } = newAuth();
    const real = put(join(home, "dotfiles", "auth.json"), JSON.stringify({ "kimi-coder": ENTRY }));
    put(join(home, "agent", "x"), "");
    symlinkSync("../dotfiles/auth.json", path);
    const before = content();
    const releases = [false, true].map((realpath) => lockSync(path, { realpath }));
    const atFirst = lockFoundHeld();
    const writing = follow(SECOND);
    for (const [index, release] of releases.entries()) {
      await (index === 0 ? atFirst : lockFoundHeld());
      expect(content()).toBe(before);
      release();
    }
    expect(await writing).toEqual({ state: "written" });
    expect(readlinkSync(path)).toBe("../dotfiles/auth.json");
    expect(JSON.parse(readFileSync(real, "utf8"))).toEqual({ "kimi-coder": NEXT });
    expect(listing(join(home, "dotfiles"))).toEqual(["auth.json"]);
  });

  it("does not shut us out of an agent directory that is itself a symlink", async () => {
    const { home, path, follow } = newAuth();
    put(join(home, "elsewhere", "auth.json"), "{}");
    symlinkSync("elsewhere", join(home, "agent"));
    expect(await follow(FIRST, NONE)).toEqual({ state: "written" });
    expect(AuthStorage.create(path).get("kimi-coder")).toEqual(ENTRY);
  });

  it("is held for no other code of this process to see", async () => {
    const { path, follow } = newAuth({ ...OTHERS });
    const pi = AuthStorage.create(path);
    const writing = follow(FIRST, NONE);
    pi.reload();
    await writing;
    pi.reload();
    expect(pi.drainErrors()).toEqual([]);
    expect(pi.get("kimi-coder")).toEqual(ENTRY);
    pi.set("added", { type: "api_key", key: "k" });
    expect(await follow(SECOND)).toEqual({ state: "written" });
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      ...OTHERS,
      "kimi-coder": NEXT,
      added: { type: "api_key", key: "k" },
    });
  });

  it("loses no entry among processes of pi and of ours", async () => {
    const { path } = newAuth({});
    const peers = ["pi", "other", "ours"].map((who) => startNode("pi-peer.ts", [path, who, "12"]));
    for (const peer of peers) expect(await peer.rest()).toEqual(["done"]);
    const numbers = Array.from({ length: 12 }, (_, i) => i + 1);
    const expected = ["pi", "other"].flatMap((who) =>
      numbers.map((i) => [`${who}-${i}`, { type: "api_key", key: `key-${i}` }]),
    );
    const ours = {
      ...ENTRY,
      access: "access-12",
      refresh: "refresh-12",
      expires: 1_800_000_000_012,
      source: "/store/credentials/kimi-code.json",
    };
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      ...Object.fromEntries(expected),
      "kimi-coder": ours,
    });
  });
});
