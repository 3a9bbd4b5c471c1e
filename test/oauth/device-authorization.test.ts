import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FormAnswer } from "../../extensions/lib/http.ts";
import type { JsonObject } from "../../extensions/lib/json.ts";
import {
  awaitDecision,
  type Decision,
  type DeviceAuthorization,
  type PollOutcome,
  parseDeviceAuthorization,
  poll,
  readPollAnswer,
  readWebUri,
  requestDeviceAuthorization,
} from "../../extensions/oauth/device-authorization.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import type { AuthorizationServer } from "../../extensions/oauth/token-endpoint.ts";
import { count } from "../support/counts.ts";
import { createFakeClock, type FakeClock } from "../support/fake-clock.ts";
import { CLIENT_ID, type KimiService, startKimiService } from "../support/kimi-service/index.ts";
import { anyAnswer, anyDeviceBody, anyUri, expectToken } from "./arbitraries.ts";

const NOW = Date.UTC(2026, 10, 20);
const BODY = {
  device_code: "device",
  user_code: "ABCD-EFGH",
  verification_uri: "https://kimi.com/device",
  verification_uri_complete: "https://kimi.com/device?user_code=ABCD-EFGH",
  expires_in: 1800,
  interval: 5,
};
const AUTHORIZATION: DeviceAuthorization = {
  deviceCode: "device",
  userCode: "ABCD-EFGH",
  verificationUri: "https://kimi.com/device?user_code=ABCD-EFGH",
  expiresAt: NOW + 1_800_000,
  interval: 5_000,
};
const TOKEN: Token = {
  accessToken: "access",
  refreshToken: "refresh",
  expiresAt: NOW + 900_000,
  lifetime: 900_000,
  scope: undefined,
  tokenType: undefined,
};

