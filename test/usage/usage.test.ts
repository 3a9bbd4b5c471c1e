/** Asking for the figures: with what, where, how often, and what is kept of it. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { fetchUsage } from "../../extensions/usage/fetch.ts";
import { parseUsages } from "../../extensions/usage/figures.ts";
import { keepFigures, readKeptFigures } from "../../extensions/usage/kept.ts";
import { createUsage, type UsageParts } from "../../extensions/usage/usage.ts";
import { sayDuration, sayPercent, sayUsageFailure } from "../../extensions/usage/words.ts";
import { newerUsages, olderUsages, startKimiService } from "../support/kimi-service/index.ts";
import { startLoopback } from "../support/loopback.ts";

const never = new AbortController().signal;
const account = { owner: "kimi-cli", path: "/home/a/.kimi/credentials/kimi-code.json", baseUrl: "https://x" };

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "usage-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "kimi-coder-usage.json");
}

async function service() {
  const started = await startKimiService();
  onTestFinished(() => started.close());
  return started;
}

describe("GET /usages and GET /me", () => {
  test("say who asks by Authorization alone, and the plan's name comes from /me", async () => {
    const kimi = await service();
    kimi.setMe({ user_level_name: "Allegretto" });
    const { access_token } = kimi.issueLogin();
    const answer = await fetchUsage({ baseUrl: kimi.baseUrl, fetch, timeout: 5_000 }, access_token, never);
    expect(answer).toMatchObject({ state: "figures", figures: { plan: "Allegretto", parallelLimit: 30 } });
    expect(kimi.log.map(({ path }) => path).sort()).toEqual(["/coding/v1/me", "/coding/v1/usages"]);
    for (const { headers } of kimi.log) {
      expect(headers.authorization).toBe(`Bearer ${access_token}`);
      expect(Object.keys(headers).filter((name) => name.startsWith("x-"))).toEqual([]);
      expect(headers["user-agent"]).not.toMatch(/kimi|pi\//i);
    }
  });

  test("do without /me", async () => {
    const kimi = await service();
    kimi.fault({ path: "me", do: { status: 500 } });
    const { access_token } = kimi.issueLogin();
    const answer = await fetchUsage({ baseUrl: kimi.baseUrl, fetch, timeout: 5_000 }, access_token, never);
    expect(answer).toMatchObject({ state: "figures", figures: { plan: "Intermediate" } });
  });

  test.each([
    ["a page", "<html></html>", { state: "unusable" }],
    ["nothing", "", { state: "unusable" }],
    ["an empty object", "{}", { state: "unusable" }],
    ["too much", JSON.stringify({ usages: {}, x: "x".repeat(300_000) }), { state: "unusable" }],
  ])("are no figures when it is %s", async (_, body, failure) => {
    const server = await startLoopback((_request, response) => response.end(body));
    onTestFinished(() => server.close());
    const answer = await fetchUsage({ baseUrl: server.url, fetch, timeout: 5_000 }, "t", never);
    expect(answer).toEqual(failure);
  });

  test("follow no redirect, end in time, and can be given up", async () => {
    const asked: (string | undefined)[] = [];
    const redirecting = await startLoopback((request, response) => {
      asked.push(request.url);
      response.writeHead(302, { location: "/elsewhere" }).end();
    });
    const silent = await startLoopback(() => {});
    onTestFinished(() => Promise.all([redirecting.close(), silent.close()]).then(() => {}));
    const ask = (baseUrl: string, timeout: number, signal = never) =>
      fetchUsage({ baseUrl, fetch, timeout }, "t", signal);
    expect(await ask(redirecting.url, 5_000)).toEqual({ state: "refused", status: 302 });
    expect(asked.sort()).toEqual(["/me", "/usages"]);
    expect(await ask(silent.url, 100)).toEqual({ state: "lost", code: "ETIMEDOUT" });
    expect(await ask(silent.url, 60_000, AbortSignal.abort())).toMatchObject({ state: "lost" });
  });
});

describe("the kept figures", () => {
  const figures = parseUsages(newerUsages(1_000_000_000_000));
  if (!figures) throw new Error("no figures");

  test("are read as they were kept, by their account alone, and name nobody", async () => {
    const path = temporaryFile();
    for (const body of [newerUsages(1_000_000_000_000), olderUsages(1_000_000_000_000)]) {
      const kept = { figures: parseUsages(body) ?? figures, fetchedAt: 1_000 };
      await keepFigures(path, account, kept);
      expect(readKeptFigures(path, account)).toEqual(kept);
      expect(readKeptFigures(path)).toEqual(kept);
    }
    for (const other of [{ owner: "kimi-code" }, { path: "/b" }, { baseUrl: "https://y" }])
      expect(readKeptFigures(path, { ...account, ...other })).toBeUndefined();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).not.toContain("kimi-code.json");
  });

  test("are anything but trusted", async () => {
    const path = temporaryFile();
    expect(readKeptFigures(path)).toBeUndefined();
    await keepFigures(path, account, { figures, fetchedAt: 1_000 });
    const whole = readFileSync(path, "utf8");
    writeFileSync(path, whole.slice(0, 200));
    expect(readKeptFigures(path)).toBeUndefined();
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (windows, wallet, fetchedAt) => {
        writeFileSync(path, JSON.stringify({ fetchedAt, figures: { windows, wallet } }));
        const kept = readKeptFigures(path);
        for (const { usedPercent } of kept?.figures.windows ?? []) {
          expect(usedPercent).toBeGreaterThanOrEqual(0);
          expect(usedPercent).toBeLessThanOrEqual(100);
        }
        if (kept) new Date(kept.fetchedAt).toISOString();
      }),
    );
  });
});

describe("a refresh", () => {
  const store = { owner: "kimi-cli", path: "/kimi", region: "kimi.com" } as const;

  /** Only what createUsage uses; the compiler cannot know that. */
  function parts(more: object): UsageParts {
    const made = JSON.parse("{}");
    return Object.assign(made, {
      path: temporaryFile(),
      regions: [{ region: "kimi.com", baseUrl: "https://api", oauthHost: "https://auth" }],
      refusal: undefined,
      configuredKey: () => undefined,
      clock: { now: () => 5_000, sleep: async () => {} },
      credential: {
        current: async () => ({ state: "ready", token: { accessToken: "first" }, store }),
        afterRejection: async () => ({ state: "ready", token: { accessToken: "second" }, store }),
        look: async () => ({ state: "use", store, token: { accessToken: "first" }, seed: false }),
      },
      ...more,
    });
  }
  const figures = parseUsages(olderUsages(0));
  const answer = { state: "figures", figures } as const;
  const refused = (status: number) => ({ state: "refused", status }) as const;

  test("asks once for all who want it at the same time, and keeps the answer", async () => {
    const asked: string[] = [];
    const usage = createUsage(
      parts({
        async ask(baseUrl: string, bearer: string) {
          asked.push(`${baseUrl} ${bearer}`);
          return answer;
        },
      }),
    );
    expect(await usage.last()).toBeUndefined();
    const [one, other] = await Promise.all([usage.refresh(), usage.refresh()]);
    expect(one).toEqual({ state: "fresh", kept: { figures, fetchedAt: 5_000 }, region: "kimi.com" });
    expect(other).toBe(one);
    expect(asked).toEqual(["https://api first"]);
    expect(await usage.last()).toEqual({ figures, fetchedAt: 5_000 });
    await usage.refresh();
    expect(asked).toHaveLength(2);
  });

  test("renews a rejected login once, and repeats once", async () => {
    const asked: string[] = [];
    const ask = (last: unknown) => async (_baseUrl: string, bearer: string) => {
      asked.push(bearer);
      return bearer === "first" ? refused(401) : last;
    };
    expect(await createUsage(parts({ ask: ask(answer) })).refresh()).toMatchObject({ state: "fresh" });
    expect(await createUsage(parts({ ask: ask(refused(401)) })).refresh()).toEqual({
      state: "failed",
      failure: refused(401),
      region: "kimi.com",
    });
    expect(asked).toEqual(["first", "second", "first", "second"]);
  });

  test("uses a key as it is, and tells its figures from the login's", async () => {
    const asked: string[] = [];
    const ask = async (_baseUrl: string, bearer: string) => {
      asked.push(bearer);
      return bearer === "sk-a" ? answer : refused(401);
    };
    const made = parts({ ask, configuredKey: () => ({ key: "sk-a" }) });
    const usage = createUsage(made);
    expect(await usage.refresh()).toMatchObject({ state: "fresh" });
    expect(await usage.refresh("sk-by-hand")).toMatchObject({ state: "failed" });
    expect(asked).toEqual(["sk-a", "sk-by-hand"]);
    expect(await usage.last()).toMatchObject({ fetchedAt: 5_000 });
    expect(await usage.last("sk-by-hand")).toBeUndefined();
    expect(await createUsage({ ...made, configuredKey: () => undefined }).last()).toBeUndefined();
    expect(readFileSync(made.path, "utf8")).not.toContain("sk-");
  });

  test("says whose figures are known, and that a login has changed", async () => {
    let path = "/kimi";
    const credential = {
      current: async () => ({ state: "ready", token: { accessToken: "first" }, store: { ...store, path } }),
      look: async () => ({ state: "use", store: { ...store, path } }),
    };
    const made = parts({ ask: async () => answer, credential });
    const usage = createUsage(made);
    const before = await usage.known();
    expect(before).toEqual({ account: expect.stringMatching(/^[0-9a-f]{16}$/), kept: undefined });
    await usage.refresh();
    expect(await usage.known()).toEqual({ account: before.account, kept: { figures, fetchedAt: 5_000 } });
    path = "/another";
    const after = await usage.known();
    expect(after.kept).toBeUndefined();
    expect(after.account).not.toBe(before.account);
    expect((await usage.known("sk-by-hand")).account).not.toBe(after.account);
    const nobody = { account: undefined, kept: undefined };
    expect(await createUsage({ ...made, refusal: "Kimi Coder: no." }).known()).toEqual(nobody);
    const none = parts({ credential: { look: async () => ({ state: "none" }) } });
    expect(await createUsage(none).known()).toEqual(nobody);
  });

  test("asks nobody without a login, or while a variable is wrong", async () => {
    const ask = () => Promise.reject(new Error("asked"));
    const none = { state: "none", reason: { kind: "no-login" } };
    const credential = {
      current: async () => ({ state: "unavailable", reason: none.reason }),
      look: async () => none,
    };
    const usage = createUsage(parts({ ask, credential }));
    const message = expect.stringMatching(/^Kimi Coder: no login found; /);
    expect(await usage.refresh()).toEqual({ state: "unavailable", message });
    expect(await usage.unavailable()).toEqual(message);
    const wrong = createUsage(parts({ ask, refusal: "Kimi Coder: no." }));
    expect(await wrong.refresh()).toEqual({ state: "unavailable", message: "Kimi Coder: no." });
    expect(await wrong.unavailable()).toBe("Kimi Coder: no.");
    expect(await createUsage(parts({ ask })).unavailable()).toBeUndefined();
  });

  test("can be given up, and begun anew", async () => {
    const ask = (_baseUrl: string, _bearer: string, signal: AbortSignal) =>
      new Promise((resolve) => {
        if (signal.aborted) resolve(refused(500));
        signal.addEventListener("abort", () => resolve(refused(499)));
      });
    const usage = createUsage(parts({ ask }));
    for (const _ of [1, 2]) {
      const outcome = usage.refresh();
      await new Promise(setImmediate);
      usage.stop();
      expect(await outcome).toMatchObject({ failure: refused(499) });
    }
  });
});

