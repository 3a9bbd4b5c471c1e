import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keepList, readKeptList, readMirroredAccount } from "../../extensions/models/cache.ts";
import { parseServerList } from "../../extensions/models/server-list.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/defaults.ts";

const models = parseServerList({ data: modelsOfSeptember2026 });
const account = { owner: "kimi-cli", path: "/home/a/.kimi/credentials/kimi-code.json" };
const base = "https://api.kimi.com/coding/v1";
const kept = { models, fetchedAt: 1_000 };

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "models-"));
  path = join(folder, "kimi-coder-models.json");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the kept list", () => {
  test("is read as it was kept, in a file for its owner alone", async () => {
    await keepList(path, base, account, kept);
    expect(readKeptList(path, base, account)).toEqual(kept);
    expect(readKeptList(path, base, undefined)).toEqual(kept);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["kimi-coder-models.json"]);
    expect(readFileSync(path, "utf8")).not.toContain(account.path);
  });

  test("is nobody else's: not for another host, owner or file", async () => {
    await keepList(path, base, account, kept);
    expect(readKeptList(path, "https://api.kimi.ai/coding/v1", account)).toBeUndefined();
    expect(readKeptList(path, base, { ...account, owner: "kimi-code" })).toBeUndefined();
    expect(readKeptList(path, base, { ...account, path: "/elsewhere" })).toBeUndefined();
  });

  test.each([
    ["absent", undefined],
    ["empty", ""],
    ["torn", '{"fetchedAt":1000,"baseUrl":"https://api.kimi.com/coding/v1","da'],
    ["no object", "[]"],
    ["without models", JSON.stringify({ fetchedAt: 1, baseUrl: base, data: [] })],
    ["without a time", JSON.stringify({ baseUrl: base, data: modelsOfSeptember2026 })],
    [
      "huge",
      JSON.stringify({ fetchedAt: 1, baseUrl: base, data: modelsOfSeptember2026, x: "x".repeat(300_000) }),
    ],
  ])("is none when the file is %s", (_, text) => {
    if (text !== undefined) writeFileSync(path, text);
    expect(readKeptList(path, base, undefined)).toBeUndefined();
  });

  test("is none when a directory is in its place, and keeping one changes nothing then", async () => {
    mkdirSync(path);
    await keepList(path, base, account, kept);
    expect(readKeptList(path, base, account)).toBeUndefined();
  });

  test("that cannot be written is no error", async () => {
    writeFileSync(join(folder, "file"), "");
    await keepList(join(folder, "file", "x.json"), base, account, kept);
    expect(readdirSync(folder)).toEqual(["file"]);
  });
});

describe("the account that pi's auth.json mirrors", () => {
  const read = (auth: unknown) => {
    writeFileSync(path, typeof auth === "string" ? auth : JSON.stringify(auth));
    return readMirroredAccount(path, "kimi-coder");
  };

  test("is the login's owner and file", () => {
    const entry = {
      type: "oauth",
      access: "a",
      refresh: "r",
      expires: 1,
      owner: "kimi-cli",
      source: account.path,
    };
    expect(read({ other: {}, "kimi-coder": entry })).toEqual(account);
  });

  test.each([[{}], [{ "kimi-coder": { type: "api_key", key: "k" } }], [{ "kimi-coder": 1 }], ["{"], ["[]"]])(
    "is none in %o",
    (auth) => {
      expect(read(auth)).toBeUndefined();
    },
  );
});
