/** What a session starts and ends, whatever its reason; pi is a list of the handlers it was given. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readConfiguration } from "../extensions/configuration.ts";
import type { Access, Unavailable } from "../extensions/credentials/login.ts";
import { kimiCliStore } from "../extensions/credentials/stores.ts";
import { lazy } from "../extensions/lib/lazy.ts";
import { Screen } from "../extensions/screen.ts";
import { followSessions, isCheckDue } from "../extensions/session.ts";
import { FIRST } from "./credentials/support/homes.ts";

const NOW = Date.UTC(2026, 10, 20);
const store = kimiCliStore("/home/someone/.kimi");

test.each([
  ["the last check is nearly ten minutes ago", 599_999, undefined, false],
  ["the last check is ten minutes ago", 600_000, undefined, true],
  ["the clock was set back", -1, undefined, true],
  ["the token lasts 90 s", 120_000, 90_000, false],
  ["the token lasts less than 90 s", 120_000, 89_999, true],
  ["the token is ending but was looked at", 119_999, 89_999, false],
])("whether the login is looked at when %s", (_name, age, left, due) => {
  expect(isCheckDue(NOW, NOW - age, left === undefined ? undefined : NOW + left)).toBe(due);
});

interface Given {
  readonly access?: Access;
  readonly hasKey?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly expiresAt?: number;
}

const READY: Access = { state: "ready", token: FIRST, store };
const without = (reason: Unavailable): Access => ({ state: "unavailable", reason });

function createSession({ access = READY, hasKey = false, env = {}, expiresAt }: Given = {}) {
  const handlers = new Map<string, (event: unknown, ctx: unknown) => unknown>();
  const notified: string[] = [];
  /** When the login was looked at, ms since the start. */
  const checks: number[] = [];
  const end = vi.fn(async () => {});
  const endList = vi.fn(async () => {});
  // Only what followSessions uses; the compiler cannot know that.
  const [pi, used] = JSON.parse("[{},{}]");
  pi.on = handlers.set.bind(handlers);
  Object.assign(used, {
    login: {
      keepFresh: async () => {
        checks.push(Date.now() - NOW);
        return access;
      },
      expiresAt: () => expiresAt,
      end,
    },
    catalogue: { keepUp: () => {}, end: endList },
    caller: { accountOf: () => ({}) },
  });
  const runtime = lazy(async () => used);
  const screen = new Screen();
  followSessions(pi, {
    configuration: readConfiguration(env, "/home"),
    screen,
    runtime,
    hasKey: () => hasKey,
  });
  const ui = { notify: (text: string) => notified.push(text) };
  const context = (provider?: string, hasUI = true) => ({
    hasUI,
    ui,
    model: provider && { provider },
    modelRegistry: {},
  });
  return {
    checks,
    notified,
    end,
    endList,
    runtime,
    screen,
    ours: context("kimi-coder"),
    others: context("anthropic"),
    headless: context("kimi-coder", false),
    async start(reason: string, ctx: unknown = context("kimi-coder")) {
      handlers.get("session_start")?.({ reason }, ctx);
      await turn();
    },
    shutDown: (reason?: string) => handlers.get("session_shutdown")?.({ reason }, context()),
  };
}

