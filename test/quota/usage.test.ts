/** Asking for the figures: with what, and what is kept and said of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Account, Bearer, Sight } from "../../extensions/caller.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { keepAnswer, readKeptFigures } from "../../extensions/quota/kept.ts";
import { createUsage, type UsageAnswer, type UsageParts } from "../../extensions/quota/usage.ts";
import { olderUsages } from "../support/kimi-service/index.ts";

const ID = "0123456789abcdef";
const body: unknown = olderUsages(0);
const figures = parseFigures(body);
if (!figures || !isJsonObject(body)) throw new Error("no figures");
const answer: UsageAnswer = { state: "figures", figures, answer: body };

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "usage-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "kimi-coder-usage.json");
}

test("the kept figures stay as they are where an answer cannot be written", () => {
  const path = temporaryFile();
  keepAnswer(path, ID, body, 1_000);
  keepAnswer(path, ID, JSON.parse(`{"limits":${"[".repeat(20_000)}${"]".repeat(20_000)}}`), 2_000);
  expect(readKeptFigures(path, ID)?.fetchedAt).toBe(1_000);
});

describe("a refresh", () => {
  const account = (id: string): Account => ({
    owner: "kimi-cli",
    path: "/kimi",
    baseUrl: "https://api",
    region: "kimi.ai",
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
  const none = async (): Promise<Bearer> => ({ state: "none", message: "Kimi Coder: no." });
  const refused = (status: number): UsageAnswer => ({ state: "refused", status });

  /** The login in use is `first`, and after a rejection `second`; `answers` are by bearer. */
  function create(
    answers: Readonly<Record<string, UsageAnswer>>,
    caller: Partial<UsageParts["caller"]> = {},
  ) {
    const asked: string[] = [];
    const usage = createUsage({
      path: temporaryFile(),
      clock: { now: () => 5_000 },
      async ask(baseUrl, bearer) {
        asked.push(`${baseUrl} ${bearer}`);
        return answers[bearer] ?? refused(401);
      },
      caller: {
        look: async () => sight,
        bearerFor: async () => token("first"),
        afterRejection: async () => token("second"),
        ...caller,
      },
    });
    return { usage, asked };
  }

  test("whose renewed login is rejected too ends there", async () => {
    const { usage, asked } = create({});
    expect(await usage.refresh(sight)).toMatchObject({ state: "failed" });
    expect(asked).toEqual(["https://api first", "https://api second"]);
  });

  test("asks with a key as it is, once, and knows the figures of each account alone", async () => {
    const { usage, asked } = create(
      { "sk-a": answer },
      {
        bearerFor: async (seen) =>
          seen.kind === "key" && seen.key !== undefined && seen.account
            ? { state: "key", key: seen.key, account: seen.account }
            : token("first"),
      },
    );
    expect(usage.known(sight)).toBeUndefined();
    expect(await usage.refresh(sight)).toMatchObject({ state: "fresh" });
    expect(await usage.refresh(withKey("sk-b"))).toMatchObject({ state: "failed" });
    expect(asked).toEqual(["https://api sk-a", "https://api sk-b"]);
    expect(usage.known(sight)).toEqual({ figures, fetchedAt: 5_000 });
    expect(usage.known(withKey("sk-b"))).toBeUndefined();
    expect(
      usage.known({ kind: "none", reason: { kind: "no-login" }, message: "Kimi Coder: no." }),
    ).toBeUndefined();
  });

  test("asks nobody where nothing can be sent, not even after a rejection", async () => {
    const failed = { state: "failed", problem: "Kimi Coder: no." };
    const before = create({}, { bearerFor: none });
    expect(await before.usage.refresh(sight)).toEqual(failed);
    expect(before.asked).toEqual([]);
    const after = create({}, { afterRejection: none });
    expect(await after.usage.refresh(sight)).toEqual(failed);
    expect(after.asked).toHaveLength(1);
  });

  test("can be given up, and begun anew", async () => {
    const signals: AbortSignal[] = [];
    const { usage } = create({});
    const waiting = createUsage({
      path: usage.path,
      clock: { now: () => 0 },
      ask: (_baseUrl, _bearer, signal) => {
        signals.push(signal);
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve(refused(499))));
      },
      caller: { look: async () => sight, bearerFor: async () => token("first"), afterRejection: none },
    });
    for (const _ of [1, 2]) {
      const outcome = waiting.refresh(sight);
      await new Promise(setImmediate);
      expect(signals.at(-1)?.aborted).toBe(false);
      waiting.stop();
      expect(await outcome).toMatchObject({ state: "failed" });
    }
  });

  test("that fails says why in one sentence with something to do", async () => {
    const failures: readonly UsageAnswer[] = [
      ...[302, 401, 402, 403, 404, 500].map(refused),
      { state: "unusable" },
      ...["ETIMEDOUT", "ECONNREFUSED"].map((code) => ({ state: "lost", code }) as const),
    ];
    const said = await Promise.all(
      failures.map(async (failure) => {
        const outcome = await create({ first: failure, second: failure }).usage.refresh(sight);
        return outcome.state === "failed" ? outcome.problem : "";
      }),
    );
    for (const sentence of said) expect(sentence).toMatch(/^Kimi Coder: [^;]+; [^;]+\.$/);
    expect(new Set(said).size).toBe(said.length);
    expect(said.join()).toContain("https://www.kimi.ai/code");
  });
});
