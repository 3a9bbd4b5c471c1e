import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FormAnswer } from "../../extensions/lib/http.ts";
import type { JsonObject } from "../../extensions/lib/json.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import {
  type AuthorizationServer,
  parseToken,
  readRefreshAnswer,
  readSeconds,
  refresh,
} from "../../extensions/oauth/token-endpoint.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { CLIENT_ID, type KimiService, startKimiService } from "../support/kimi-service/index.ts";
import { anyAnswer, anyTokenBody, expectToken } from "./arbitraries.ts";

const NOW = Date.UTC(2026, 10, 20);
const BODY = {
  access_token: "access",
  refresh_token: "refresh",
  expires_in: 900,
  scope: "kimi-code",
  token_type: "Bearer",
};
const TOKEN: Token = {
  accessToken: "access",
  refreshToken: "refresh",
  expiresAt: NOW + 900_000,
  lifetime: 900_000,
  scope: "kimi-code",
  tokenType: "Bearer",
};

describe("readSeconds", () => {
  it.each([
    [900, 900_000],
    [0.5, 500],
    ["900", 900_000],
    ["900.25", 900_250],
    [366 * 86_400, 366 * 86_400_000],
    [366 * 86_400 + 1, undefined],
    [0.001, 1],
    [0.0009, undefined],
    ["-1", undefined],
    ["1e3", undefined],
    ["", undefined],
    [" 900", undefined],
    ["900\n", undefined],
    ["9".repeat(400), undefined],
    [null, undefined],
    [[900], undefined],
  ])("%j is %j ms", (value, ms) => {
    expect(readSeconds(value)).toBe(ms);
  });
});

describe("parseToken", () => {
  it("reads a token response", () => {
    expect(parseToken(BODY, NOW)).toEqual(TOKEN);
  });

  it.each<[string, JsonObject]>([
    ["no access token", { ...BODY, access_token: undefined }],
    ["no refresh token", { ...BODY, refresh_token: undefined }],
    ["a number for a token", { ...BODY, access_token: 1 }],
    ["a header injected by the access token", { ...BODY, access_token: "a\r\nX-Evil: 1" }],
    ["a terminal escape", { ...BODY, access_token: "\u001b[31ma" }],
    ["a letter outside ASCII", { ...BODY, refresh_token: "réfresh" }],
    ["a token of more than 16 KiB", { ...BODY, access_token: "a".repeat(16_385) }],
  ])("refuses %s", (_name, body) => {
    expect(parseToken(body, NOW)).toBeUndefined();
  });

  it("keeps the refresh token that was presented where an answer leaves it out (RFC 6749 §6)", () => {
    const { refresh_token: _, ...body } = BODY;
    expect(parseToken(body, NOW, "presented")).toEqual({ ...TOKEN, refreshToken: "presented" });
    expect(parseToken(BODY, NOW, "presented")).toEqual(TOKEN);
    for (const refresh_token of ["", null, 1]) {
      expect(parseToken({ ...BODY, refresh_token }, NOW, "presented")).toBeUndefined();
    }
  });

  it("takes a token of 16 KiB", () => {
    expect(parseToken({ ...BODY, access_token: "a".repeat(16_384) }, NOW)?.accessToken).toHaveLength(16_384);
  });

  // The refresh token in the same answer is the login: the old one has ended with it.
  it.each([undefined, null, 0, "soon", 1e12])(
    "takes 15 minutes for a lifetime of %j, and does not throw the login away",
    (expires_in) => {
      expect(parseToken({ ...BODY, expires_in }, NOW)).toEqual(TOKEN);
    },
  );

  it.each([undefined, 1])("does without a scope and type of %j", (value) => {
    expect(parseToken({ ...BODY, scope: value, token_type: value }, NOW)).toEqual({
      ...TOKEN,
      scope: undefined,
      tokenType: undefined,
    });
  });

  it("turns any body into a well-formed token or nothing", () => {
    fc.assert(
      fc.property(anyTokenBody, (body) => {
        const token = parseToken(body, NOW);
        if (token) expectToken(token, NOW);
      }),
    );
  });
});

