/** Asking for the figures: with what, where, how often, and what is kept of it. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Account, Bearer, Sight } from "../../extensions/caller.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { keepAnswer, readKeptFigures } from "../../extensions/quota/kept.ts";
import { createUsage, fetchUsage, type UsageAnswer, type UsageParts } from "../../extensions/quota/usage.ts";
import { sayDuration, sayPercent, sayProblem } from "../../extensions/quota/words.ts";
import { newerUsages, olderUsages, startKimiService } from "../support/kimi-service/index.ts";

const never = new AbortController().signal;
const ID = "0123456789abcdef";

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
});

describe("the kept figures", () => {
  test("are read as they were kept, by their account alone", async () => {
    const path = temporaryFile();
    for (const answer of [newerUsages(1_000_000_000_000), olderUsages(1_000_000_000_000)]) {
      await keepAnswer(path, ID, answer, 1_000);
      const kept = { figures: parseFigures(answer), fetchedAt: 1_000 };
      expect(readKeptFigures(path, ID)).toEqual(kept);
      expect(readKeptFigures(path)).toEqual(kept);
    }
    expect(readKeptFigures(path, "fedcba9876543210")).toBeUndefined();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("stay as they are where an answer cannot be written", async () => {
    const path = temporaryFile();
    await keepAnswer(path, ID, olderUsages(0), 1_000);
    await keepAnswer(path, ID, JSON.parse(`{"limits":${"[".repeat(20_000)}${"]".repeat(20_000)}}`), 2_000);
    expect(readKeptFigures(path, ID)?.fetchedAt).toBe(1_000);
  });
});

describe("a refresh", () => {
  const account = (id: string): Account => ({
    owner: "kimi-cli",
    path: "/kimi",
    baseUrl: "https://api",
    region: "kimi.com",
    id,
  });
  const token = (accessToken: string): Bearer => ({
    state: "token",
    accessToken,
    store: kimiCliStore("/kimi"),
    account: account("login"),
  });
  const withKey = (key: string): Sight => ({
    kind: "key",
    given: "configuration",
    source: "KIMI_CODER_API_KEY",
    key,
    account: account(key),
  });
  const sight = withKey("sk-a");

  /** The login in use is `first`, and after a rejection `second`; a key is itself. */
  function parts({
    ask,
    ...caller
  }: Required<Pick<UsageParts, "ask">> & Partial<UsageParts["caller"]>): UsageParts {
    return {
      path: temporaryFile(),
      clock: { now: () => 5_000, sleep: async () => {} },
      ask,
      caller: {
        look: async () => sight,
        bearerFor: async () => token("first"),
        afterRejection: async () => token("second"),
        ...caller,
      },
    };
  }
  const figures = parseFigures(olderUsages(0));
  const body: unknown = olderUsages(0);
  if (!figures || !isJsonObject(body)) throw new Error("no figures");
  const answer: UsageAnswer = { state: "figures", figures, answer: body };
  const refused = (status: number): UsageAnswer => ({ state: "refused", status });

  test("asks once for all who want it at the same time, and keeps the answer", async () => {
    const asked: string[] = [];
    const usage = createUsage(
      parts({
        async ask(baseUrl, bearer) {
          asked.push(`${baseUrl} ${bearer}`);
          return answer;
        },
      }),
    );
    const [one, other] = await Promise.all([usage.refresh(sight), usage.refresh(sight)]);
    expect(one).toEqual({ state: "fresh", kept: { figures, fetchedAt: 5_000 }, region: "kimi.com" });
    expect(other).toBe(one);
    expect(asked).toEqual(["https://api first"]);
    await usage.refresh(sight);
    expect(asked).toHaveLength(2);
  });

  test("renews a rejected login once, and repeats once", async () => {
    const asked: string[] = [];
    const ask = (last: UsageAnswer) => async (_baseUrl: string, bearer: string) => {
      asked.push(bearer);
      return bearer === "first" ? refused(401) : last;
    };
    expect(await createUsage(parts({ ask: ask(answer) })).refresh(sight)).toMatchObject({ state: "fresh" });
    expect(await createUsage(parts({ ask: ask(refused(401)) })).refresh(sight)).toEqual({
      state: "failed",
      failure: refused(401),
      region: "kimi.com",
    });
    expect(asked).toEqual(["first", "second", "first", "second"]);
  });

  test("asks with a key as it is, once, and knows the figures of each account alone", async () => {
    const asked: string[] = [];
    const usage = createUsage(
      parts({
        async ask(_baseUrl, bearer) {
          asked.push(bearer);
          return bearer === "sk-a" ? answer : refused(401);
        },
        bearerFor: async (seen) =>
          seen.kind === "key" && seen.key !== undefined && seen.account
            ? { state: "key", key: seen.key, account: seen.account }
            : token("first"),
      }),
    );
    expect(usage.known(sight)).toBeUndefined();
    expect(await usage.refresh(sight)).toMatchObject({ state: "fresh" });
    expect(await usage.refresh(withKey("sk-b"))).toMatchObject({ state: "failed", failure: refused(401) });
    expect(asked).toEqual(["sk-a", "sk-b"]);
    expect(usage.known(sight)).toEqual({ figures, fetchedAt: 5_000 });
    expect(usage.known(withKey("sk-b"))).toBeUndefined();
    const nobody: Sight = { kind: "none", reason: { kind: "no-login" }, message: "Kimi Coder: no." };
    expect(usage.known(nobody)).toBeUndefined();
  });

  test("asks nobody where nothing can be sent, not even after a rejection", async () => {
    const none = async (): Promise<Bearer> => ({ state: "none", message: "Kimi Coder: no." });
    const unavailable = { state: "unavailable", message: "Kimi Coder: no." };
    const ask = () => Promise.reject(new Error("asked"));
    expect(await createUsage(parts({ ask, bearerFor: none })).refresh(sight)).toEqual(unavailable);
    const rejecting = parts({ ask: async () => refused(401), afterRejection: none });
    expect(await createUsage(rejecting).refresh(sight)).toEqual(unavailable);
  });

  test("can be given up, and begun anew", async () => {
    const ask: NonNullable<UsageParts["ask"]> = (_baseUrl, _bearer, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) resolve(refused(500));
        signal.addEventListener("abort", () => resolve(refused(499)));
      });
    const usage = createUsage(parts({ ask }));
    for (const _ of [1, 2]) {
      const outcome = usage.refresh(sight);
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
    const said = failures.map((failure) => sayProblem({ state: "failed", failure, region: "kimi.ai" }));
    for (const sentence of said) expect(sentence).toMatch(/^Kimi Coder: [^;]+; [^;]+\.$/);
    expect(new Set(said).size).toBe(said.length);
    expect(said.join()).toContain("https://www.kimi.ai/code");
  });
});
