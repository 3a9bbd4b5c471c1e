import { describe, expect, it } from "vitest";
import { createLastRequest } from "../../extensions/chat/last-request.ts";
import { type SessionCache, sessionCache } from "../../extensions/commands/session-cache.ts";
import { statusJson } from "../../extensions/commands/status-json.ts";
import { type Renewal, type Status, statusLines } from "../../extensions/commands/status-lines.ts";
import type { NoLogin } from "../../extensions/credentials/selection.ts";
import type { CredentialStore } from "../../extensions/credentials/store.ts";

const NEVER = () => Promise.reject(new Error("a status must not touch a store"));
const store: CredentialStore = {
  owner: "kimi-cli",
  region: "kimi.com",
  path: "/home/someone/.kimi/credentials/kimi-code.json",
  ownerLockLimit: undefined,
  locks: [],
  read: NEVER,
  replace: NEVER,
  rehearse: NEVER,
  lockAmongPi: NEVER,
  lockOfOwner: NEVER,
};
const now = new Date(2026, 10, 21, 13, 45, 20);

function login(minutes: number): Status["credential"] {
  const token = {
    accessToken: "secret-access",
    refreshToken: "secret-refresh",
    expiresAt: now.getTime() + minutes * 60_000,
    lifetime: 900_000,
    scope: "",
    tokenType: "Bearer",
  };
  return { kind: "login", choice: { state: "use", store, token, seed: false } };
}

const none = (reason: NoLogin): Status["credential"] => ({
  kind: "login",
  choice: { state: "none", reason },
});

const NO_CACHE: SessionCache = { answers: 0, prompt: 0, cached: 0 };

