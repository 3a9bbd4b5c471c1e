import { mkdirSync } from "node:fs";
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CredentialStore } from "../../extensions/credentials/store.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import type { Verification } from "../../extensions/login/lines.ts";
import { type LoginParts, logInAnew } from "../../extensions/login/login.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import type { AuthorizationServer } from "../../extensions/oauth/token-endpoint.ts";
import { listing, temporaryDirectory } from "../credentials/support/homes.ts";
import { createFakeClock, type FakeClock } from "../support/fake-clock.ts";
import {
  CLIENT_ID,
  type DeviceOutcome,
  type KimiService,
  startKimiService,
} from "../support/kimi-service/index.ts";

let clock: FakeClock;
let service: KimiService;
let server: AuthorizationServer;
let home: string;
let store: CredentialStore;
/** What was shown, in order. */
let trace: string[];
let stop: AbortController;

beforeEach(async () => {
  clock = createFakeClock();
  clock.autoAdvance();
  service = await startKimiService({ now: clock.now });
  server = { host: service.url, clientId: CLIENT_ID, fetch, identity: async () => ({}) };
  home = temporaryDirectory();
  store = kimiCliStore(home);
  trace = [];
  stop = new AbortController();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  expect(listing(home).filter((name) => name.endsWith(".pi-new"))).toEqual([]);
  await service.close();
});

/** pi 0.73's callbacks. */
const callbacks = (): OAuthLoginCallbacks => ({
  onAuth: ({ url, instructions }) => trace.push(`auth ${url.replace(service.url, "")} ${instructions}`),
  onPrompt: () => Promise.reject(new Error("nothing has to be typed")),
  onProgress: (message) => trace.push(`progress ${message}`),
  signal: stop.signal,
});
const run = (to: Parameters<typeof logInAnew>[1] = callbacks(), beside?: LoginParts["beside"]) =>
  logInAnew({ server, clock, store, ...(beside && { beside }) }, to);
const polls = () => service.log.filter(({ kind }) => kind === "device_poll");
const expectSaved = async (token: Token) =>
  expect(await store.read()).toMatchObject({
    state: "present",
    token: { accessToken: token.accessToken, refreshToken: token.refreshToken },
  });
const codes = () => trace.filter((line) => line.startsWith("auth "));

describe("a login", () => {
  it("shows address and code, waits for the user, saves, and gives pi the token", async () => {
    service.scriptDevice(["pending", "pending", { approved: "someone" }]);
    const token = await run();
    expect(trace).toEqual([
      expect.stringMatching(/^auth \/device\?user_code=(\w{4}-\w{4}) Code: \1$/),
      "progress Open the address in any browser and confirm the code; pi goes on by itself. Esc cancels.",
    ]);
    await expectSaved(token);
    expect(service.currentTokens(token.refreshToken)?.access_token).toBe(token.accessToken);
    expect(clock.sleeps).toEqual([5_000, 5_000, 5_000]);
    expect(service.refused()).toEqual([]);
  });

  it("gives up after an hour, and promises no code it will not show", async () => {
    service.deviceResponse({ interval: 50, expires_in: 1_700 });
    service.scriptDevice(Array<DeviceOutcome>(200).fill("pending"));
    const start = clock.now();
    await expect(run()).rejects.toThrow(
      "the login was not confirmed in time; type /login kimi-coder to try again.",
    );
    expect(clock.now() - start).toBeGreaterThanOrEqual(3_600_000);
    expect(clock.now() - start).toBeLessThan(3_660_000);
    expect(trace.filter((line) => line.startsWith("progress The code has"))).toHaveLength(codes().length - 1);
    expect(await store.read()).toEqual({ state: "absent" });
  });

  it("ends after five failures in a row, with the reason", async () => {
    service.fault({ path: "token", times: 9, do: { status: 502, body: "<html>" } });
    await expect(run()).rejects.toThrow(
      "the login failed because the authorization server is out of order; type /login kimi-coder to try again.",
    );
    expect(polls()).toHaveLength(5);
  });

  it.each(["before anybody confirms a code", "and does not go on as if it were"])(
    "says where it could not be saved, %s",
    async (when) => {
      const isEarly = when.startsWith("before");
      const inTheWay = () => void mkdirSync(store.path, { recursive: true });
      if (isEarly) inTheWay();
      await expect(run({ ...callbacks(), onAuth: inTheWay })).rejects.toThrow(
        `the login could not be saved in ${store.path} (EISDIR); make it writable and log in again.`,
      );
      expect(service.log.length === 0).toBe(isEarly);
    },
  );

  it("shows nothing and says why when nobody listens", async () => {
    await service.close();
    await expect(run()).rejects.toThrow(
      "the login could not be started because of a network error (ECONNREFUSED); check the network and type /login kimi-coder again.",
    );
    expect(trace).toEqual([]);
  });

  it.each([true, false])(
    "gives pi's successor the code in its own callback, remote: %s",
    async (isRemote) => {
      vi.stubEnv("DISPLAY", ":0");
      vi.stubEnv("SSH_TTY", undefined);
      vi.stubEnv("SSH_CONNECTION", isRemote ? "::1 1 ::1 22" : undefined);
      const shown: object[] = [];
      await run({ ...callbacks(), onDeviceCode: (info) => shown.push(info) });
      expect(shown).toEqual([
        {
          userCode: expect.stringMatching(/^\w{4}-\w{4}$/),
          verificationUri: expect.stringContaining(`${service.url}/device?user_code=`),
          openBrowserOnConfirm: !isRemote,
          intervalSeconds: 5,
          expiresInSeconds: 1800,
        },
      ]);
      expect(codes()).toEqual([]);
    },
  );

  it.each(["approved", "denied"] as const)(
    "takes away what it put beside pi's dialog when %s",
    async (end) => {
      service.scriptDevice(["expired", end]);
      const there = new Set<Verification>();
      const seen: boolean[] = [];
      const beside = (verification: Verification) => {
        there.add(verification);
        seen.push(verification.isAnother);
        return () => there.delete(verification);
      };
      await run(callbacks(), beside).catch(() => {});
      expect(seen).toEqual([false, true]);
      expect(there.size).toBe(0);
    },
  );
});

describe("Esc", () => {
  const cancelled = "Login cancelled";

  it("stops while the code is being asked for", async () => {
    service.fault({ path: "device_authorization", do: { hang: true } });
    const outcome = expect(run()).rejects.toThrow(new Error(cancelled));
    await service.waitFor(({ kind }) => kind === "device_authorization");
    stop.abort();
    await outcome;
    expect(trace).toEqual([]);
  });

  it("comes too late when the approval is there: the login is kept", async () => {
    const late: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      const text = await response.text();
      if (String(input).endsWith("/token")) stop.abort();
      return new Response(text, response);
    };
    server = { ...server, fetch: late };
    const token = await run();
    await expectSaved(token);
    expect(stop.signal.aborted).toBe(true);
  });
});
