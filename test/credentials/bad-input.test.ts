import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiAuthStore,
  opencodeKimiFullStore,
} from "../../extensions/credentials/stores.ts";
import { listing, put, SECOND, temporaryDirectory, USUAL_HOSTS } from "./support/homes.ts";
import { replace } from "./support/replace.ts";

const STORES = {
  "kimi-cli": (share: string) => kimiCliStore(share),
  "kimi-code": (home: string) => kimiCodeStore(home, USUAL_HOSTS),
  "opencode-kimi-auth": opencodeKimiAuthStore,
  "opencode-kimi-full": opencodeKimiFullStore,
};

const FILES: Record<string, [text: string | Uint8Array, reason: string]> = {
  empty: ["", "is empty"],
  blank: [" \n", "is empty"],
  torn: ['{"access_token": "acc', "is not a JSON object"],
  "no JSON": ["access_token=abc", "is not a JSON object"],
  "JSON with NaN, as Python would write it": ['{"expires_at": NaN}', "is not a JSON object"],
  "an array": ["[]", "is not a JSON object"],
  null: ["null", "is not a JSON object"],
  huge: [`{"x": "${"x".repeat(2 ** 20)}"}`, "is far too large"],
  binary: [Buffer.from([0xff, 0xfe, 0]), "is not text"],
};

describe.each(Object.entries(STORES))("in place of %s's login", (_, open) => {
  it.each(Object.entries(FILES))("%s is named, and stays byte for byte", async (_, [content, reason]) => {
    const home = temporaryDirectory();
    const store = open(home);
    put(store.path, content);
    const before = readFileSync(store.path);
    const files = listing(home);
    expect(await store.read()).toEqual({ state: "malformed", reason });
    expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "failed", code: "EBADMSG" });
    expect(readFileSync(store.path).equals(before)).toBe(true);
    expect(listing(home)).toEqual(files);
  });

  it("a directory, a FIFO and a loop of symlinks are named and stay", async () => {
    for (const [code, make] of [
      ["EISDIR", (path: string) => mkdirSync(path)],
      ["EFTYPE", (path: string) => spawnSync("mkfifo", [path])],
      ["ELOOP", (path: string) => symlinkSync(path, path)],
    ] as const) {
      const store = open(temporaryDirectory());
      mkdirSync(dirname(store.path), { recursive: true });
      make(store.path);
      const before = lstatSync(store.path).ino;
      expect(await store.read()).toEqual({ state: "unreadable", code });
      expect(await replace(store, "refresh-1", SECOND)).toEqual({ state: "failed", code });
      expect(lstatSync(store.path).ino).toBe(before);
    }
  });

  it("a file where a directory should be counts as absent", async () => {
    const home = put(join(temporaryDirectory(), "home"), "");
    expect(await open(home).read()).toEqual({ state: "absent" });
  });

  it("whatever JSON it is: no exception, and a token only of printable ASCII that ends some day", async () => {
    const store = open(temporaryDirectory());
    const anything = fc.oneof(fc.jsonValue(), fc.double(), fc.string({ minLength: 1 }));
    const names = [
      "access_token",
      "refresh_token",
      "expires_at",
      "expires_in",
      "access",
      "refresh",
      "expires",
    ];
    const login = fc.dictionary(fc.constantFrom(...names), anything);
    const entry = fc
      .tuple(login, fc.boolean())
      .map(([value, isOauth]) => (isOauth ? { ...value, type: "oauth" } : value));
    const file = fc.oneof(
      login,
      entry.map((value) => ({ "kimi-for-coding-oauth": value })),
    );
    await fc.assert(
      fc.asyncProperty(file, async (value) => {
        put(store.path, JSON.stringify(value));
        const found = await store.read();
        if (found.state !== "present") return;
        const { accessToken, refreshToken, expiresAt, lifetime } = found.token;
        expect(accessToken + refreshToken).toMatch(/^[\x21-\x7e]{2,}$/);
        expect(expiresAt >= 0 && expiresAt <= Date.UTC(2100, 0)).toBe(true);
        expect(lifetime > 0 && lifetime <= 366 * 86_400_000).toBe(true);
      }),
    );
  });
});

describe.each(["kimi-cli", "kimi-code"] as const)("in %s's file", (owner) => {
  const login = {
    access_token: "access-1",
    refresh_token: "refresh-1",
    expires_at: 1_800_000_000,
    expires_in: 900,
  };

  async function read(change: object) {
    const store = STORES[owner](temporaryDirectory());
    put(store.path, JSON.stringify({ ...login, ...change }));
    return store.read();
  }

  it.each([null, 7, true, {}, [], "two words", "line\nbreak", "ümlaut", "x".repeat(20_000)])(
    "a token that is %j is none",
    async (value) => {
      expect(await read({ access_token: value })).toEqual({
        state: "malformed",
        reason: "holds no access token",
      });
      expect(await read({ refresh_token: value })).toEqual({
        state: "malformed",
        reason: "holds no refresh token",
      });
    },
  );

  it("an empty access token is a logout, an empty refresh token is damage", async () => {
    expect(await read({ access_token: "", refresh_token: "", expires_at: 0 })).toEqual({
      state: "signed-out",
    });
    expect(await read({ access_token: "" })).toEqual({ state: "signed-out" });
    expect(await read({ refresh_token: "" })).toMatchObject({ state: "malformed" });
  });

  it.each([-1, 1e300, 1_800_000_000_000, "1800000000", "soon", true, {}, []])(
    "an end that is %j is none",
    async (expires_at) => {
      expect(await read({ expires_at })).toEqual({
        state: "malformed",
        reason: "does not say when its token expires",
      });
    },
  );

  it.each([0, null, undefined])(
    "an end that is %j is past, so that the refresh token decides",
    async (expires_at) => {
      expect(await read({ expires_at })).toMatchObject({ state: "present", token: { expiresAt: 0 } });
    },
  );

  it("an end up to the year 2100 is one", async () => {
    const end = Date.UTC(2100, 0) / 1000;
    expect(await read({ expires_at: end })).toMatchObject({ token: { expiresAt: end * 1000 } });
    expect(await read({ expires_at: end + 1 })).toMatchObject({ state: "malformed" });
  });

  it.each([1, 3_600, 366 * 86_400])("a life of %j s is taken as it is", async (expires_in) => {
    expect(await read({ expires_in })).toMatchObject({ token: { lifetime: expires_in * 1000 } });
  });

  it.each([0, -5, 366 * 86_400 + 1, 1e300, "3600", null, undefined, {}])(
    "a life of %j is taken for the usual one",
    async (expires_in) => {
      expect(await read({ expires_in })).toMatchObject({ state: "present", token: { lifetime: 900_000 } });
    },
  );
});
