import { existsSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { opencodeKimiAuthStore } from "../../extensions/credentials/opencode-kimi-auth.ts";
import { opencodeKimiFullStore } from "../../extensions/credentials/opencode-kimi-full.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { startNode } from "./support/processes.ts";

const NAME = "kimi-for-coding-oauth";
const entry = { type: "oauth", refresh: "refresh-1", access: "access-1", expires: 1_800_000_000_000 };

describe("opencode-kimi-full's store", () => {
  const next = { type: "oauth", refresh: "refresh-2", access: "access-2", expires: 1_800_000_900_250 };
  const others = {
    anthropic: { type: "api", key: "k" },
    openai: { type: "oauth", expires: 1.5, x: [1, { y: 2 }] },
  };

  function newStore(content: unknown) {
    const data = temporaryDirectory();
    const store = opencodeKimiFullStore({ data });
    put(store.path, JSON.stringify(content, null, 2), 0o644);
    return { data, store, content: () => readFileSync(store.path, "utf8") };
  }

  it("reads its entry of opencode's file, also under the name with a slash", async () => {
    const present = { state: "present", token: { ...FIRST, scope: undefined, tokenType: undefined } };
    expect(await newStore({ ...others, [NAME]: entry }).store.read()).toEqual(present);
    expect(await newStore({ [`${NAME}/`]: entry, ...others }).store.read()).toEqual(present);
    expect(await newStore(others).store.read()).toEqual({ state: "absent" });
    const both = newStore({ [`${NAME}/`]: next, [NAME]: entry });
    expect(await both.store.read()).toEqual(present);
    expect(both.store.owner).toBe("opencode-kimi-full");
  });

  it("replaces its entry as opencode writes it, and leaves everybody else's", async () => {
    const { store, content } = newStore({
      a: others.anthropic,
      [NAME]: { ...entry, accountId: "x" },
      b: others.openai,
    });
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    const expected = { a: others.anthropic, [NAME]: { ...next, accountId: "x" }, b: others.openai };
    expect(JSON.parse(content())).toEqual(expected);
    expect(content()).toBe(
      JSON.stringify({ ...expected, [NAME]: { ...entry, ...next, accountId: "x" } }, null, 2),
    );
    expect(modeOf(store.path)).toBe(0o600);

    const slash = newStore({ [`${NAME}/`]: entry });
    await slash.store.replace("refresh-1", SECOND);
    expect(JSON.parse(slash.content())).toEqual({ [`${NAME}/`]: next });
  });

  it("is superseded when opencode has rotated or removed the entry", async () => {
    for (const text of [others, { ...others, [NAME]: next }]) {
      const { store, content } = newStore(text);
      const before = content();
      const found = await store.read();
      expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "superseded", found });
      expect(content()).toBe(before);
    }
  });

  it("says what is wrong with the entry", async () => {
    const { store: other } = newStore({ [NAME]: { ...entry, type: "api" } });
    expect(await other.read()).toEqual({
      state: "malformed",
      reason: "holds a Kimi entry that is no OAuth login",
    });
    for (const wrong of [
      { type: "api", key: "k" },
      null,
      "x",
      [],
      { ...entry, refresh: 1 },
      { ...entry, expires: "1" },
    ]) {
      const { store, content } = newStore({ ...others, [NAME]: wrong });
      const before = content();
      expect(await store.read()).toMatchObject({ state: "malformed" });
      expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "failed", code: "EBADMSG" });
      expect(content()).toBe(before);
    }
  });

  /** What opencode leaves when it dies while it renews. */
  function leaveDead(data: string): void {
    const owner = join(data, "opencode", `auth.json.${NAME}.refresh.lock`, "owner.json");
    put(owner, '{"token":"dead"}');
    utimesSync(owner, new Date(), new Date(Date.now() - 121_000));
  }

  it("excludes pi's processes from one another, also while one of them takes over from a dead opencode", async () => {
    const { data, store } = newStore({ [NAME]: entry });
    leaveDead(data);
    const env = { ...process.env, GO_ON: join(data, "go on") };
    const slow = startNode("peer.ts", ["hold", "opencode", data], { env, preload: "slow-takeover.cjs" });
    expect(await slow.says()).toBe("taking over");
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    put(env.GO_ON, "");
    expect(await slow.says()).toBe("held");
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    expect(await store.lockOfOwner(0)).toEqual({ state: "busy" });
    slow.tell("let go");
    expect(await slow.says()).toBe("released");
    expect(listing(join(data, "opencode"))).toEqual(["auth.json"]);
    const none = opencodeKimiFullStore({ data: join(data, "none") });
    expect(await none.lockAmongPi(0)).toEqual({ state: "failed", code: "ENOENT" });
  });

  it("lets one process of pi in at a time", async () => {
    const { data } = newStore({ [NAME]: entry });
    leaveDead(data);
    const counter = put(join(data, "counter"), "0");
    const peers = [1, 2, 3].map(() => startNode("peer.ts", ["count", "opencode", data, counter, "5"]));
    await Promise.all(peers.map((peer) => peer.rest()));
    expect(readFileSync(counter, "utf8")).toBe("15");
    expect(listing(join(data, "opencode"))).toEqual(["auth.json"]);
  });

  it("takes the plugin's own lock directory, and none where opencode has no file", async () => {
    const { data, store } = newStore({ [NAME]: entry });
    const outcome = await store.lockOfOwner(0);
    expect(listing(join(data, "opencode"))).toEqual([
      "auth.json",
      `auth.json.${NAME}.refresh.lock`,
      `auth.json.${NAME}.refresh.lock/owner.json`,
    ]);
    expect(await store.lockOfOwner(0)).toEqual({ state: "busy" });
    if (outcome.state === "held") await outcome.release();
    expect(listing(join(data, "opencode"))).toEqual(["auth.json"]);

    const nowhere = join(temporaryDirectory(), "none");
    expect(await opencodeKimiFullStore({ data: nowhere }).lockOfOwner(0)).toEqual({
      state: "failed",
      code: "ENOENT",
    });
    expect(existsSync(nowhere)).toBe(false);
  });
});

