/** What a session starts and ends, whatever its reason; pi is a list of the handlers it was given. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createBackgroundRefresh } from "../extensions/background-refresh.ts";
import { readConfiguration } from "../extensions/configuration.ts";
import { followSessions } from "../extensions/session.ts";

afterEach(() => {
  vi.useRealTimers();
});

type Handler = (event: unknown, ctx: unknown) => unknown;

function createSession(options: { hasKey?: boolean } = {}) {
  const handlers = new Map<string, Handler>();
  const timers = new Set<() => void>();
  const notified: string[] = [];
  const store = { owner: "kimi-cli", path: "/kimi" };
  const renewal = vi.fn(async () => ({ state: "ready", token: { accessToken: "a" }, store }));
  const settle = vi.fn(async () => {});
  const current = vi.fn(async () => {});
  const loadAdapter = vi.fn();
  let now = 0;
  const refresh = createBackgroundRefresh(
    () => session.check(),
    () => undefined,
    () => now,
    {
      every: (_ms, tick) => {
        timers.add(tick);
        return () => timers.delete(tick);
      },
    },
  );
  const service = {
    credential: { renewal, settle, current },
    catalogue: { keepUp: () => {}, settle: async () => {} },
    loadAdapter,
  };
  const load = vi.fn(async () => service);
  // Only what followSessions uses; the compiler cannot know that.
  const parts = JSON.parse("{}");
  Object.assign(parts, {
    configuration: readConfiguration({}, "/home"),
    service: {
      load,
      settled: async () => service,
    },
    refresh,
    hasKey: () => options.hasKey === true,
    keyArgument: false,
  });
  const pi = JSON.parse("{}");
  Object.assign(pi, { on: (name: string, handler: Handler) => handlers.set(name, handler) });
  const session = followSessions(pi satisfies ExtensionAPI, parts);
  const ctx = { hasUI: true, ui: { notify: (text: string) => notified.push(text) }, model: undefined };
  return {
    renewal,
    settle,
    current,
    load,
    loadAdapter,
    timers,
    notified,
    async start(reason: string, context: unknown = ctx) {
      handlers.get("session_start")?.({ reason }, context);
      await new Promise(setImmediate);
    },
    /** What pi waits for before it chooses the key for a request. */
    async beforeRequest(model: object) {
      await handlers.get("context")?.({}, { ...ctx, model });
    },
    shutDown: () => handlers.get("session_shutdown")?.({}, ctx),
    async tickAfter(ms: number) {
      now += ms;
      for (const tick of timers) tick();
      await new Promise(setImmediate);
    },
    mirrored: session.mirrored,
    warn: session.warn,
  };
}

test.each(["startup", "new", "resume", "fork", "reload"])(
  "a session (%s) looks at the login at once and every ten minutes",
  async (reason) => {
    const session = createSession();
    await session.start(reason);
    expect(session.renewal).toHaveBeenCalledTimes(1);
    for (let tick = 0; tick < 19; tick++) await session.tickAfter(30_000);
    expect(session.renewal).toHaveBeenCalledTimes(1);
    await session.tickAfter(30_000);
    expect(session.renewal).toHaveBeenCalledTimes(2);
  },
);

test("there is one timer, however many sessions begin, and none after the last", async () => {
  const session = createSession();
  await session.start("startup");
  await session.start("new");
  await session.start("new"); // RPC mode reports a new session twice
  expect(session.timers.size).toBe(1);
  await session.shutDown();
  expect(session.timers.size).toBe(0);
  expect(session.settle).toHaveBeenCalledTimes(1);
});

test("a machine that slept is noticed at the first tick", async () => {
  const session = createSession();
  await session.start("startup");
  await session.tickAfter(30_000);
  await session.tickAfter(8 * 3_600_000);
  expect(session.renewal).toHaveBeenCalledTimes(2);
});

test("whose login it is is said once, at the start of the process", async () => {
  const session = createSession();
  for (const reason of ["startup", "new", "reload"]) {
    await session.start(reason);
  }
  await vi.waitFor(() => expect(session.notified).toEqual(["Kimi Coder: using kimi-cli credentials"]));
});

test("with a key nothing is looked at", async () => {
  const session = createSession({ hasKey: true });
  await session.start("startup");
  expect(session.renewal).not.toHaveBeenCalled();
  expect(session.timers.size).toBe(0);
});

test("a print run with somebody else's model looks at nothing, one with ours does", async () => {
  const print = (provider: string) => ({ hasUI: false, model: { provider } });
  const other = createSession();
  await other.start("startup", print("anthropic"));
  expect(other.renewal).not.toHaveBeenCalled();
  const ours = createSession();
  await ours.start("startup", print("kimi-coder"));
  expect(ours.renewal).toHaveBeenCalledTimes(1);
});

describe("before a request", () => {
  const ours = { provider: "kimi-coder", id: "kimi-for-coding" };

  test("the login is renewed, with nothing loaded beside it while that is quick", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const session = createSession();
    await session.beforeRequest(ours);
    expect(session.current).toHaveBeenCalledExactlyOnceWith(true);
    expect(vi.getTimerCount()).toBe(0);
    expect(session.loadAdapter).not.toHaveBeenCalled();
  });

  test("what it needs next is loaded while the authorization server thinks", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const session = createSession();
    let renewed = () => {};
    session.current.mockReturnValue(
      new Promise((resolve) => {
        renewed = resolve;
      }),
    );
    const waiting = session.beforeRequest(ours);
    await vi.advanceTimersByTimeAsync(100);
    expect(session.loadAdapter).toHaveBeenCalledExactlyOnceWith(ours);
    renewed();
    await waiting;
  });

  test("to another provider nothing is done", async () => {
    const session = createSession();
    await session.beforeRequest({ provider: "anthropic" });
    expect(session.load).not.toHaveBeenCalled();
  });

  test("files that cannot be loaded are left to the request, which has words for it", async () => {
    const session = createSession();
    session.load.mockRejectedValue(new Error("Cannot find module"));
    await expect(session.beforeRequest(ours)).resolves.toBeUndefined();
  });
});

test("a session that was replaced is not spoken to", async () => {
  const session = createSession();
  const stale = new Proxy(
    {},
    {
      get() {
        throw new Error("stale");
      },
    },
  );
  await session.start("startup");
  await session.start("new", { hasUI: true, ui: stale, model: undefined });
  expect(() => session.mirrored()).not.toThrow();
  expect(() => session.warn("Kimi Coder: …")).not.toThrow();
});
