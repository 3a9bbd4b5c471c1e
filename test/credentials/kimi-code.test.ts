import { existsSync, mkdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { lock } from "proper-lockfile";
import { describe, expect, it } from "vitest";
import { kimiCodeStore, slotName } from "../../extensions/credentials/kimi-code.ts";
import { FIRST, listing, modeOf, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { realKimiCode } from "./support/kimi-code-bundle.ts";
import { startNode } from "./support/processes.ts";

const HOSTS = { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" };
const kimiCode = realKimiCode();

const THEIRS = {
  accessToken: "access-1",
  refreshToken: "refresh-1",
  expiresAt: 1_800_000_000,
  expiresIn: 900,
  scope: "kimi-code",
  tokenType: "Bearer",
};

async function newStore(token: typeof THEIRS | undefined = THEIRS) {
  const home = join(temporaryDirectory(), ".kimi-code");
  const theirs = kimiCode.openStorage(join(home, "credentials"));
  await theirs.save("kimi-code", token);
  const store = kimiCodeStore({ home, ...HOSTS });
  return { home, theirs, store, content: () => readFileSync(store.path, "utf8") };
}

describe("kimi-code's store", () => {
  it("reads what kimi-code has written", async () => {
    const { store } = await newStore();
    expect(await store.read()).toEqual({ state: "present", token: FIRST });
  });

  it("writes what kimi-code would have written, byte for byte", async () => {
    const { store, theirs, content } = await newStore();
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    const ours = content();
    const second = {
      ...THEIRS,
      accessToken: "access-2",
      refreshToken: "refresh-2",
      expiresAt: 1_800_000_900,
    };
    expect({ ...(await theirs.load("kimi-code")) }).toEqual(second);
    await theirs.save("kimi-code", second);
    expect(ours).toBe(content());
    expect(modeOf(store.path)).toBe(0o600);
  });

  it("keeps what it does not know", async () => {
    const { store, content } = await newStore();
    put(store.path, content().replace("{\n", '{\n  "account": {\n    "id": 1.0\n  },\n'));
    expect(await store.replace("refresh-1", SECOND)).toEqual({ state: "written" });
    expect(content()).toContain('{\n  "account": {\n    "id": 1.0\n  },\n  "access_token": "access-2",\n');
  });

  it("takes kimi-code's tombstone for a logout, and leaves it", async () => {
    const { store, content } = await newStore(kimiCode.revokedTombstone(THEIRS));
    const before = content();
    expect(await store.read()).toEqual({ state: "signed-out" });
    expect(await store.replace("refresh-1", SECOND)).toEqual({
      state: "superseded",
      found: { state: "signed-out" },
    });
    expect(await store.replace("", SECOND)).toEqual({ state: "superseded", found: { state: "signed-out" } });
    expect(content()).toBe(before);
  });

  it("never overwrites another login", async () => {
    const { store, content } = await newStore();
    const before = content();
    expect(await store.replace("refresh-0", SECOND)).toMatchObject({
      state: "superseded",
      found: { state: "present" },
    });
    expect(content()).toBe(before);
  });

  it("saves a new login as kimi-code does, in directories for the user alone", async () => {
    const { theirs, content } = await newStore();
    const home = join(temporaryDirectory(), ".kimi-code");
    const store = kimiCodeStore({ home, ...HOSTS });
    expect(await store.save(FIRST)).toEqual({ state: "written" });
    await theirs.save("kimi-code", THEIRS);
    expect(readFileSync(store.path, "utf8")).toBe(content());
    expect([store.path, home, join(home, "credentials")].map(modeOf)).toEqual([0o600, 0o700, 0o700]);
  });

  it("puts an empty scope and type where neither the server nor the file says one", async () => {
    const { theirs, store } = await newStore();
    put(
      store.path,
      '{"access_token":"access-1","refresh_token":"refresh-1","expires_at":1,"expires_in":900}',
    );
    await store.replace("refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(await theirs.load("kimi-code")).toMatchObject({ scope: "", tokenType: "" });
  });

  it("keeps the file's scope and type where the server says none, and is kimi.com's unless told", async () => {
    const { theirs, store } = await newStore();
    await store.replace("refresh-1", { ...SECOND, scope: undefined, tokenType: undefined });
    expect(await theirs.load("kimi-code")).toMatchObject({ scope: "kimi-code", tokenType: "Bearer" });
    expect([store.owner, store.region]).toEqual(["kimi-code", "kimi.com"]);
    const other = kimiCodeStore({ home: "/h", ...HOSTS, region: "kimi.ai" });
    expect(other.region).toBe("kimi.ai");
  });

  it("leaves what kimi-code keeps in its lock's file", async () => {
    const { home, store } = await newStore();
    const sentinel = put(join(home, "oauth", "kimi-code"), "theirs");
    const lock = await store.lockOfOwner(0);
    if (lock.state === "held") await lock.release();
    expect(lock.state).toBe("held");
    expect(readFileSync(sentinel, "utf8")).toBe("theirs");
  });

  it("creates nothing while kimi-code has no login", async () => {
    const home = join(temporaryDirectory(), ".kimi-code");
    const store = kimiCodeStore({ home, ...HOSTS });
    expect(await store.read()).toEqual({ state: "absent" });
    expect(await store.lockAmongPi(0)).toMatchObject({ state: "held" });
    expect(await store.lockOfOwner(10)).toEqual({ state: "failed", code: "ENOENT" });
    expect(existsSync(home)).toBe(false);
  });
});

describe("kimi-code's slots", () => {
  it.each([
    ["https://auth.kimi.com", "https://api.kimi.com/coding/v1"],
    ["https://auth.kimi.com///", "https://api.kimi.com/coding/v1/"],
    [" https://auth.kimi.com/ ", "https://api.kimi.com/coding/v1"],
    ["https://auth.kimi.ai", "https://api.kimi.ai/coding/v1"],
    ["https://auth.kimi.ai/", "https://api.kimi.ai/coding/v1//"],
    ["https://auth.kimi.com", "http://127.0.0.1:8080/v1"],
    ["http://127.0.0.1:8080", "https://api.kimi.com/coding/v1"],
    ["HTTPS://AUTH.KIMI.COM", "https://api.kimi.com/coding/v1"],
  ])("are named as kimi-code names them: %s, %s", (oauthHost, baseUrl) => {
    expect(`oauth/${slotName(oauthHost, baseUrl)}`).toBe(
      kimiCode.resolveKimiCodeOAuthKey({ oauthHost, baseUrl }),
    );
  });

  it("are files of their own", () => {
    const store = kimiCodeStore({
      home: "/home",
      oauthHost: "https://auth.kimi.ai",
      baseUrl: "https://api.kimi.ai/coding/v1",
    });
    expect(store.path).toMatch(/^\/home\/credentials\/kimi-code-env-[0-9a-f]{16}\.json$/);
  });
});

describe("kimi-code's lock", () => {
  it("is taken as kimi-code takes it, on an empty file", async () => {
    const { home, store } = await newStore();
    const sentinel = join(home, "oauth", "kimi-code");
    const outcome = await store.lockOfOwner(0);
    expect(outcome).toMatchObject({ state: "held" });
    expect(readFileSync(sentinel, "utf8")).toBe("");
    await expect(lock(sentinel, { stale: 5_000, realpath: false })).rejects.toMatchObject({
      code: "ELOCKED",
    });
    if (outcome.state === "held") await outcome.release();
    const release = await lock(sentinel, { stale: 5_000, realpath: false });
    expect(await store.lockOfOwner(30)).toEqual({ state: "busy" });
    await release();
    expect(listing(join(home, "oauth"))).toEqual(["kimi-code"]);
    expect(store.ownerLockLimit).toBeUndefined();
  });

  it("lets one process in at a time", async () => {
    const { home } = await newStore();
    const counter = put(join(home, "counter"), "0");
    const peers = [1, 2, 3].map(() => startNode("peer.ts", ["count", "kimi-code", home, counter, "10"]));
    await Promise.all(peers.map((peer) => peer.rest()));
    expect(readFileSync(counter, "utf8")).toBe("30");
  });

  it("is taken from a holder that has been silent for five seconds, as kimi-code takes it", async () => {
    const { home, store } = await newStore();
    const folder = join(home, "oauth", "kimi-code.lock");
    mkdirSync(folder, { recursive: true });
    const silentFor = (ms: number) => utimesSync(folder, new Date(), new Date(Date.now() - ms));
    silentFor(4_000);
    expect(await store.lockOfOwner(0)).toEqual({ state: "busy" });
    silentFor(5_001);
    expect(await store.lockOfOwner(0)).toMatchObject({ state: "held" });
  });

  it("names what stands in its way", async () => {
    const { home, store } = await newStore();
    put(join(home, "oauth"), "");
    expect(await store.lockOfOwner(0)).toEqual({ state: "failed", code: "EEXIST" });
    const other = await newStore();
    mkdirSync(join(other.home, "oauth", "kimi-code"), { recursive: true });
    expect(await other.store.lockOfOwner(0)).toEqual({ state: "failed", code: "EISDIR" });
  });
});
