import { existsSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Account } from "../../extensions/caller.ts";
import { createCatalogue, fetchModels, type ModelsAnswer } from "../../extensions/models/catalogue.ts";
import { keepList, parseServerList, readKeptList } from "../../extensions/models/list.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { modelsOfSeptember2026, startKimiService } from "../support/kimi-service/index.ts";

const DAY = 86_400_000;
const baseUrl = "https://api.kimi.com/coding/v1";
const account: Account = { owner: "kimi-cli", path: "/a.json", baseUrl, region: "kimi.com", id: "a" };
const other: Account = { owner: "kimi-code", path: "/b.json", baseUrl, region: "kimi.com", id: "b" };
const list = (...ids: readonly string[]) => parseServerList({ data: ids.map((id) => ({ id })) });
const listed = (...ids: readonly string[]): ModelsAnswer => ({ state: "listed", models: list(...ids) });

let path: string;
let now: number;
let asked: string[];
/** What pi was offered, in order. */
let offered: (readonly string[])[];
beforeEach(() => {
  path = join(temporaryDirectory(), "kimi-coder-models.json");
  now = 100 * DAY;
  asked = [];
  offered = [];
});

/** A process that asks a server which answers in order; the last answer stands. */
function start(...answers: readonly (ModelsAnswer | Promise<ModelsAnswer>)[]) {
  let next = 0;
  return createCatalogue({
    path,
    registered: readKeptList(path, baseUrl, account)?.models ?? [],
    offer: (models) => offered.push(models.map(({ id }) => id)),
    ask: async (_baseUrl, bearer) => {
      asked.push(bearer);
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

  test("asks once where no list is kept, offers it at once, and the next process has it", async () => {
    const first = start(listed("k3"));
    first.keepUp("t1", account);
    first.keepUp("t1", account);
    await vi.waitFor(() => expect(offered).toEqual([["k3"]]));
    expect(asked).toEqual(["t1"]);
    expect(ids(first.registered())).toEqual(["k3"]);
    expect(ids(start().registered())).toEqual(["k3"]);
  });

  test("offers what another process has asked for meanwhile, and does not ask itself", async () => {
    const catalogue = start();
    await keepList(path, account, { models: list("k3"), fetchedAt: now });
    catalogue.keepUp("t1", account);
    catalogue.keepUp("t1", account);
    expect(offered).toEqual([["k3"]]);
    expect(ids(catalogue.registered())).toEqual(["k3"]);
    expect(asked).toEqual([]);
  });

  test("does not offer what pi has", async () => {
    await keepList(path, account, { models: list("k3"), fetchedAt: now - DAY });
    const catalogue = start(listed("k3"), listed("new"));
    catalogue.keepUp("t1", account);
    await vi.waitFor(() => expect(readKeptList(path, baseUrl, account)?.fetchedAt).toBe(now));
    await catalogue.afterLogin("t2", account);
    expect([asked, offered]).toEqual([["t1", "t2"], [["new"]]]);
  });

  test("keeps what comes while the process ends, and does not offer it", async () => {
    const catalogue = start(listed("k3"));
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect([keptIds(), offered]).toEqual([["k3"], []]);
  });

  test.each([
    ["a second under a day old", DAY - 1_000, 0],
    ["a day old", DAY, 1],
    ["of the future, the clock having been set back", -1, 1],
  ])("asks for a list that is %s as often as it should", async (_, age, times) => {
    await keepList(path, account, { models: list("old"), fetchedAt: now - age });
    const catalogue = start(listed("new"));
    expect(ids(catalogue.registered())).toEqual(["old"]);
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect(asked).toHaveLength(times);
    expect(keptIds()).toEqual([times ? "new" : "old"]);
    expect(ids(catalogue.registered())).toEqual(keptIds());
  });

  test("asks for another account's list, and does not show the first one's", async () => {
    await keepList(path, other, { models: list("theirs"), fetchedAt: now });
    const catalogue = start(listed("mine"));
    expect(catalogue.registered()).toEqual([]);
    catalogue.keepUp("t1", account);
    await catalogue.settle(1);
    expect(keptIds()).toEqual(["mine"]);
  });

  test("keeps the last good list when asking fails, and asks again only with another access token", async () => {
    await keepList(path, account, { models: list("old"), fetchedAt: now - DAY });
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

  test("asks after a login however new the list is, and offers what came", async () => {
    await keepList(path, account, { models: list("old"), fetchedAt: now });
    const catalogue = start(listed("new"));
    await catalogue.afterLogin("t1", account);
    expect(offered).toEqual([["new"]]);
    expect(keptIds()).toEqual(["new"]);
  });

  test("leaves the models alone when asking after a login fails", async () => {
    await keepList(path, account, { models: list("old"), fetchedAt: now });
    const catalogue = start({ state: "refused", status: 402 });
    await catalogue.afterLogin("t1", account);
    expect(offered).toEqual([]);
    expect(ids(catalogue.registered())).toEqual(["old"]);
  });

  test("of the new login is the one that stays when the old one's comes late", async () => {
    let answer = (_: ModelsAnswer) => {};
    const late = new Promise<ModelsAnswer>((resolve) => {
      answer = resolve;
    });
    const catalogue = start(late, listed("new"));
    catalogue.keepUp("t1", account);
    const login = catalogue.afterLogin("t2", account);
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
      registered: [],
      offer: () => expect.unreachable(),
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

test("GET /models lists the account's models, and an empty or a huge list is unusable", async () => {
  const service = await startKimiService({ models: modelsOfSeptember2026 });
  onTestFinished(() => service.close());
  const { access_token } = service.issueLogin();
  const ask = (token = access_token) =>
    fetchModels({ baseUrl: service.baseUrl, fetch, timeout: 5_000 }, token, new AbortController().signal);
  expect(await ask()).toEqual({ state: "listed", models: parseServerList({ data: modelsOfSeptember2026 }) });
  expect(await ask("wrong")).toEqual({ state: "refused", status: 401 });
  for (const more of [{ data: [] }, { data: modelsOfSeptember2026, x: "x".repeat(1_100_000) }]) {
    service.fault({ path: "models", do: { status: 200, body: more } });
    expect(await ask()).toEqual({ state: "unusable" });
  }
});
