import { describe, expect, it } from "vitest";
import type { Account } from "../../extensions/caller.ts";
import { createLastRequest } from "../../extensions/chat/adapter.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import type { KeptFigures } from "../../extensions/quota/figures.ts";
import { sessionUse } from "../../extensions/quota/session-use.ts";
import { overviewLines, statusLines, type UsableStatus } from "../../extensions/status/lines.ts";

const store = kimiCliStore("/home/someone/.kimi");
const { owner, path, region } = store;
const hosts = { region, oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" };
const account: Account = { owner, path, region, baseUrl: hosts.baseUrl, id: "0123456789abcdef" };
const now = new Date(2026, 10, 21, 13, 45, 20).getTime();
const at = (minutes: number) => now - minutes * 60_000;

const token = (minutes: number): Token => ({
  accessToken: "secret-access",
  refreshToken: "secret-refresh",
  expiresAt: at(-minutes),
  lifetime: 900_000,
  scope: "",
  tokenType: "Bearer",
});
const login = (minutes: number): UsableStatus["sight"] => ({
  kind: "login",
  choice: { state: "use", store, token: token(minutes) },
  store,
  account,
});
const key = (source: string): UsableStatus["sight"] => ({
  kind: "key",
  given: "configuration",
  source,
  key: "sk-secret",
  account,
});

/** As it was asked for at `fetchedAt`, ms since the epoch. */
function kept(fetchedAt: number): KeptFigures {
  const week = { kind: "week", label: "week", usedPercent: 62, length: 7 * 86_400_000 } as const;
  const windows = [{ ...week, resetsAt: now + 14 * 3_600_000 }];
  return { figures: { plan: "Moderato", windows, parallelLimit: undefined, wallet: undefined }, fetchedAt };
}

function status(change: Partial<UsableStatus>): UsableStatus {
  return {
    versions: { extension: "0.1.0", pi: "0.73.1" },
    sight: login(9.5),
    home: "/home/someone",
    renewedAt: undefined,
    figures: undefined,
    hosts,
    userAgent: "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
    model: { provider: "kimi-coder", id: "kimi-for-coding" },
    thinking: "high",
    last: undefined,
    session: sessionUse([]),
    now,
    ...change,
  };
}

const lines = (change: Partial<UsableStatus>) => statusLines(status(change)).map(({ text }) => text);
const overview = (change: Partial<UsableStatus>) => overviewLines(status(change)).map(({ text }) => text);

describe("the status", () => {
  it("says that a token has ended, when it was renewed, and how old the plan is", () => {
    const ended = lines({ sight: login(0), renewedAt: at(3), figures: kept(at(130)) });
    expect(ended.slice(2, 5)).toEqual([
      "Access token: ended 13:45 (just now); the next request renews it",
      "Renewed: 13:42 (3 m ago)",
      "Plan: Moderato (asked 2 h 10 m ago)",
    ]);
    const figures = { ...kept(at(3)).figures, plan: undefined };
    expect(lines({ figures: { figures, fetchedAt: at(3) } })[3]).toBe("Plan: not known (asked 3 m ago)");
  });

  it("shows what was sent last, and of that alone how much was cached", () => {
    const usage = (input: number, cacheRead: number) => ({
      ...{ input, output: 1, cacheRead, cacheWrite: 0, totalTokens: 1 },
      cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 },
    });
    const request = createLastRequest();
    const earlier = request.note({ model: "k3", max_tokens: "many" });
    expect(lines({ last: request.look() })[9]).toBe("Last request: model k3, no thinking, no max_tokens");
    const answered = request.note({ model: "kimi-for-coding", max_tokens: 32_768, messages: [] });
    earlier(usage(1, 1));
    expect(lines({ last: request.look() })).toHaveLength(10);
    answered(usage(4, 12_000));
    expect(lines({ last: request.look() })[10]).toBe(
      "  of its prompt 12,000 of 12,004 tokens (99 %) came from Kimi's cache",
    );
    request.note("nothing at all");
    expect(request.look()).toMatchObject({ model: "undefined" });
  });

  it("says that a login cannot be used, and until when the copy of it lasts", () => {
    const problem = { store, found: { state: "unreadable", code: "EACCES" } } as const;
    const choice = { state: "mirror", token: token(5), problem } as const;
    const said = lines({ sight: { kind: "login", choice, store, account } });
    expect(said.slice(1, 3)).toEqual([
      "Login: pi's copy of that of kimi-cli, until it ends; ~/.kimi/credentials/kimi-code.json cannot be used, /kimi doctor says why",
      "Access token: until 13:51 (in 5 m)",
    ]);
    expect(said.join()).not.toContain("secret");
  });
});

describe("the overview", () => {
  it("has the account, the plan, the window that binds, the model, and what to type next", () => {
    const next =
      "/kimi usage shows every limit, /kimi status what is sent and as whom, /kimi doctor what is wrong.";
    expect(overview({ figures: kept(at(3)) })).toEqual([
      "Kimi Coder 0.1.0",
      "Login: kimi-cli, ~/.kimi/credentials/kimi-code.json (kimi.com)",
      "Plan: Moderato",
      "Quota: 62 % of week used, resets Sun 03:46, in 14 h, asked 3 m ago",
      "Model: kimi-for-coding, thinking high",
      next,
    ]);
    const elsewhere = { sight: key("/home/someone/.pi/agent/settings.json"), model: undefined };
    expect(overview(elsewhere).slice(1)).toEqual([
      "Key: from ~/.pi/agent/settings.json",
      "Plan: not known",
      "Quota: not asked yet",
      "Model: none selected",
      "Type /model and choose one of kimi-coder.",
      next,
    ]);
  });
});
