import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Account } from "../../extensions/caller.ts";
import type { GetAnswer } from "../../extensions/lib/http.ts";
import { createCatalogue, keepList } from "../../extensions/models/catalogue.ts";
import { parseServerList, readKeptList, readListAtStart } from "../../extensions/models/list.ts";
import { REGIONS, regionsInUse } from "../../extensions/region.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/index.ts";

const DAY = 86_400_000;
const { baseUrl } = REGIONS["kimi.com"];
const account: Account = { owner: "kimi-cli", path: "/a.json", baseUrl, region: "kimi.com", id: "a" };
const other: Account = { ...account, owner: "kimi-code", path: "/b.json", id: "b" };
const list = (...ids: readonly string[]) => ({ data: ids.map((id) => ({ id })) });
const listed = (...ids: readonly string[]): GetAnswer => ({ state: "answered", value: list(...ids) });
const never = new Promise(() => {});
const ids = (models: readonly { readonly id: string }[] | undefined) => models?.map(({ id }) => id);

let folder: string;
let path: string;
let now: number;
let asked: string[];
/** What pi was offered, in order. */
let offered: unknown[];
beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder, "kimi-coder-models.json");
  now = 100 * DAY;
  asked = [];
  offered = [];
});

/** A process that asks a server which answers in order; the last answer stands. */
function start(...answers: readonly (GetAnswer | Promise<GetAnswer>)[]) {
  return createCatalogue({
    path,
    registered: readKeptList(path, baseUrl, account)?.models ?? [],
    provider: { offer: (models) => offered.push(ids(models)) },
    ask: async (_baseUrl, bearer) => {
      asked.push(bearer);
      return answers[asked.length - 1] ?? answers.at(-1) ?? { state: "unusable" };
    },
    now: () => now,
  });
}
const keptIds = () => ids(readKeptList(path, baseUrl, account)?.models);

describe("the catalogue", () => {
  test("offers what another process has asked for meanwhile, and does not ask itself", async () => {
    const catalogue = start();
    await keepList(path, account, list("k3"), now);
    catalogue.keepUp("t1", account);
    catalogue.keepUp("t1", account);
    expect([offered, asked]).toEqual([[["k3"]], []]);
  });

  test("keeps what comes while the process ends, and does not offer it", async () => {
    const catalogue = start(listed("k3"));
    catalogue.keepUp("t1", account);
    await catalogue.end(never);
    expect([keptIds(), offered]).toEqual([["k3"], []]);
  });

  test.each([
    ["a second under a day old", DAY - 1_000, account, []],
    ["a day old", DAY, account, ["t1"]],
    ["of the future, the clock having been set back", -1, account, ["t1"]],
    ["another account's", 0, other, ["t1"]],
  ])("asks for a list that is %s as often as it should", async (_, age, owner, times) => {
    await keepList(path, owner, list("old"), now - age);
    const catalogue = start(listed("new"));
    catalogue.keepUp("t1", account);
    await catalogue.end(never);
    expect([asked, keptIds()]).toEqual([times, [times.length > 0 ? "new" : "old"]]);
  });

  test.each<[string, () => unknown]>([
    ["cannot be written", () => mkdirSync(path, { recursive: true })],
    ["has become another account's", () => keepList(path, other, list("theirs"), now)],
  ])("asks once a day also where the file %s", async (_, spoil) => {
    const catalogue = start(listed("k3"));
    await spoil();
    catalogue.keepUp("t1", account);
    await vi.waitFor(() => expect(offered).toEqual([["k3"]]));
    await new Promise(setImmediate);
    await spoil();
    now += DAY - 1;
    catalogue.keepUp("t2", account);
    now += 1;
    catalogue.keepUp("t3", account);
    expect(asked).toEqual(["t1", "t3"]);
  });

  test("keeps the last good list when asking fails, and asks again only with another access token", async () => {
    await keepList(path, account, list("old"), now - DAY);
    const catalogue = start(Promise.reject(new Error("moved")), listed(), listed("new"));
    for (const token of ["t1", "t2", "t2", "t3"]) {
      catalogue.keepUp(token, account);
      await new Promise(setImmediate);
      if (token !== "t3") expect(keptIds()).toEqual(["old"]);
    }
    expect(asked).toEqual(["t1", "t2", "t3"]);
    await catalogue.end(never);
    expect(keptIds()).toEqual(["new"]);
  });

  test("of the new login is the one that stays when the old one's comes late", async () => {
    let answer = (_: GetAnswer) => {};
    const late = new Promise<GetAnswer>((resolve) => {
      answer = resolve;
    });
    const catalogue = start(late, listed("new"));
    catalogue.keepUp("t1", account);
    const login = catalogue.afterLogin("t2", account);
    await new Promise(setImmediate);
    expect(asked).toEqual(["t1"]);
    answer(listed("old"));
    await login;
    expect([asked, keptIds(), offered]).toEqual([["t1", "t2"], ["new"], [["old"], ["new"]]]);
    // However new it is, a login asks for it; what pi has is not offered again.
    await catalogue.afterLogin("t3", account);
    expect([asked.length, offered.length]).toEqual([3, 2]);
  });

  test("gives up at the end of the session, and asks for nothing after it", async () => {
    let given = false;
    const catalogue = createCatalogue({
      path,
      registered: [],
      provider: { offer: () => expect.unreachable() },
      ask: (_baseUrl, _token, signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            given = true;
            resolve({ state: "lost", code: "ABORT_ERR" });
          });
        }),
      now: () => now,
    });
    catalogue.keepUp("t1", account);
    await catalogue.end(Promise.resolve());
    expect(given).toBe(true);
    catalogue.keepUp("t2", account);
    expect(existsSync(path)).toBe(false);
  });
});