describe("readRefreshAnswer", () => {
  const invalid: JsonObject = { error: "invalid_grant", error_description: "The grant is invalid" };
  const failed = (status: number, committed: string) => ({
    state: "failed",
    cause: { kind: "status", status },
    committed,
  });
  const unreadable = { state: "failed", cause: { kind: "unreadable", status: 200 }, committed: "unknown" };

  it.each<[string, FormAnswer, object]>([
    ["a token", { state: "answered", status: 200, body: BODY }, { state: "refreshed", token: TOKEN }],
    [
      "a token without a refresh token",
      { state: "answered", status: 200, body: { ...BODY, refresh_token: undefined } },
      { state: "refreshed", token: { ...TOKEN, refreshToken: "presented" } },
    ],
    ["200 without a token", { state: "answered", status: 200, body: {} }, unreadable],
    ["200 with a page", { state: "not-json", status: 200 }, unreadable],
    ["400 invalid_grant", { state: "answered", status: 400, body: invalid }, { state: "refused" }],
    ["401 invalid_grant", { state: "answered", status: 401, body: invalid }, { state: "refused" }],
    ["403 invalid_grant", { state: "answered", status: 403, body: invalid }, { state: "refused" }],
    ["404 invalid_grant", { state: "answered", status: 404, body: invalid }, failed(404, "no")],
    ["201 with a token", { state: "answered", status: 201, body: BODY }, failed(201, "unknown")],
    [
      "400 with another error",
      { state: "answered", status: 400, body: { error: "invalid_request" } },
      failed(400, "no"),
    ],
    ["403 with a page", { state: "not-json", status: 403 }, failed(403, "no")],
    ["299", { state: "not-json", status: 299 }, failed(299, "unknown")],
    ["300", { state: "not-json", status: 300 }, failed(300, "no")],
    ["408 from a proxy", { state: "not-json", status: 408 }, failed(408, "unknown")],
    ["504 from a gateway that waited in vain", { state: "not-json", status: 504 }, failed(504, "unknown")],
    [
      "503 that asks to wait",
      { state: "not-json", status: 503, retryAfter: 7_000 },
      { ...failed(503, "no"), retryAfter: 7_000 },
    ],
    [
      "a connection refused",
      { state: "lost", sent: false, code: "ECONNREFUSED" },
      { state: "failed", cause: { kind: "network", code: "ECONNREFUSED" }, committed: "no" },
    ],
    [
      "a connection lost",
      { state: "lost", sent: true, code: "ECONNRESET" },
      { state: "failed", cause: { kind: "network", code: "ECONNRESET" }, committed: "unknown" },
    ],
  ])("%s", (_name, answer, outcome) => {
    expect(readRefreshAnswer(answer, "presented", NOW)).toEqual(outcome);
  });

  it("says refused only to an OAuth error of the server, and never repeats what the server wrote", () => {
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const outcome = readRefreshAnswer(answer, "presented", NOW);
        if (outcome.state === "refreshed") return expectToken(outcome.token, NOW);
        if (outcome.state === "refused") {
          expect(answer).toMatchObject({ state: "answered", body: { error: "invalid_grant" } });
          return;
        }
        const { cause, committed, retryAfter, ...rest } = outcome;
        expect(rest).toEqual({ state: "failed" });
        expect(["no", "unknown"]).toContain(committed);
        expect(retryAfter === undefined || retryAfter >= 0).toBe(true);
        if (cause.kind !== "network") expect(Object.keys(cause).sort()).toEqual(["kind", "status"]);
      }),
    );
  });
});

describe("refresh", () => {
  const clock = createFakeClock();
  let service: KimiService;
  let server: AuthorizationServer;

  beforeEach(async () => {
    service = await startKimiService({ now: clock.now });
    server = { host: service.url, clientId: CLIENT_ID, fetch, identity: async () => ({}) };
  });
  afterEach(() => service.close());

  const present = (refreshToken: string, timeout = 5_000) =>
    refresh(server, refreshToken, clock.now, timeout);

  it("presents the token as RFC 6749 §6 says, and brings back its successor", async () => {
    const { refresh_token } = service.issueLogin();
    const outcome = await present(refresh_token);
    const next = service.currentTokens(refresh_token);
    expect(outcome).toEqual({
      state: "refreshed",
      token: {
        accessToken: next?.access_token,
        refreshToken: next?.refresh_token,
        expiresAt: clock.now() + 900_000,
        lifetime: 900_000,
        scope: "kimi-code",
        tokenType: "Bearer",
      },
    });
    expect(Object.entries(service.refreshes()[0]?.form ?? {})).toEqual([
      ["client_id", CLIENT_ID],
      ["grant_type", "refresh_token"],
      ["refresh_token", refresh_token],
    ]);
  });

  it("hears that a used token is refused", async () => {
    const { refresh_token } = service.issueLogin();
    await present(refresh_token);
    expect(await present(refresh_token)).toEqual({ state: "refused" });
  });

  it("knows that nothing was committed when nobody listens", async () => {
    await service.close();
    expect(await present("refresh")).toMatchObject({ state: "failed", committed: "no" });
    service = await startKimiService();
  });

  it("cannot know whether a lost answer was committed", async () => {
    const { refresh_token } = service.issueLogin();
    service.fault({ path: "token", do: { drop: "after" } });
    expect(await present(refresh_token)).toMatchObject({ state: "failed", committed: "unknown" });
  });

  it("waits no longer than it was told", async () => {
    const { refresh_token } = service.issueLogin();
    service.fault({ path: "token", do: { hang: true, commit: true } });
    expect(await present(refresh_token, 60)).toEqual({
      state: "failed",
      cause: { kind: "network", code: "ETIMEDOUT" },
      committed: "unknown",
    });
  });

  it("counts the life of a token from when it was answered", async () => {
    const { refresh_token } = service.issueLogin();
    service.fault({ path: "token", do: { delay: 20 } });
    const sent = present(refresh_token);
    await service.waitFor(({ kind }) => kind === "refresh");
    clock.advance(10_000);
    expect(await sent).toMatchObject({ token: { expiresAt: clock.now() + 900_000 } });
  });
});
