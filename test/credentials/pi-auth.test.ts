import { existsSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import { AuthStorage } from "@mariozechner/pi-coding-agent";
import { lockSync } from "proper-lockfile";
import { describe, expect, it } from "vitest";
import { type Mirror, piAuth } from "../../extensions/credentials/pi-auth.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { mirrorInto } from "./support/mirror.ts";
import { startNode } from "./support/processes.ts";

const SOURCE = { owner: "kimi-cli", path: "/home/me/.kimi/credentials/kimi-code.json" } as const;
const MIRROR: Mirror = { token: FIRST, owner: SOURCE.owner, source: SOURCE.path };
const ENTRY = {
  type: "oauth",
  access: "access-1",
  refresh: "refresh-1",
  expires: 1_800_000_000_000,
  owner: SOURCE.owner,
  source: SOURCE.path,
};
const NEXT = { ...ENTRY, access: "access-2", refresh: "refresh-2", expires: 1_800_000_900_250 };
const OTHERS = {
  anthropic: { type: "oauth", refresh: "r", access: "a", expires: 1, x: 1.5 },
  openai: { type: "api_key", key: "k" },
};

function newAuth(content?: unknown, timeout = 200) {
  const home = temporaryDirectory();
  const path = join(home, "agent", "auth.json");
  if (content !== undefined) {
    put(path, typeof content === "string" ? content : JSON.stringify(content, null, 2));
  }
  return { home, path, auth: piAuth({ path, timeout }), content: () => readFileSync(path, "utf8") };
}

describe("our entry in pi's auth.json", () => {
  it("is read with the owner it mirrors", async () => {
    const { auth } = newAuth({ ...OTHERS, "kimi-coder": ENTRY });
    const token = { ...FIRST, scope: undefined, tokenType: undefined };
    expect(await auth.read()).toEqual({ state: "oauth", token, owner: SOURCE.owner, source: SOURCE.path });
  });

  it("may come without an owner, be a key, or not be there", async () => {
    const { type, access, refresh, expires } = ENTRY;
    const plain = { type, access, refresh, expires };
    for (const entry of [plain, { ...plain, owner: "somebody", source: 1 }]) {
      const found = await newAuth({ "kimi-coder": entry }).auth.read();
      expect(found).toMatchObject({ state: "oauth", owner: undefined, source: undefined });
    }
    expect(await newAuth({ "kimi-coder": { type: "api_key", key: "k" } }).auth.read()).toEqual({
      state: "api-key",
    });
    expect(await newAuth(OTHERS).auth.read()).toEqual({ state: "absent" });
    expect(await newAuth("").auth.read()).toEqual({ state: "absent" });
    const none = newAuth();
    expect(await none.auth.read()).toEqual({ state: "absent" });
    expect(listing(none.home)).toEqual([]);
  });

  it("is seeded into a file that pi then reads: 0600, directory 0700", async () => {
    const { home, path, auth, content } = newAuth();
    expect(await mirrorInto(auth, FIRST, SOURCE, false)).toEqual({ state: "left" });
    expect(existsSync(path)).toBe(false);
    expect(await mirrorInto(auth, FIRST, SOURCE, true)).toEqual({ state: "written" });
    expect(content()).toBe(JSON.stringify({ "kimi-coder": ENTRY }, null, 2));
    expect([modeOf(path), modeOf(join(home, "agent"))]).toEqual([0o600, 0o700]);
    expect(listing(home)).toEqual(["agent", "agent/auth.json"]);
    expect(AuthStorage.create(path).get("kimi-coder")).toEqual(ENTRY);
  });

  it("follows the owner's login, and nothing else in the file changes by a byte", async () => {
    const odd = '{"zzz":{"n":12345678901234567890},\n "kimi-coder": %, "1":[ 1.0 ],"__proto__":{"x":1}}';
    const { auth, content } = newAuth(
      odd.replace("%", JSON.stringify({ note: "mine", ...ENTRY, later: [1.0] })),
    );
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "written" });
    for (const part of [
      '{"n":12345678901234567890}',
      "[ 1.0 ]",
      '"__proto__": {"x":1}',
      '"note": "mine"',
      '"later": [1]',
    ]) {
      expect(content()).toContain(part);
    }
    expect(JSON.parse(content())["kimi-coder"]).toEqual({ note: "mine", ...NEXT, later: [1] });
    expect(Object.keys(JSON.parse(content())["kimi-coder"])[0]).toBe("note");

    const usual = newAuth({ ...OTHERS, "kimi-coder": ENTRY, last: OTHERS.openai });
    await mirrorInto(usual.auth, SECOND, SOURCE, false);
    expect(usual.content()).toBe(
      JSON.stringify({ ...OTHERS, "kimi-coder": NEXT, last: OTHERS.openai }, null, 2),
    );
  });

  it("is not written again when it is right", async () => {
    const { auth, content } = newAuth({ "kimi-coder": ENTRY });
    const before = content();
    expect(await mirrorInto(auth, FIRST, SOURCE, true)).toEqual({ state: "left" });
    expect(content()).toBe(before);
    expect(await mirrorInto(auth, FIRST, { ...SOURCE, owner: "kimi-code" }, true)).toEqual({
      state: "written",
    });
  });

  it.each<[string, Partial<Mirror>]>([
    ["another owner", { owner: "kimi-code" }],
    ["another file", { source: "/elsewhere" }],
    ["another region", { region: "kimi.ai" }],
    ["that it replaces what stands there", { replaces: "0123456789abcdef" }],
    ["another access token", { token: { ...FIRST, accessToken: "access-2" } }],
    ["another refresh token", { token: { ...FIRST, refreshToken: "refresh-2" } }],
    ["another end", { token: { ...FIRST, expiresAt: FIRST.expiresAt + 1 } }],
  ])("is written again when it is to say %s", async (_, change) => {
    const { auth } = newAuth({ "kimi-coder": ENTRY });
    const mirror = { ...MIRROR, ...change };
    expect(await auth.update(() => mirror)).toEqual({ state: "written" });
    const { owner, source, region, replaces, token } = mirror;
    expect(await auth.read()).toEqual({
      state: "oauth",
      owner,
      source,
      region,
      replaces,
      token: { ...token, scope: undefined, tokenType: undefined },
    });
    expect(await auth.update(() => mirror)).toEqual({ state: "left" });
  });

  it.each([
    ["a region when it is the usual one", { region: "kimi.ai" }],
    ["what it has replaced when it has", { replaces: "0123456789abcdef" }],
  ])("no longer names %s", async (_, member) => {
    const { auth, content } = newAuth({ "kimi-coder": { ...ENTRY, ...member } });
    expect(await auth.update(() => ({ ...MIRROR, region: "kimi.com" }))).toEqual({ state: "written" });
    expect(JSON.parse(content())["kimi-coder"]).toEqual(ENTRY);
  });

  it.each([
    ["a key", { type: "api_key", key: "k" }],
    ["a damaged login", { ...ENTRY, access: 1 }],
    ["something else", null],
    ["a logout", undefined],
  ])("is left alone when there is %s", async (_, entry) => {
    const { auth, content } = newAuth({ ...OTHERS, "kimi-coder": entry });
    const before = content();
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "left" });
    expect(content()).toBe(before);
  });

  it("is asked about under the lock, so that the answer fits what is there", async () => {
    const { auth, path } = newAuth({ "kimi-coder": ENTRY });
    const seen: unknown[] = [];
    await auth.update((entry) => {
      seen.push(entry.state, existsSync(`${path}.lock`));
      return "leave";
    });
    expect([...seen, existsSync(`${path}.lock`)]).toEqual(["oauth", true, false]);
  });
});