/** What pi 0.73 puts between double quotes into a shell command, and what pi prints. */
const HARMLESS = /^https?:\/\/[\w\-.~:/?#[\]@&+,;=%]+$/;

describe("readWebUri", () => {
  it.each([
    ["https://kimi.com/device?user_code=A-B;c=d#e", "https://kimi.com/device?user_code=A-B;c=d#e"],
    ["http://[::1]:8080/%E6%97%A5", "http://[::1]:8080/%E6%97%A5"],
    ["HTTPS://KIMI.COM", "https://kimi.com/"],
    ["https://日本.example/é?é#é", "https://xn--wgv71a.example/%C3%A9?%C3%A9#%C3%A9"],
    ["https://kimi.com/$(touch$IFS/x)`id`", "https://kimi.com/%24%28touch%24IFS/x%29%60id%60"],
    ["https://a$(id)b.example/?';id;'", "https://a%24%28id%29b.example/?%27;id;%27"],
    ["https://kimi.com/?a\\b|c>d<e{f}^g!*", "https://kimi.com/?a%5Cb%7Cc%3Ed%3Ce%7Bf%7D%5Eg%21%2A"],
    ["https://kimi.com/?%PATH%&%2", "https://kimi.com/?%25PATH%25&%252"],
    ["https://kimi.com/".padEnd(2048, "a"), "https://kimi.com/".padEnd(2048, "a")],
  ])("%s becomes %s", (value, uri) => {
    expect(readWebUri(value)).toBe(uri);
  });

  it.each([
    ["a script", "javascript:alert(1)"],
    ["a user name", "https://kimi.com@evil.example/"],
    ["a password", "https://:secret@evil.example/"],
    ["a relative address", "/device"],
    ["a tab inside the scheme", "java\tscript:alert(1)"],
    ["a space", "https://kimi.com/a b"],
    ["a terminal escape", "https://kimi.com/\u001b[2J"],
    ["a text direction override", "https://kimi.com/\u202egro.live"],
    ["half a surrogate", "https://kimi.com/\ud800"],
    ["more than 2048 characters", "https://kimi.com/".padEnd(2049, "a")],
    ["a number", 1],
  ])("refuses %s", (_name, value) => {
    expect(readWebUri(value)).toBeUndefined();
  });

  it("gives nothing that a shell or a terminal acts upon, whatever comes", () => {
    fc.assert(
      fc.property(fc.oneof(anyUri, fc.jsonValue()), (value) => {
        const uri = readWebUri(value);
        if (uri === undefined) return;
        expect(uri).toMatch(HARMLESS);
        expect(uri).not.toMatch(/%(?![0-9A-Fa-f]{2})/);
        const { protocol, username, password } = new URL(uri);
        expect(["http:", "https:"]).toContain(protocol);
        expect(username + password).toBe("");
        expect(readWebUri(uri) ?? uri, "stays what it is").toBe(uri);
      }),
      { numRuns: count(100, 1_000) },
    );
  });

  it("reaches the browser's command as one word", () => {
    const uri = readWebUri("https://kimi.com/$(echo)`echo`\"';echo;$HOME|&\\?*!~{a,b}");
    expect(execFileSync("/bin/sh", ["-c", `printf '[%s]' "${uri}"`], { encoding: "utf8" })).toBe(`[${uri}]`);
  });
});

describe("parseDeviceAuthorization", () => {
  it("reads the answer of RFC 8628 §3.2", () => {
    expect(parseDeviceAuthorization(BODY, NOW)).toEqual(AUTHORIZATION);
  });

  it.each<[string, JsonObject, Partial<DeviceAuthorization>]>([
    ["as strings", { interval: "7", expires_in: "600" }, { interval: 7_000, expiresAt: NOW + 600_000 }],
    ["as the usual ones", { interval: undefined, expires_in: -1 }, {}],
    ["without the plain address", { verification_uri: "" }, {}],
    [
      "with the plain address where the complete one is none",
      { verification_uri_complete: "javascript:alert(1)" },
      { verificationUri: BODY.verification_uri },
    ],
    ["with a long device code", { device_code: "a".repeat(4096) }, { deviceCode: "a".repeat(4096) }],
  ])("reads numbers and texts %s", (_name, patch, expected) => {
    expect(parseDeviceAuthorization({ ...BODY, ...patch }, NOW)).toEqual({ ...AUTHORIZATION, ...expected });
  });

  it.each<[string, JsonObject]>([
    ["no device code", { device_code: undefined }],
    ["an empty device code", { device_code: "" }],
    ["a huge device code", { device_code: "a".repeat(4097) }],
    ["no user code", { user_code: undefined }],
    ["an empty user code", { user_code: "" }],
    ["a number for a user code", { user_code: 1234 }],
    ["a huge user code", { user_code: "A".repeat(65) }],
    ["a colour in the user code", { user_code: "\u001b[31mABCD" }],
    ["a last line break in the user code", { user_code: "ABCD\n" }],
    ["no web address", { verification_uri: "file:///etc/passwd", verification_uri_complete: "data:," }],
  ])("refuses %s", (_name, patch) => {
    expect(parseDeviceAuthorization({ ...BODY, ...patch }, NOW)).toBeUndefined();
  });

  it("turns any body into something safe to show, or nothing", () => {
    fc.assert(
      fc.property(anyDeviceBody, (body) => {
        const authorization = parseDeviceAuthorization(body, NOW);
        if (!authorization) return;
        expect(authorization.userCode).toMatch(/^[\x21-\x7e]{1,64}$/);
        expect(authorization.verificationUri).toMatch(HARMLESS);
        expect(authorization.deviceCode).not.toBe("");
        expect(authorization.interval).toBeGreaterThan(0);
        expect(authorization.expiresAt).toBeGreaterThan(NOW);
        expect(Number.isFinite(authorization.interval + authorization.expiresAt)).toBe(true);
      }),
    );
  });
});

describe("readPollAnswer", () => {
  const answered = (status: number, error?: unknown): FormAnswer => ({
    state: "answered",
    status,
    body: { error },
  });
  const failed = (status: number) => ({ state: "failed", cause: { kind: "status", status } });
  const body = { access_token: "access", refresh_token: "refresh", expires_in: 900 };

  it.each<[string, FormAnswer, object]>([
    ["a token", { state: "answered", status: 200, body }, { state: "approved", token: TOKEN }],
    ["pending", answered(400, "authorization_pending"), { state: "pending" }],
    ["slow down", answered(400, "slow_down"), { state: "slow-down" }],
    ["expired", answered(400, "expired_token"), { state: "expired" }],
    ["denied", answered(403, "access_denied"), { state: "denied" }],
    ["200 without a token", answered(200), { state: "failed", cause: { kind: "unreadable", status: 200 } }],
    [
      "200 with a page",
      { state: "not-json", status: 200 },
      { state: "failed", cause: { kind: "unreadable", status: 200 } },
    ],
    ["a 5xx that says denied", answered(500, "access_denied"), failed(500)],
    ["a gateway's page that says nothing", { state: "not-json", status: 502 }, failed(502)],
    ["an unknown error", answered(400, "invalid_client"), failed(400)],
    ["an error that is no string", answered(400, ["access_denied"]), failed(400)],
    [
      "a lost connection",
      { state: "lost", sent: true, code: "ECONNRESET" },
      { state: "failed", cause: { kind: "network", code: "ECONNRESET" } },
    ],
  ])("%s", (_name, answer, outcome) => {
    expect(readPollAnswer(answer, NOW)).toEqual(outcome);
  });

  it("understands any answer, and approves only with a whole token", () => {
    fc.assert(
      fc.property(anyAnswer, (answer) => {
        const outcome = readPollAnswer(answer, NOW);
        if (outcome.state === "approved") {
          expect(answer).toMatchObject({ state: "answered", status: 200 });
          return expectToken(outcome.token, NOW);
        }
        expect(["pending", "slow-down", "expired", "denied", "failed"]).toContain(outcome.state);
        if (outcome.state === "failed" && outcome.cause.kind !== "network") {
          expect(Object.keys(outcome.cause).sort()).toEqual(["kind", "status"]);
        }
      }),
    );
  });
});

describe("over the wire", () => {
  let clock: FakeClock;
  let service: KimiService;
  let server: AuthorizationServer;

  beforeEach(async () => {
    clock = createFakeClock(NOW);
    service = await startKimiService({ now: clock.now });
    server = { host: service.url, clientId: CLIENT_ID, fetch, identity: async () => ({}) };
  });
  afterEach(() => service.close());

  const start = (signal?: AbortSignal) => requestDeviceAuthorization(server, clock.now, signal);

  it("asks for a device code with the client id alone", async () => {
    expect(await start()).toMatchObject({
      state: "granted",
      authorization: {
        interval: 5_000,
        expiresAt: NOW + 1_800_000,
        verificationUri: expect.stringMatching(/^http:\/\/127/),
      },
    });
    expect(service.log[0]?.form).toEqual({ client_id: CLIENT_ID });
  });

  it.each([
    ["a page", { status: 200, body: "<html>" }, { kind: "unreadable", status: 200 }],
    ["an object that is none", { status: 200, body: {} }, { kind: "unreadable", status: 200 }],
    ["an error", { status: 503, body: "<html>" }, { kind: "status", status: 503 }],
    ["nothing", { drop: "before" }, { kind: "network", code: "UND_ERR_SOCKET" }],
  ] as const)("says why when the server gives %s", async (_name, fault, cause) => {
    service.fault({ path: "device_authorization", do: fault });
    expect(await start()).toEqual({ state: "failed", cause });
  });

  it.each([
    ["device_authorization", start],
    ["token", (signal: AbortSignal) => poll(server, "device", clock.now, signal)],
  ] as const)("stops asking when the signal fires: %s", async (path, ask) => {
    service.fault({ path, do: { hang: true } });
    const stop = new AbortController();
    const asked = ask(stop.signal);
    await service.waitFor(({ kind }) => kind.startsWith("device_"));
    stop.abort();
    expect(await asked).toEqual({ state: "failed", cause: { kind: "network", code: "ABORT_ERR" } });
  });

  it("polls with what RFC 8628 §3.4 names", async () => {
    const granted = await start();
    if (granted.state !== "granted") throw new Error("no device code");
    const { deviceCode } = granted.authorization;
    expect(await poll(server, deviceCode, clock.now)).toMatchObject({ state: "approved" });
    expect(Object.entries(service.log[1]?.form ?? {})).toEqual([
      ["client_id", CLIENT_ID],
      ["device_code", deviceCode],
      ["grant_type", "urn:ietf:params:oauth:grant-type:device_code"],
    ]);
    expect(service.refused()).toEqual([]);
  });
});

describe("awaitDecision", () => {
  const pending: PollOutcome = { state: "pending" };
  const slowDown: PollOutcome = { state: "slow-down" };
  const approved: PollOutcome = { state: "approved", token: TOKEN };
  const failed = (status: number): PollOutcome => ({ state: "failed", cause: { kind: "status", status } });
  const lost: PollOutcome = { state: "failed", cause: { kind: "network", code: "ECONNRESET" } };

  let clock: FakeClock;
  beforeEach(() => {
    clock = createFakeClock(NOW);
    clock.autoAdvance();
  });

  /** Answers with `outcomes`, the last one for ever; says when (ms after the start) it was asked. */
  async function run(outcomes: readonly PollOutcome[], { interval = 5_000, life = 1_800_000 } = {}) {
    const polls: number[] = [];
    const left = [...outcomes];
    let last: PollOutcome = pending;
    const ask = async () => {
      polls.push(clock.now() - NOW);
      last = left.shift() ?? last;
      return last;
    };
    const decision: Decision = await awaitDecision(ask, { interval, expiresAt: NOW + life }, clock);
    return { decision, polls };
  }

  it("waits the interval before every poll, the first too", async () => {
    const { decision, polls } = await run([pending, pending, approved]);
    expect(decision).toEqual(approved);
    expect(polls).toEqual([5_000, 10_000, 15_000]);
  });

  it("adds five seconds for each slow_down, for all later polls", async () => {
    const { polls } = await run([slowDown, pending, slowDown, pending, approved]);
    expect(polls).toEqual([5_000, 15_000, 25_000, 40_000, 55_000]);
  });

  it.each<[string, PollOutcome]>([
    ["denied", { state: "denied" }],
    ["expired", { state: "expired" }],
  ])("ends at once with %s", async (_name, outcome) => {
    const { decision, polls } = await run([outcome, approved]);
    expect(decision).toEqual(outcome);
    expect(polls).toHaveLength(1);
  });

  it("backs off while the server cannot be reached, and goes on at the old pace afterwards", async () => {
    const { decision, polls } = await run([lost, failed(503), lost, failed(429), pending, approved]);
    expect(decision).toEqual(approved);
    expect(polls).toEqual([5_000, 15_000, 35_000, 75_000, 155_000, 160_000]);
  });

  it("counts failures in a row, not altogether", async () => {
    const outcomes = [pending, slowDown].flatMap((outcome) => [lost, lost, lost, lost, outcome]);
    expect((await run([...outcomes, lost, approved])).decision).toEqual(approved);
  });

  it.each([
    [400, 1],
    [499, 1],
    [429, 5],
    [399, 5],
    [500, 5],
  ])("asks again only where that may help: %i after %i polls", async (status, count) => {
    const { decision, polls } = await run([failed(status)]);
    expect(decision).toEqual(failed(status));
    expect(polls).toHaveLength(count);
  });

  it.each([
    [5_000, [5_000, 10_000, 12_000]],
    [30_000_000, [12_000]],
  ])("ends with the code's life when nobody decides, polling each %i ms", async (interval, polls) => {
    const decided = await run([pending], { interval, life: 12_000 });
    expect(decided).toEqual({ decision: { state: "expired" }, polls });
  });

  it("does not poll for a code that has expired before", async () => {
    expect(await run([approved], { life: 0 })).toEqual({ decision: { state: "expired" }, polls: [] });
  });

  it("always waits at least the interval and always ends, whatever the server answers", async () => {
    const outcome = fc.constantFrom(pending, slowDown, approved, lost, failed(503), failed(429), failed(400));
    await fc.assert(
      fc.asyncProperty(
        fc.array(outcome, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1_000, max: 200_000 }),
        fc.integer({ min: 1_000, max: 1_800_000 }),
        async (outcomes, interval, life) => {
          clock = createFakeClock(NOW);
          clock.autoAdvance();
          const { decision, polls } = await run([...outcomes, pending], { interval, life });
          expect(decision.state).not.toBe("cancelled");
          const pauses = polls.map((at, index) => at - (polls[index - 1] ?? 0));
          // Only the last poll may come earlier, when the code ends.
          expect(pauses.filter((pause, index) => pause < interval && (polls[index] ?? 0) < life)).toEqual([]);
          expect(Math.max(...polls)).toBeLessThanOrEqual(life);
        },
      ),
    );
  });

  describe("when the user cancels", () => {
    const authorization = { interval: 5_000, expiresAt: NOW + 1_800_000 };
    beforeEach(() => clock.autoAdvance(false));

    it("stops at once while it sleeps", async () => {
      const stop = new AbortController();
      const polls: number[] = [];
      const ask = async () => {
        polls.push(clock.now());
        return pending;
      };
      const decision = awaitDecision(ask, authorization, clock, stop.signal);
      await clock.asleep();
      stop.abort();
      expect(await decision).toEqual({ state: "cancelled" });
      expect(polls).toEqual([]);
      expect(clock.sleeping()).toBe(0);
    });

    it.each<[string, PollOutcome, object]>([
      ["keeps an approval that arrives together with it", approved, approved],
      ["forgets a refusal that arrives together with it", { state: "denied" }, { state: "cancelled" }],
      ["forgets a failure that arrives together with it", failed(400), { state: "cancelled" }],
      ["asks no more when nothing is decided", pending, { state: "cancelled" }],
    ])("%s", async (_name, outcome, expected) => {
      clock.autoAdvance();
      const stop = new AbortController();
      const ask = async () => {
        stop.abort();
        return outcome;
      };
      expect(await awaitDecision(ask, authorization, clock, stop.signal)).toEqual(expected);
    });

    it("stops at once while a poll hangs", async () => {
      clock.autoAdvance();
      const stop = new AbortController();
      const ask = (signal?: AbortSignal) =>
        new Promise<PollOutcome>((resolve) => {
          signal?.addEventListener("abort", () => resolve(lost));
          stop.abort();
        });
      expect(await awaitDecision(ask, authorization, clock, stop.signal)).toEqual({ state: "cancelled" });
    });
  });
});