describe.each([
  ["opencode-kimi-full", (data: string) => opencodeKimiFullStore({ data }), { [NAME]: entry }],
  [
    "opencode-kimi-auth",
    (folder: string) => opencodeKimiAuthStore({ folder }),
    { access_token: "access-1", refresh_token: "refresh-1", expires_at: 1 },
  ],
] as const)("%s's file, which is written in place,", (_, open, content) => {
  it("is looked at again before it counts as damaged", async () => {
    const store = open(temporaryDirectory());
    const text = JSON.stringify(content);
    put(store.path, text.slice(0, -5));
    const reading = store.read();
    put(store.path, text);
    expect(await reading).toMatchObject({ state: "present" });
  });
});

describe("opencode-kimi-auth's store", () => {
  const stored = {
    access_token: "access-1",
    refresh_token: "refresh-1",
    expires_in: 900,
    scope: "kimi-code",
    token_type: "Bearer",
    expires_at: 1_800_000_000_000,
    device_id: "d",
  };

  function newStore(text: string) {
    const folder = join(temporaryDirectory(), ".opencode-kimi-auth");
    const store = opencodeKimiAuthStore({ folder });
    put(store.path, text);
    return { folder, store, content: () => readFileSync(store.path, "utf8") };
  }

  it("reads and replaces the plain file, byte for byte as the plugin writes it", async () => {
    const { store, content } = newStore(JSON.stringify(stored, null, 2));
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    const next = {
      ...stored,
      access_token: "access-2",
      refresh_token: "refresh-2",
      expires_at: 1_800_000_900_250,
    };
    expect(content()).toBe(JSON.stringify(next, null, 2));
  });

  it("keeps the file's scope and type where the server says none, and writes what it says", async () => {
    const { store, content } = newStore(JSON.stringify(stored));
    await store.replace("refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(JSON.parse(content())).toMatchObject({ scope: "kimi-code", token_type: "Bearer" });
    await store.replace("refresh-2", { ...FIRST, scope: "other", tokenType: "other" });
    expect(JSON.parse(content())).toMatchObject({ scope: "other", token_type: "other" });
  });

  it("takes no scope and no type that are no text", async () => {
    const { store } = newStore(JSON.stringify({ ...stored, scope: 7, token_type: ["Bearer"] }));
    const token = { ...FIRST, scope: undefined, tokenType: undefined };
    expect(await store.read()).toEqual({ state: "present", token });
  });

  it("takes a token of up to 16 KB", async () => {
    const long = "x".repeat(16_384);
    const { store } = newStore(JSON.stringify({ ...stored, access_token: long }));
    expect(await store.read()).toEqual({ state: "present", token: { ...FIRST, accessToken: long } });
    put(store.path, JSON.stringify({ ...stored, access_token: `${long}x` }));
    expect(await store.read()).toEqual({ state: "malformed", reason: "holds no access token" });
  });

  it.each([
    ["empty", ""],
    ["half a file", '{"access_token": "acc'],
  ])("waits for a file that is just being written: %s", async (_name, text) => {
    const { store } = newStore(text);
    const reading = store.read();
    put(store.path, JSON.stringify(stored));
    expect(await reading).toEqual({ state: "present", token: FIRST });
  });

  it("takes the life that the file names", async () => {
    const { store } = newStore(JSON.stringify({ ...stored, expires_in: 3600 }));
    expect(await store.read()).toEqual({ state: "present", token: { ...FIRST, lifetime: 3_600_000 } });
    expect(store.owner).toBe("opencode-kimi-auth");
  });

  it("takes the usual life where the file names none", async () => {
    const { store } = newStore(JSON.stringify({ ...stored, expires_in: "3600" }));
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
  });

  it("says so when the file is encrypted, and leaves it", async () => {
    const { store, content } = newStore('{\n  "encrypted": "AAAA"\n}');
    expect(await store.read()).toEqual({ state: "malformed", reason: "is encrypted by opencode-kimi-auth" });
    expect(await store.replace("refresh-1", SECOND)).toMatchObject({ state: "failed" });
    expect(content()).toBe('{\n  "encrypted": "AAAA"\n}');
  });

  it("excludes pi's processes; the plugin itself has no lock", async () => {
    const { folder, store } = newStore(JSON.stringify(stored));
    const outcome = await store.lockAmongPi(0);
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    const silentFor = (ms: number) =>
      utimesSync(join(folder, "oauth.pi.lock"), new Date(), new Date(Date.now() - ms));
    silentFor(9_000);
    expect(await store.lockAmongPi(0)).toEqual({ state: "busy" });
    silentFor(0);
    if (outcome.state === "held") await outcome.release();
    expect(await store.lockOfOwner(0)).toEqual({ state: "failed", code: "ENOTSUP" });
    expect(listing(folder)).toEqual(["oauth.json"]);
    const none = opencodeKimiAuthStore({ folder: join(folder, "none") });
    expect(await none.lockAmongPi(0)).toEqual({ state: "failed", code: "ENOENT" });
  });
});