describe("an auth.json that cannot be used", () => {
  it.each([
    ["torn", '{"kimi-coder": {"typ', "is not a JSON object"],
    ["no object", "[1]", "is not a JSON object"],
    ["huge", `{"x":"${"x".repeat(2 ** 20)}"}`, "is far too large"],
  ])("stays byte for byte when it is %s", async (_, text, reason) => {
    const { home, auth, content } = newAuth(text);
    expect(await auth.read()).toEqual({ state: "malformed", reason });
    expect(await auth.update(() => MIRROR)).toEqual({ state: "failed", code: "EBADMSG" });
    expect(await mirrorInto(auth, FIRST, SOURCE, true)).toEqual({ state: "failed", code: "EBADMSG" });
    expect(content()).toBe(text);
    expect(listing(home)).toEqual(["agent", "agent/auth.json"]);
  });

  it("stays when it is no text", async () => {
    const { path, auth } = newAuth();
    const bytes = Buffer.from([0x7b, 0xff, 0xfe, 0x7d]);
    put(path, bytes);
    expect(await auth.read()).toEqual({ state: "malformed", reason: "is not text" });
    expect(await auth.update(() => MIRROR)).toEqual({ state: "failed", code: "EBADMSG" });
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  it.each([
    ["no object", '"text"'],
    ["of an unknown type", JSON.stringify({ ...ENTRY, type: "other" })],
    ["without a token", JSON.stringify({ ...ENTRY, access: undefined })],
    ["that says logged out", JSON.stringify({ ...ENTRY, access: "" })],
  ])("holds a damaged entry: one %s", async (_, entry) => {
    const { auth } = newAuth(`{"kimi-coder": ${entry}}`);
    expect(await auth.read()).toEqual({ state: "malformed", reason: "holds a damaged entry" });
  });

  it("is looked at again while pi may be writing it", async () => {
    const { path, auth } = newAuth('{"kimi-coder": {"typ');
    const reading = auth.read();
    put(path, JSON.stringify({ "kimi-coder": ENTRY }));
    expect(await reading).toMatchObject({ state: "oauth", owner: ENTRY.owner });
  });

  it("is asked about once, where it is not its lock that is in the way", async () => {
    const { path, auth } = newAuth();
    mkdirSync(path, { recursive: true });
    let asked = 0;
    await auth.update(() => {
      asked += 1;
      return MIRROR;
    });
    expect(asked).toBe(1);
  });

  it("stays when it is a directory or a loop", async () => {
    const { path, auth } = newAuth();
    mkdirSync(path, { recursive: true });
    expect(await auth.read()).toEqual({ state: "unreadable", code: "EISDIR" });
    expect(await auth.update(() => MIRROR)).toEqual({ state: "failed", code: "EISDIR" });
    const loop = newAuth();
    put(join(loop.path, "..", "x"), "");
    symlinkSync("auth.json", loop.path);
    expect(await loop.auth.update(() => MIRROR)).toEqual({ state: "failed", code: "ELOOP" });
  });

  it("is named when its place cannot be written", async () => {
    const { home, auth } = newAuth();
    put(join(home, "agent"), "");
    expect(await mirrorInto(auth, FIRST, SOURCE, true)).toEqual({ state: "failed", code: "EEXIST" });
  });
});

describe("pi's lock on auth.json", () => {
  it("keeps us out as long as pi holds it, and no longer", async () => {
    const { path, auth, content } = newAuth({ "kimi-coder": ENTRY }, 2_000);
    const before = content();
    const release = lockSync(path, { realpath: false });
    expect(await mirrorInto(piAuth({ path, timeout: 60 }), SECOND, SOURCE, false)).toEqual({
      state: "failed",
      code: "ELOCKED",
    });
    expect(content()).toBe(before);
    const waiting = mirrorInto(auth, SECOND, SOURCE, false);
    release();
    expect(await waiting).toEqual({ state: "written" });
  });

  it("keeps us out also where pi is about to write its first login", async () => {
    const { path } = newAuth();
    mkdirSync(dirname(path));
    const release = lockSync(path, { realpath: false });
    const locked = { state: "failed", code: "ELOCKED" };
    expect(await mirrorInto(piAuth({ path, timeout: 0 }), FIRST, SOURCE, true)).toEqual(locked);
    expect(existsSync(path)).toBe(false);
    release();
  });

  it("is not taken from a holder that may be alive: pi's give a sign of life every 15 s", async () => {
    const { path, auth } = newAuth({ "kimi-coder": ENTRY }, 0);
    mkdirSync(`${path}.lock`);
    const held = (seconds: number) => new Date(Date.now() - seconds * 1000);
    utimesSync(`${path}.lock`, held(29), held(29));
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "failed", code: "ELOCKED" });
    utimesSync(`${path}.lock`, held(31), held(31));
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "written" });
  });

  it("has two names where auth.json is a symlink, and we respect both", async () => {
    const { home, path, auth } = newAuth();
    const real = put(join(home, "dotfiles", "auth.json"), JSON.stringify({ "kimi-coder": ENTRY }));
    put(join(home, "agent", "x"), "");
    symlinkSync("../dotfiles/auth.json", path);
    for (const realpath of [false, true]) {
      const release = lockSync(path, { realpath });
      expect(await mirrorInto(piAuth({ path, timeout: 0 }), SECOND, SOURCE, false)).toEqual({
        state: "failed",
        code: "ELOCKED",
      });
      release();
    }
    await auth.update(() => {
      expect([existsSync(`${path}.lock`), existsSync(`${real}.lock`)]).toEqual([true, true]);
      return "leave";
    });
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "written" });
    expect(readlinkSync(path)).toBe("../dotfiles/auth.json");
    expect(JSON.parse(readFileSync(real, "utf8"))).toEqual({ "kimi-coder": NEXT });
    expect(listing(join(home, "dotfiles"))).toEqual(["auth.json"]);
  });

  it("does not shut us out of an agent directory that is itself a symlink", async () => {
    const { home, path, auth } = newAuth();
    put(join(home, "elsewhere", "auth.json"), "{}");
    symlinkSync("elsewhere", join(home, "agent"));
    expect(await mirrorInto(auth, FIRST, SOURCE, true)).toEqual({ state: "written" });
    expect(AuthStorage.create(path).get("kimi-coder")).toEqual(ENTRY);
  });

  it("is held for no other code of this process to see", async () => {
    const { path, auth } = newAuth({ ...OTHERS });
    const pi = AuthStorage.create(path);
    const writing = mirrorInto(auth, FIRST, SOURCE, true);
    pi.reload();
    await writing;
    pi.reload();
    expect(pi.drainErrors()).toEqual([]);
    expect(pi.get("kimi-coder")).toEqual(ENTRY);
    pi.set("added", { type: "api_key", key: "k" });
    expect(await mirrorInto(auth, SECOND, SOURCE, false)).toEqual({ state: "written" });
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
      source: "/store",
    };
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
      ...Object.fromEntries(expected),
      "kimi-coder": ours,
    });
  });
});
