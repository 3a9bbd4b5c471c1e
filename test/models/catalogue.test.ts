import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keepList, readKeptList } from "../../extensions/models/cache.ts";
import { createCatalogue } from "../../extensions/models/catalogue.ts";
import type { ModelsAnswer } from "../../extensions/models/fetch.ts";
import { parseServerList } from "../../extensions/models/server-list.ts";

const DAY = 86_400_000;
const account = { owner: "kimi-cli", path: "/kimi-code.json" };
const other = { owner: "kimi-code", path: "/other.json" };
const baseUrl = "https://api.kimi.com/coding/v1";
const list = (...ids: readonly string[]) => parseServerList({ data: ids.map((id) => ({ id })) });
const listed = (...ids: readonly string[]): ModelsAnswer => ({ state: "listed", models: list(...ids) });

let folder: string;
let path: string;
let now: number;
let asked: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "catalogue-"));
  path = join(folder, "kimi-coder-models.json");
  now = 100 * DAY;
  asked = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A process that asks a server which answers in order; the last answer stands. */
function start(...answers: readonly (ModelsAnswer | Promise<ModelsAnswer>)[]) {
  let next = 0;
  return createCatalogue({
    path,
    baseUrl: () => baseUrl,
    registered: readKeptList(path, baseUrl, account)?.models ?? [],
    ask: async (_baseUrl, accessToken) => {
      asked.push(accessToken);
      const answer = answers[Math.min(next++, answers.length - 1)];
      return answer ?? { state: "unusable" };
    },
    clock: {
      now: () => now,
      sleep: (_ms, signal) => new Promise((resolve) => signal?.addEventListener("abort", () => resolve())),
    },
  });
}
const ids = (models: readonly { readonly id: string }[] | undefined) => models?.map(({ id }) => id);
const keptIds = () => ids(readKeptList(path, baseUrl, account)?.models);

describe("the catalogue", () => {
  test("asks for nothing by itself", () => {
    expect(start(listed("k3")).registered()).toEqual([]);
    expect(asked).toEqual([]);
  });

  test("asks once where no list is kept, and the next process has it", async () => {
    const first = start(listed("k3"));
    first.keepUp("t1", account);
    first.keepUp("t1", account);
    await first.settle(1);
    expect(asked).toEqual(["t1"]);
    expect(ids(first.registered())).toEqual([]);
    expect(ids(start().registered())).toEqual(["k3"]);
  });

  test.each([
    ["a second under a day old", DAY - 1_000, 0],
    ["a day old", DAY, 1],
    ["of the future, the clock having been set back", -1, 1],
  ])("asks for a list that is %s as often as it should", async (_, age, times) => {
    await keepList(path, baseUrl, account, { models: list("old"), fetchedAt: now - age });
    const catalogue = start(listed("new"));
    expect(ids(catalogue.registered())).toEqual(["old"]);
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect(asked).toHaveLength(times);
    expect(keptIds()).toEqual([times ? "new" : "old"]);
    expect(ids(catalogue.registered())).toEqual(["old"]);
  });

  test("asks for another account's list, and does not show the first one's", async () => {
    await keepList(path, baseUrl, other, { models: list("theirs"), fetchedAt: now });
    const catalogue = start(listed("mine"));
    expect(catalogue.registered()).toEqual([]);
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect(keptIds()).toEqual(["mine"]);
  });

  test("keeps the last good list when asking fails, and asks again only with another access token", async () => {
    await keepList(path, baseUrl, account, { models: list("old"), fetchedAt: now - DAY });
    const catalogue = start({ state: "lost", code: "ENOTFOUND" }, listed("new"));
    catalogue.keepUp("t1", account);
    await new Promise(setImmediate);
    catalogue.keepUp("t1", account);
    expect(asked).toEqual(["t1"]);
    expect(keptIds()).toEqual(["old"]);
    catalogue.keepUp("t2", account);
    await catalogue.settle(1);
    expect(asked).toEqual(["t1", "t2"]);
    expect(keptIds()).toEqual(["new"]);
  });

  test("asks after a login however new the list is, and registers what came", async () => {
    await keepList(path, baseUrl, account, { models: list("old"), fetchedAt: now });
    const catalogue = start(listed("new"));
    let registered: unknown;
    await catalogue.afterLogin("t1", account, () => {
      registered = ids(catalogue.registered());
    });
    expect(registered).toEqual(["new"]);
    expect(keptIds()).toEqual(["new"]);
  });

  test("leaves the registered models alone when asking after a login fails", async () => {
    await keepList(path, baseUrl, account, { models: list("old"), fetchedAt: now });
    const catalogue = start({ state: "refused", status: 402 });
    await catalogue.afterLogin("t1", account, () => expect.unreachable());
    expect(ids(catalogue.registered())).toEqual(["old"]);
  });

  test("of the new login is the one that stays when the old one's comes late", async () => {
    let answer = (_: ModelsAnswer) => {};
    const late = new Promise<ModelsAnswer>((resolve) => {
      answer = resolve;
    });
    const catalogue = start(late, listed("new"));
    catalogue.keepUp("t1", account);
    const login = catalogue.afterLogin("t2", account, () => {});
    await new Promise(setImmediate);
    expect(asked).toEqual(["t1"]);
    answer(listed("old"));
    await login;
    expect(asked).toEqual(["t1", "t2"]);
    expect(keptIds()).toEqual(["new"]);
  });

  test("gives up at the end of the session, and asks for nothing after it", async () => {
    let given = false;
    const catalogue = createCatalogue({
      path,
      baseUrl: () => baseUrl,
      registered: [],
      ask: (_baseUrl, _token, signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            given = true;
            resolve({ state: "lost", code: "ABORT_ERR" });
          });
        }),
      clock: { now: () => now, sleep: async () => {} },
    });
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect(given).toBe(true);
    catalogue.keepUp("t2", account);
    expect(existsSync(path)).toBe(false);
  });
});