function status(change: Partial<Status>): Status {
  return {
    versions: { extension: "0.1.0", pi: "0.73.1" },
    credential: login(9.5),
    renewal: undefined,
    plan: undefined,
    region: "kimi.com",
    hosts: { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" },
    userAgent: "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
    model: "kimi-coder/kimi-for-coding",
    last: undefined,
    cache: NO_CACHE,
    now,
    ...change,
  };
}

const lines = (change: Partial<Status>) => statusLines(status(change));

describe("the status", () => {
  it("says whose login it is, how long it lasts, and where it goes under what name", () => {
    expect(lines({})).toEqual([
      "pi-kimi-coder 0.1.0 on pi 0.73.1",
      "Login: kimi-cli, /home/someone/.kimi/credentials/kimi-code.json",
      "Access token: until 13:55 (in 9 m)",
      "Plan: not asked yet; type /kimi usage",
      "Region: kimi.com",
      "API: https://api.kimi.com/coding/v1",
      "Authorization server: https://auth.kimi.com",
      "Identity: KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
      "Model: kimi-coder/kimi-for-coding",
      "Last request: none since pi started",
    ]);
  });

  it.each([
    [0.5, "until 13:46 (in less than a minute)"],
    [1, "until 13:47 (in 1 m)"],
    [60, "until 14:46 (in 1 h)"],
    [30 * 24 * 60, "until 21 Dec 13:46 (in 30 d)"],
    [-3, "ended 13:42 (3 m ago); the next request renews it"],
    [-21 * 24 * 60, "ended 31 Oct 13:45 (21 d ago); the next request renews it"],
    [0, "ended 13:45 (less than a minute ago); the next request renews it"],
  ])("says of a token with %d minutes left: %s", (minutes, said) => {
    expect(lines({ credential: login(minutes) })).toContain(`Access token: ${said}`);
  });

  it("shows what was really sent, and how much of it was cached", () => {
    const request = createLastRequest();
    const answered = request.note({
      model: "kimi-for-coding",
      max_tokens: 32_768,
      thinking: { type: "enabled", effort: "high", keep: "all" },
      messages: [],
    });
    const said =
      'Last request: model kimi-for-coding, thinking {"type":"enabled","effort":"high","keep":"all"}, max_tokens 32768';
    expect(lines({ last: request.look() }).slice(9)).toEqual([said]);
    const usage = { input: 4, output: 1, cacheRead: 12_000, cacheWrite: 0, totalTokens: 12_005 };
    answered({ ...usage, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } });
    expect(lines({ last: request.look() }).slice(9)).toEqual([
      said,
      "  of its prompt 12,000 of 12,004 tokens (99 %) came from Kimi's cache",
    ]);
  });

  it("says what was not sent, whatever another extension made of the request", () => {
    const request = createLastRequest();
    request.note({ model: "k3", max_tokens: "many" });
    expect(lines({ last: request.look() })).toContain("Last request: model k3, no thinking, no max_tokens");
    request.note("nothing at all");
    expect(request.look()).toMatchObject({ model: "undefined" });
  });

  const at = (minutes: number) => now.getTime() - minutes * 60_000;
  it.each<[string, Renewal, string]>([
    [
      "this process",
      { by: "pi", own: true, how: "renewed", at: at(3), pid: 7 },
      "Renewed: 13:42 (3 m ago) by this pi",
    ],
    [
      "another pi",
      { by: "pi", own: false, how: "renewed", at: at(24 * 60), pid: 7 },
      "Renewed: 20 Nov 13:45 (1 d ago) by another pi (process 7)",
    ],
    [
      "a login in another pi",
      { by: "pi", own: false, how: "logged-in", at: at(61), pid: 7 },
      "Logged in: 12:44 (1 h 1 m ago) from another pi (process 7)",
    ],
    [
      "its owner",
      { by: "other", at: at(0) },
      "Renewed: 13:45 (less than a minute ago) by kimi-cli or another program",
    ],
    [
      "nobody yet",
      { by: "other", at: at(-5) },
      "Renewed: 13:50 (in the future: a clock was set) by kimi-cli or another program",
    ],
  ])("says that it was renewed by %s", (_name, renewal, said) => {
    expect(lines({ renewal })[3]).toBe(said);
  });

  it("names the plan, and says how old that knowledge is", () => {
    expect(lines({ plan: { name: "Moderato", askedAt: at(130) } })).toContain(
      "Plan: Moderato (asked 2 h 10 m ago)",
    );
    expect(lines({ plan: { name: "Moderato", askedAt: at(-130) } })).toContain(
      "Plan: Moderato (asked just now)",
    );
  });

  it("counts the cache over the session's answers, in all branches, from this provider alone", () => {
    const answer = (provider: string, usage: unknown) => ({
      type: "message",
      message: { role: "assistant", provider, usage },
    });
    const cache = sessionCache(
      [
        { type: "session" },
        null,
        answer("kimi-coder", { input: 1000, cacheRead: 0, cacheWrite: 0 }),
        answer("kimi-coder", { input: 100, cacheRead: 900, cacheWrite: 0 }),
        answer("kimi-coder", { input: 0, cacheRead: 0, cacheWrite: 0 }),
        answer("anthropic", { input: 5, cacheRead: 5, cacheWrite: 5 }),
        answer("kimi-coder", undefined),
        answer("kimi-coder", { input: "many", cacheRead: Number.NaN, cacheWrite: -5 }),
        { type: "message", message: { role: "user", content: "hi" } },
      ],
      "kimi-coder",
    );
    expect(cache).toEqual({ answers: 2, prompt: 2000, cached: 900 });
    expect(lines({ cache }).at(-1)).toBe(
      "Prompt cache: 900 of 2,000 tokens (45 %) in this session (2 answers)",
    );
    expect(lines({}).join()).not.toContain("Prompt cache");
  });

  it("is the same as JSON, without a secret", () => {
    const renewal: Renewal = { by: "pi", own: true, how: "renewed", at: at(3), pid: 7 };
    const json = statusJson(
      status({
        renewal,
        plan: { name: "Moderato", askedAt: at(1) },
        cache: { answers: 1, prompt: 3, cached: 2 },
      }),
    );
    const iso = (minutes: number) => new Date(at(minutes)).toISOString();
    expect(json).toEqual({
      version: 1,
      extension: "0.1.0",
      pi: "0.73.1",
      state: "login",
      login: { owner: "kimi-cli", path: store.path, accessTokenEnds: iso(-9.5) },
      key: null,
      reason: null,
      problem: null,
      renewal: { by: "this-pi", at: iso(3), pid: 7, login: false },
      plan: { name: "Moderato", askedAt: iso(1) },
      region: "kimi.com",
      api: "https://api.kimi.com/coding/v1",
      authorizationServer: "https://auth.kimi.com",
      identity: "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
      model: "kimi-coder/kimi-for-coding",
      lastRequest: null,
      cache: { answers: 1, promptTokens: 3, cachedTokens: 2, percent: 66 },
    });
    const none = statusJson(
      status({ credential: { kind: "login", choice: { state: "none", reason: { kind: "no-login" } } } }),
    );
    expect(none).toMatchObject({ state: "none", reason: "no-login", login: null, renewal: null, plan: null });
    const key = statusJson(
      status({
        credential: { kind: "key", given: "argument", source: "--api-key" },
        renewal: { by: "other", at: 1e99 },
      }),
    );
    expect(key).toMatchObject({
      state: "key",
      key: { source: "--api-key" },
      renewal: { by: "other", at: null },
    });
  });

  it("counts an answer to the request it belongs to alone", () => {
    const request = createLastRequest();
    const first = request.note({ model: "first" });
    request.note({ model: "second" });
    const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 };
    first({ input: 1, output: 1, cacheRead: 1, cacheWrite: 0, totalTokens: 3, cost });
    expect(request.look()).toMatchObject({ model: "second", usage: undefined });
  });

  it("names the place of a key, not the key", () => {
    expect(
      lines({ credential: { kind: "key", given: "configuration", source: "KIMI_CODER_API_KEY" } })[1],
    ).toBe("Key: from KIMI_CODER_API_KEY");
  });

  it.each([{ kind: "no-login" }, { kind: "logged-out" }] as const)(
    "is one line where there is %j",
    (reason) => {
      const said = lines({ credential: none(reason) });
      expect(said).toHaveLength(1);
      expect(said[0]).toContain("/login kimi-coder");
    },
  );

  it("says what is wrong with a login, and until when the copy of it lasts", () => {
    const problem = { store, found: { state: "unreadable", code: "EACCES" } } as const;
    expect(lines({ credential: none({ kind: "problem", problem }) })[1]).toMatch(/^Login: .*EACCES/);
    const use = login(5);
    const choice = use.kind === "login" ? use.choice : undefined;
    const token = choice?.state === "use" ? choice.token : undefined;
    if (!token) throw new Error("no token");
    const said = lines({ credential: { kind: "login", choice: { state: "mirror", token, problem } } });
    expect(said.slice(1, 3)).toEqual([
      expect.stringMatching(/^Login: .*EACCES/),
      "Access token: until 13:51 (in 5 m)",
    ]);
    expect(said.join()).not.toContain("secret");
  });
});
