import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { listing, put, SECOND, temporaryDirectory } from "./support/homes.ts";
import { replace } from "./support/replace.ts";
import { STORES, WIRE } from "./support/stores.ts";

const FILES: Record<string, [text: string | Uint8Array, reason: string]> = {
  blank: [" \n", "is empty"],
  "JSON with NaN, as Python would write it": ['{"expires_at": NaN}', "is not a JSON object"],
  "an array": ["[]", "is not a JSON object"],
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
});

describe("in kimi-cli's file", () => {
  async function read(change: object) {
    const store = STORES["kimi-cli"](temporaryDirectory());
    put(store.path, JSON.stringify({ ...WIRE, expires_in: 900, ...change }));
    return store.read();
  }

  it.each([null, 7, [], "two words", "line\nbreak", "ümlaut", "x".repeat(16_385)])(
    "a token that is %j is none",
    async (value) => {
      const none = (name: string) => ({ state: "malformed", reason: `holds no ${name} token` });
      expect(await read({ access_token: value })).toEqual(none("access"));
      expect(await read({ refresh_token: value })).toEqual(none("refresh"));
    },
  );

  it("a token of 16 KB is one", async () => {
    const access_token = "x".repeat(16_384);
    expect(await read({ access_token })).toMatchObject({ token: { accessToken: access_token } });
  });

  it("an empty access token is a logout, an empty refresh token is damage", async () => {
    expect(await read({ access_token: "", refresh_token: "", expires_at: 0 })).toEqual({
      state: "signed-out",
    });
    expect(await read({ refresh_token: "" })).toMatchObject({ state: "malformed" });
  });

  it.each([-1, 1e300, Date.UTC(2100, 0) / 1000 + 1, "1800000000", true])(
    "an end that is %j is none",
    async (expires_at) => {
      const reason = "does not say when its token expires";
      expect(await read({ expires_at })).toEqual({ state: "malformed", reason });
    },
  );

  it.each([0, null, undefined, Date.UTC(2100, 0) / 1000])(
    "an end that is %j is one; without any the refresh token decides",
    async (expires_at) => {
      expect(await read({ expires_at })).toMatchObject({ token: { expiresAt: (expires_at ?? 0) * 1000 } });
    },
  );

  it.each([
    [1, 1_000],
    [366 * 86_400, 366 * 86_400_000],
    [366 * 86_400 + 1, 900_000],
    [0, 900_000],
    ["3600", 900_000],
    [undefined, 900_000],
  ])("a life of %j is %i ms", async (expires_in, lifetime) => {
    expect(await read({ expires_in })).toMatchObject({ token: { lifetime } });
  });
});