describe("the words", () => {
  test.each([
    [-5, "less than a minute"],
    [59_999, "less than a minute"],
    [60_000, "1 m"],
    [100 * 60_000, "1 h 40 m"],
    [120 * 60_000, "2 h"],
    [99 * 3_600_000, "4 d 3 h"],
    [48 * 3_600_000, "2 d"],
    [24 * 3_600_000 + 60_000, "1 d"],
  ])("%i ms are %s", (ms, words) => expect(sayDuration(ms)).toBe(words));

  test.each([
    [0, "0"],
    [0.4, "<1"],
    [1.5, "2"],
    [99.4, "99"],
    [99.9, "99"],
    [100, "100"],
  ])("%d %% is %s", (percent, words) => expect(sayPercent(percent)).toBe(words));

  test("every failure is one sentence with something to do", () => {
    const failures = [
      ...[302, 401, 402, 403, 404, 429, 500].map((status) => ({ state: "refused", status }) as const),
      { state: "unusable" } as const,
      ...["ETIMEDOUT", "ECONNREFUSED"].map((code) => ({ state: "lost", code }) as const),
    ];
    const said = failures.map((failure) => sayUsageFailure(failure, "kimi.ai"));
    for (const sentence of said) expect(sentence).toMatch(/^Kimi Coder: [^;]+; [^;]+\.$/);
    expect(new Set(said).size).toBe(said.length);
    expect(said.join()).toContain("https://www.kimi.ai/code");
  });
});