/** What has begun goes on until it waits for something. */
const turn = () => new Promise(setImmediate);

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await turn();
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"], now: NOW });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the timer", () => {
  test("looks at the login at once and every ten minutes", async () => {
    const { start, checks } = createSession();
    await start("reload");
    await pass(30 * 60_000);
    expect(checks).toEqual([0, 600_000, 1_200_000, 1_800_000]);
  });

  test("looks as soon as the machine wakes, and then at its pace again", async () => {
    const { start, checks } = createSession();
    await start("startup");
    await pass(30_000);
    vi.setSystemTime(NOW + 8 * 3_600_000);
    await pass(60_000);
    expect(checks).toEqual([0, 8 * 3_600_000 + 30_000]);
  });

  test("does not leave a token that ends to the next check, nor storm where the network is away", async () => {
    const { start, checks } = createSession({ expiresAt: NOW + 300_000 });
    await start("startup");
    await pass(600_000);
    expect(checks).toEqual([0, 240_000, 360_000, 480_000, 600_000]);
  });

  test("is one, however many sessions begin, and none after the last", async () => {
    const { start, checks, shutDown } = createSession();
    for (const reason of ["startup", "new", "new"]) await start(reason); // RPC mode reports a new session twice
    expect(vi.getTimerCount()).toBe(1);
    expect(checks).toEqual([0, 0, 0]);
    await shutDown("new");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("does not keep the process alive", async () => {
    vi.useRealTimers();
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const { start, shutDown } = createSession();
    const before = timers();
    await start("startup");
    expect(timers()).toBe(before);
    await shutDown("quit");
  });

  test.each([
    ["a key", { hasKey: true }, "ours"],
    ["no screen, where only a request needs the login", {}, "headless"],
    ["a variable that is wrong", { env: { KIMI_CODER_REGION: "mars" } }, "ours"],
  ] as const)("is not there with %s", async (_name, given, where) => {
    const session = createSession(given);
    await session.start("startup", session[where]);
    expect(vi.getTimerCount()).toBe(0);
    expect(session.checks).toEqual([]);
    const wrong = "env" in given ? [expect.stringContaining("KIMI_CODER_REGION")] : [];
    expect(session.notified).toEqual(wrong);
  });
});

describe("what the user hears", () => {
  test("is whose login it is, once, at the start of the process, where a model of ours is selected", async () => {
    const { start, notified, others } = createSession();
    await start("startup", others);
    await pass(600_000);
    expect(notified).toEqual([]);
    for (const reason of ["startup", "new", "reload"]) await start(reason);
    await vi.waitFor(() => expect(notified).toEqual(["Kimi Coder: using kimi-cli credentials"]));
    const successor = createSession();
    await successor.start("new");
    await pass(600_000);
    expect(successor.notified).toEqual([]);
  });

  const problem: Unavailable = { kind: "problem", problem: { store, found: { state: "signed-out" } } };
  test.each<[string, Unavailable, number, number]>([
    ["a login that cannot be used", problem, 1, 1],
    ["no login", { kind: "no-login" }, 1, 0],
    ["a logout", { kind: "logged-out" }, 1, 0],
    ["a login that has ended", { kind: "refused", store }, 1, 0],
    ["a renewal that failed in passing", { kind: "failed", store, cause: { kind: "busy" } }, 0, 0],
    ["a key in auth.json", { kind: "own-key" }, 0, 0],
  ])(
    "of %s is said as often as it should, with a model of ours and another",
    async (_name, reason, ...times) => {
      for (const [index, which] of (["ours", "others"] as const).entries()) {
        const session = createSession({ access: without(reason) });
        await session.start("startup", session[which]);
        await vi.waitFor(() => expect(session.notified).toHaveLength(times[index] ?? 0));
        await session.start("new", session[which]);
        await pass(600_000);
        expect(session.notified).toHaveLength(times[index] ?? 0);
      }
    },
  );

  test("is nothing where the session was replaced meanwhile", async () => {
    const { start, screen, notified } = createSession();
    await start("startup");
    const stale = () => {
      throw new Error("stale");
    };
    screen.open(Object.defineProperties(JSON.parse("{}"), { hasUI: { get: stale }, model: { get: stale } }));
    expect(() => screen.say("Kimi Coder: …", "warning")).not.toThrow();
    expect(screen.isOurs).toBe(false);
    expect(notified).not.toContain("Kimi Coder: …");
  });
});

describe("the end of a session", () => {
  // pi before 0.58 gives no reason.
  test.each([
    ["quit", 1],
    [undefined, 1],
    ["new", 0],
  ])("for the reason %s ends what is under way %i times", async (reason, times) => {
    const { start, shutDown, end, endList } = createSession();
    await start("startup");
    await shutDown(reason);
    expect([end, endList].map(({ mock }) => mock.calls.length)).toEqual([times, times]);
  });

  test("loads nothing", async () => {
    const { start, shutDown, runtime, headless } = createSession();
    await start("startup", headless);
    await shutDown("quit");
    expect(runtime.loaded()).toBeUndefined();
  });
});