describe("the kept list", () => {
  const september = { data: modelsOfSeptember2026 };

  test("is read as it was kept, in a file for its owner alone that names neither account nor key", async () => {
    await keepList(path, { ...account, baseUrl }, september, 1_000);
    const kept = { models: parseServerList(september), fetchedAt: 1_000 };
    expect(readKeptList(path, baseUrl, account)).toEqual(kept);
    expect(readKeptList(path, baseUrl, undefined)).toEqual(kept);
    expect(readKeptList(path, REGIONS["kimi.ai"].baseUrl, undefined)).toBeUndefined();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["kimi-coder-models.json"]);
    expect(readFileSync(path, "utf8")).not.toContain(account.path);
  });

  test.each([
    ["absent", undefined],
    ["torn", `{"fetchedAt":1000,"baseUrl":"${baseUrl}","da`],
    ["without models", JSON.stringify({ fetchedAt: 1, baseUrl, data: [] })],
    ["without a time", JSON.stringify({ baseUrl, ...september })],
  ])("is none when the file is %s", (_, text) => {
    if (text !== undefined) writeFileSync(path, text);
    expect(readKeptList(path, baseUrl, undefined)).toBeUndefined();
  });

  describe("that pi starts with", () => {
    const regions = regionsInUse({}, undefined);
    const startsWith = (entry: unknown, key?: string) => {
      const auth = join(folder, "auth.json");
      writeFileSync(auth, JSON.stringify({ "kimi-coder": entry }));
      return readListAtStart({ auth, models: path }, regions, key).length > 0;
    };
    const entry = { type: "oauth", owner: account.owner, source: account.path };

    test("is that of the login that pi's auth.json mirrors, in its region", async () => {
      await keepList(path, account, september, 1);
      expect(startsWith(entry)).toBe(true);
      expect(startsWith({ ...entry, source: "/elsewhere" })).toBe(false);
      expect(startsWith({ ...entry, owner: "kimi-code" })).toBe(false);
      expect(startsWith({ ...entry, region: "kimi.ai" })).toBe(false);
      expect(startsWith(entry, "sk-one")).toBe(false);
      await keepList(path, { ...account, baseUrl: REGIONS["kimi.ai"].baseUrl }, september, 1);
      expect(startsWith({ ...entry, region: "kimi.ai" })).toBe(true);
    });

    test("is whichever is kept where auth.json mirrors no login", async () => {
      expect(startsWith({ type: "api_key", key: "k" })).toBe(false);
      await keepList(path, account, september, 1);
      expect(startsWith({ type: "api_key", key: "k" })).toBe(true);
      expect(startsWith(1)).toBe(true);
    });
  });
});
