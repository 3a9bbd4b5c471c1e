import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { fingerprint } from "../../extensions/lib/safe-text.ts";
import { keepList, parseServerList, readKeptList, readListAtStart } from "../../extensions/models/list.ts";
import { REGIONS, regionsInUse } from "../../extensions/region.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/defaults.ts";

const models = parseServerList({ data: modelsOfSeptember2026 });
const account = { owner: "kimi-cli", path: "/home/a/.kimi/credentials/kimi-code.json" };
const base = "https://api.kimi.com/coding/v1";
const theirs = { ...account, baseUrl: base };
const kept = { models, fetchedAt: 1_000 };

let folder: string;
let path: string;
beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder, "kimi-coder-models.json");
});

describe("the kept list", () => {
  test("is read as it was kept, in a file for its owner alone", async () => {
    await keepList(path, theirs, kept);
    expect(readKeptList(path, base, account)).toEqual(kept);
    expect(readKeptList(path, base, undefined)).toEqual(kept);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["kimi-coder-models.json"]);
    expect(readFileSync(path, "utf8")).not.toContain(account.path);
  });

  test("is nobody else's: not for another host, owner or file", async () => {
    await keepList(path, theirs, kept);
    expect(readKeptList(path, "https://api.kimi.ai/coding/v1", account)).toBeUndefined();
    expect(readKeptList(path, base, { ...account, owner: "kimi-code" })).toBeUndefined();
    expect(readKeptList(path, base, { ...account, path: "/elsewhere" })).toBeUndefined();
  });

  test.each([
    ["absent", undefined],
    ["torn", '{"fetchedAt":1000,"baseUrl":"https://api.kimi.com/coding/v1","da'],
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

  test("that cannot be written is no error", async () => {
    writeFileSync(join(folder, "file"), "");
    await keepList(join(folder, "file", "x.json"), theirs, kept);
    expect(readdirSync(folder)).toEqual(["file"]);
  });
});

describe("the list that pi starts with", () => {
  const regions = regionsInUse(REGIONS, {}, undefined);
  const ids = (auth: unknown, key?: string) => {
    const file = join(folder, "auth.json");
    writeFileSync(file, typeof auth === "string" ? auth : JSON.stringify(auth));
    return readListAtStart({ auth: file, models: path }, regions, key).map(({ id }) => id);
  };
  const mirroring = (more: object) => ({
    other: {},
    "kimi-coder": {
      type: "oauth",
      access: "a",
      refresh: "r",
      expires: 1,
      ...{ owner: account.owner, source: account.path, ...more },
    },
  });
  const kimiAi = { ...account, baseUrl: REGIONS["kimi.ai"].baseUrl };

  test("is that of the login that pi's auth.json mirrors, in its region", async () => {
    await keepList(path, theirs, kept);
    expect(ids(mirroring({}))).toContain("k3");
    expect(ids(mirroring({ source: "/elsewhere" }))).toEqual([]);
    expect(ids(mirroring({ region: "kimi.ai" }))).toEqual([]);
    await keepList(path, kimiAi, kept);
    expect(ids(mirroring({ region: "kimi.ai" }))).toContain("k3");
  });

  test("is that of the configured key, whatever login there is", async () => {
    await keepList(path, theirs, kept);
    expect(ids(mirroring({}), "sk-one")).toEqual([]);
    await keepList(path, { owner: "key", path: fingerprint("sk-one"), baseUrl: base }, kept);
    expect(ids(mirroring({}), "sk-one")).toContain("k3");
    expect(ids(mirroring({}), "sk-two")).toEqual([]);
    expect(readFileSync(path, "utf8")).not.toContain("sk-one");
  });

  test.each([[{ "kimi-coder": { type: "api_key", key: "k" } }], [{ "kimi-coder": 1 }], ["{"]])(
    "is whichever is kept where auth.json is %o",
    async (auth) => {
      expect(ids(auth)).toEqual([]);
      await keepList(path, theirs, kept);
      expect(ids(auth)).toContain("k3");
      await keepList(path, kimiAi, kept);
      expect(ids(auth)).toEqual([]);
    },
  );
});
