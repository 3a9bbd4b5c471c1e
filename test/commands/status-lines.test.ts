import { describe, expect, it } from "vitest";
import { createLastRequest } from "../../extensions/chat/last-request.ts";
import { type Status, statusLines } from "../../extensions/commands/status-lines.ts";
import type { NoLogin } from "../../extensions/credentials/selection.ts";
import type { CredentialStore } from "../../extensions/credentials/store.ts";

const NEVER = () => Promise.reject(new Error("a status must not touch a store"));
const store: CredentialStore = {
  owner: "kimi-cli",
  region: "kimi.com",
  path: "/home/someone/.kimi/credentials/kimi-code.json",
  ownerLockLimit: undefined,
  read: NEVER,
  replace: NEVER,
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

function lines(change: Partial<Status>): readonly string[] {
  return statusLines({
    versions: { extension: "0.1.0", pi: "0.73.1" },
    credential: login(9.5),
    hosts: { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" },
    userAgent: "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
    last: undefined,
    now,
    ...change,
  });
}

describe("the status", () => {
  it("says whose login it is, how long it lasts, and where it goes under what name", () => {
    expect(lines({})).toEqual([
      "pi-kimi-coder 0.1.0 on pi 0.73.1",
      "Login: kimi-cli, /home/someone/.kimi/credentials/kimi-code.json",
      "Access token: until 13:55 (in 9 min)",
      "API: https://api.kimi.com/coding/v1",
      "Authorization server: https://auth.kimi.com",
      "Identity: KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
      "Last request: none in this session yet",
    ]);
  });

  it.each([
    [0.5, "until 13:46 (in less than a minute)"],
    [1, "until 13:47 (in 1 min)"],
    [60, "until 14:46 (in 1 h 0 min)"],
    [30 * 24 * 60, "until 21 Dec 13:46 (in 30 days)"],
    [-3, "ended 13:43 (3 min ago); the next request renews it"],
    [0, "ended 13:46 (less than a minute ago); the next request renews it"],
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
    expect(lines({ last: request.look() }).slice(6)).toEqual([said]);
    const usage = { input: 4, output: 1, cacheRead: 12_000, cacheWrite: 0, totalTokens: 12_005 };
    answered({ ...usage, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } });
    expect(lines({ last: request.look() }).slice(6)).toEqual([
      said,
      "Prompt cache: 12,000 of 12,004 tokens came from it (99 %)",
    ]);
  });

  it("says what was not sent, whatever another extension made of the request", () => {
    const request = createLastRequest();
    request.note({ model: "k3", max_tokens: "many" });
    expect(lines({ last: request.look() })).toContain("Last request: model k3, no thinking, no max_tokens");
    request.note("nothing at all");
    expect(request.look()).toMatchObject({ model: "undefined" });
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
    expect(lines({ credential: { kind: "key", source: "KIMI_CODER_API_KEY" } })[1]).toBe(
      "Key: from KIMI_CODER_API_KEY",
    );
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
      "Access token: until 13:51 (in 5 min)",
    ]);
    expect(said.join()).not.toContain("secret");
  });
});
