/** The quota in the footer: on which events it looks, what it says, when it asks and warns, and what it notes in a session. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { lazy } from "../../extensions/lib/lazy.ts";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { createFooter, footerText } from "../../extensions/quota/footer.ts";
import { keepAnswer, readKeptFigures } from "../../extensions/quota/kept.ts";
import { createUsage } from "../../extensions/quota/usage.ts";
import {
  claimWarnings,
  type QuotaWarning,
  quotaWarnings,
  wasGiven,
} from "../../extensions/quota/warnings.ts";
import { followQuota } from "../../extensions/session.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const start = new Date(2026, 10, 20, 12).getTime();

type Shares = Readonly<Record<string, number>>;

function answerOf(shares: Shares, resetsAt = start + 3 * HOUR) {
  const reset_time = new Date(resetsAt).toISOString();
  return {
    usages: Object.fromEntries(
      Object.entries(shares).map(([name, used_ratio]) => [name, { used_ratio, reset_time }]),
    ),
  };
}

function kept(shares: Shares, fetchedAt = start, resetsAt?: number) {
  const figures = parseFigures(answerOf(shares, resetsAt));
  if (!figures) throw new Error("no figures");
  return { figures, fetchedAt };
}

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "quota-"));
  onTestFinished(() => {
    chmodSync(folder, 0o700);
    rmSync(folder, { recursive: true, force: true });
  });
  return join(folder, "kimi-coder-usage.json");
}

/** pi around a footer with the real figures; pi, the server, the login and the time are the test's. */
function createSession() {
  let now = start;
  let shares: Shares = { limit_5h: 0.31, limit_7d: 0.06 };
  let resetsAt = start + 3 * HOUR;
  let login: string | undefined = "/a";
  let tools = ["read", "bash"];
  const path = temporaryFile();
  const statuses: (string | undefined)[] = [];
  const notified: string[] = [];
  const entries: object[] = [];
  const account = () => ({ id: login, baseUrl: "https://api", region: "kimi.com" });
  const ask = vi.fn(async (): Promise<unknown> => {
    const answer = answerOf(shares, resetsAt);
    return { state: "figures", figures: parseFigures(answer), answer };
  });
  // Only what createUsage and createFooter use; the compiler cannot know that.
  const made = JSON.parse("[{},{},{}]");
  const [usageParts, footerParts, ctx] = made;
  Object.assign(usageParts, {
    path,
    clock: { now: () => now },
    ask,
    caller: {
      look: async () => (login === undefined ? { kind: "none" } : { kind: "login", account: account() }),
      bearerFor: async () => ({ state: "token", accessToken: "t", account: account() }),
    },
  });
  Object.assign(footerParts, {
    usage: createUsage(usageParts),
    pi: {
      getActiveTools: () => tools,
      appendEntry: (customType: string, data: unknown) => entries.push({ type: "custom", customType, data }),
    },
    now: () => now,
  });
  let sessionId = "one";
  Object.assign(ctx, {
    ui: {
      setStatus: (_key: string, text: string | undefined) => statuses.push(text),
      notify: (text: string) => notified.push(text),
    },
    sessionManager: { getSessionId: () => sessionId, getEntries: () => entries },
  });
  const footer = createFooter(footerParts);
  return {
    footer,
    ask,
    ctx,
    path,
    notified,
    statuses,
    entries,
    shown: () => statuses.at(-1),
    turn: () => footer.update(ctx, true, "turn"),
    prompt: () => footer.update(ctx, true, "prompt"),
    begin: (id = sessionId) => {
      sessionId = id;
      return footer.update(ctx, true, "session");
    },
    pass: (ms: number) => {
      now += ms;
    },
    use: (next: Shares, reset = resetsAt) => {
      shares = next;
      resetsAt = reset;
    },
    keepByAnother: (others: Shares, fetchedAt: number) =>
      keepAnswer(path, "/a", answerOf(others, resetsAt), fetchedAt),
    logIn: (next: string | undefined) => {
      login = next;
    },
    switchTools: (...next: string[]) => {
      tools = next;
    },
  };
}

describe("in pi's events", () => {
  type Handler = (event: object, ctx: object) => void;

  test.each([
    ["session_start", false],
    ["model_select", false],
    ["agent_start", true],
    ["turn_end", true],
  ])("it looks at %s, once somebody uses Kimi on a screen (noting the tools: %s)", async (event, noted) => {
    const handlers = new Map<string, Handler>();
    const statuses: (string | undefined)[] = [];
    const appendEntry = vi.fn();
    const look = vi.fn(async () => ({ kind: "login", account: { id: "/a" } }));
    // Only what the footer uses; the compiler cannot know that.
    const [pi, runtime, usage] = JSON.parse("[{},{},{}]");
    Object.assign(pi, {
      on: (name: string, handler: Handler) => handlers.set(name, handler),
      getActiveTools: () => ["read"],
      appendEntry,
    });
    Object.assign(usage, { path: temporaryFile(), look, known: () => kept({ limit_5h: 0.31 }), stop() {} });
    Object.assign(runtime, { usage: lazy(async () => usage), clock: { now: () => start } });
    followQuota(
      pi,
      lazy(async () => runtime),
      true,
    );
    const fire = (provider: string, hasUI = true) => {
      const model = { provider };
      const ui = { setStatus: (_key: string, text: string | undefined) => statuses.push(text) };
      const sessionManager = { getSessionId: () => "one", getEntries: () => [] };
      handlers.get(event)?.({ model }, { hasUI, model, ui, sessionManager });
    };
    fire("kimi-coder", false);
    fire("openai");
    fire("kimi-coder");
    await vi.waitFor(() => expect(statuses.at(-1)).toBe("Kimi 5h 31%"));
    expect(look).toHaveBeenCalledTimes(1);
    expect(appendEntry).toHaveBeenCalledTimes(noted ? 1 : 0);
    fire("openai");
    await vi.waitFor(() => expect(statuses.at(-1)).toBeUndefined());
    expect(look).toHaveBeenCalledTimes(1);
  });
});

describe("the text", () => {
  test("is there while our model is selected, and gone otherwise", async () => {
    const { footer, ctx, shown, turn } = createSession();
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6%");
    await footer.update(ctx, false, "model");
    expect(shown()).toBeUndefined();
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6%");
  });

  test("is sent when it changes, and to each session anew", async () => {
    const { statuses, begin, prompt, turn, pass, use } = createSession();
    await begin();
    for (let turns = 0; turns < 5; turns++) {
      await prompt();
      await turn();
    }
    const text = "Kimi 5h 31% · week 6%";
    expect(statuses).toEqual([undefined, text]);
    await begin("two");
    expect(statuses.slice(2)).toEqual([text]);
    pass(3 * MINUTE);
    use({ limit_5h: 0.4 });
    await turn();
    await turn();
    expect(statuses.slice(3)).toEqual(["Kimi 5h 40%"]);
  });

  test("shows the limit that ends first whatever it is, but not what coding has of the month", () => {
    const text = (shares: Shares) => footerText(kept(shares), start);
    expect(text({ limit_5h: 0.1, limit_7d: 0.2, limit_month_total: 0.15 })).toBe("Kimi 5h 10% · week 20%");
    expect(text({ limit_5h: 0.1, limit_month_code: 0.3 })).toBe("Kimi 5h 10%");
    expect(text({ limit_5h: 0.1, limit_month_total: 0.3 })).toBe("Kimi 5h 10% · month 30%");
  });

  test("says the age of what is known when a prompt begins, and leaves the asking to the turn's end", async () => {
    const { ask, turn, prompt, pass, shown } = createSession();
    await turn();
    pass(9 * HOUR);
    await prompt();
    expect(shown()).toBe("Kimi 5h 0% · week 0% (9 h ago)");
    expect(ask).toHaveBeenCalledTimes(1);
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test("is of the newest figures, also where the file cannot be written", async () => {
    const { turn, shown, path, keepByAnother, pass } = createSession();
    await turn();
    rmSync(path);
    pass(1_000);
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6%");
    await keepByAnother({ limit_5h: 0.9 }, start - HOUR);
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6%");
    await keepByAnother({ limit_5h: 0.4 }, start + 500);
    await turn();
    expect(shown()).toBe("Kimi 5h 40%");
  });
});

describe("the asking", () => {
  const failed = async () => ({ state: "unusable" });

  test("happens at most every three minutes, whatever comes of it", async () => {
    const { ask, turn, pass, shown, use } = createSession();
    await turn();
    await turn();
    pass(3 * MINUTE - 1);
    await turn();
    expect(ask).toHaveBeenCalledTimes(1);
    pass(1);
    use({ limit_5h: 0.5 });
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
    ask.mockImplementation(failed);
    pass(3 * MINUTE);
    await turn();
    await turn();
    expect(ask).toHaveBeenCalledTimes(3);
    pass(40 * MINUTE);
    await turn();
    expect(shown()).toBe("Kimi 5h 50% (43 m ago)");
    pass(-3 * HOUR); // the clock was set back
    await turn();
    expect(ask).toHaveBeenCalledTimes(5);
  });

  test("happens once for turns that end meanwhile, and not where another process has just asked", async () => {
    const { ask, turn, pass, keepByAnother, shown } = createSession();
    await keepByAnother({ limit_7d: 0.2 }, start - MINUTE);
    await turn();
    expect(ask).not.toHaveBeenCalled();
    expect(shown()).toBe("Kimi week 20%");
    pass(2 * MINUTE);
    const first = turn();
    pass(10 * MINUTE);
    await Promise.all([first, turn()]);
    expect(ask).toHaveBeenCalledTimes(1);
  });

  test("happens at once for another account, of which nothing of the one before is shown", async () => {
    const { ask, turn, prompt, shown, logIn, pass } = createSession();
    await turn();
    ask.mockImplementation(failed);
    logIn("/b");
    await prompt();
    expect(shown()).toBeUndefined();
    expect(ask).toHaveBeenCalledTimes(2);
    pass(1_000);
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
    logIn(undefined);
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test("reaches pi by no error: a session that was replaced, a server that breaks", async () => {
    const { footer, ask, turn, statuses } = createSession();
    const stale = JSON.parse("{}");
    const thrown = () => {
      throw new Error("stale");
    };
    Object.defineProperty(stale, "ui", { get: thrown });
    Object.defineProperty(stale, "sessionManager", { get: thrown });
    await footer.update(stale, true, "turn");
    ask.mockRejectedValue(new Error("broken"));
    await turn();
    footer.stop();
    expect(statuses).toEqual(["Kimi 5h 31% · week 6%"]);
  });
});

describe("what a session notes", () => {
  const week = { window: "week week", usedPercent: 6, resetsAt: start + 3 * HOUR };

  test("is how much was used when it began to ask, and its tools, once and when they change", async () => {
    const { entries, begin, prompt, turn, switchTools, use, pass } = createSession();
    use({ limit_7d: 0.06 });
    await begin();
    expect(entries).toEqual([]);
    await prompt();
    const beginning = { account: "/a", at: start, windows: [week] };
    const tools = expect.stringMatching(/^[0-9a-f]{16}$/);
    expect(entries).toEqual([{ type: "custom", customType: "kimi-coder-usage", data: { beginning, tools } }]);
    pass(4 * MINUTE);
    await turn();
    await prompt();
    expect(entries).toHaveLength(1);
    switchTools("read");
    await prompt();
    await turn();
    expect(entries.slice(1)).toMatchObject([{ data: { tools } }]);
    // Opened again, by another process too.
    await begin("one, again");
    await prompt();
    expect(entries).toHaveLength(2);
  });

  test("begins with figures that are recent, and anew with another account", async () => {
    const { entries, prompt, turn, keepByAnother, logIn } = createSession();
    await keepByAnother({ limit_7d: 0.06 }, start - 4 * MINUTE);
    await prompt();
    expect(entries).toMatchObject([{ data: { tools: expect.anything() } }]);
    expect(entries[0]).not.toHaveProperty("data.beginning");
    await turn();
    await turn();
    expect(entries.slice(1)).toMatchObject([{ data: { beginning: { at: start } } }]);
    logIn("/b");
    await turn();
    await turn();
    const account = "/b";
    expect(entries.slice(2)).toMatchObject([{ data: { beginning: { account } } }]);
  });
});

describe("a warning", () => {
  test("comes once at 80 % and once at 95 % of each limit, until it resets", async () => {
    const { turn, pass, use, notified } = createSession();
    const next = async (share: number, reset?: number) => {
      use({ limit_5h: share, limit_7d: 0.5, limit_month_code: 0.99 }, reset);
      await turn();
      pass(3 * MINUTE);
      return notified.splice(0);
    };
    expect(await next(0.79)).toEqual([]);
    expect(await next(0.83)).toEqual([
      "Kimi Coder: 83 % of the quota for 5 hours is used; it resets 15:00 (in 2 h 57 m), /kimi usage shows all of it.",
    ]);
    expect(await next(0.9)).toEqual([]);
    expect(await next(0.96)).toEqual([expect.stringContaining("96 % of the quota for 5 hours")]);
    expect(await next(0.99)).toEqual([]);
    expect(await next(0.97, start + 8 * HOUR)).toEqual([expect.stringContaining("97 %")]);
    expect(await next(0.85, start + 8 * HOUR)).toEqual([]); // the stronger one was given
    use({ limit_5h: 0.85, limit_7d: 0.96 }, start + 8 * HOUR);
    await turn();
    expect(notified).toEqual([expect.stringContaining("96 % of the quota for this week")]);
  });

  test("of a reset that is told a little differently is the same one", () => {
    const warnings = (resetsAt: number) => quotaWarnings(kept({ limit_5h: 0.85 }, start, resetsAt), start);
    // Half of any grid of minutes lies between these two.
    const [first, second, next] = [-300, 300, 5 * HOUR].map((ms) => warnings(start + HOUR + 5 * MINUTE + ms));
    const [again] = second ?? [];
    const [other] = next ?? [];
    if (!first || !again || !other) throw new Error("no warning");
    expect(wasGiven(again, first, start)).toBe(true);
    expect(wasGiven(other, first, start)).toBe(false);
  });

  test("of a limit without a reset is given anew when its length is over", () => {
    const figures = parseFigures({ usage: { limit: "100", used: "83" } });
    if (!figures) throw new Error("no figures");
    const at = (now: number) => quotaWarnings({ figures, fetchedAt: now }, now);
    const [later] = at(start + 100 * HOUR);
    if (!later) throw new Error("no warning");
    expect(wasGiven(later, at(start), start + 100 * HOUR)).toBe(true);
    expect(wasGiven(later, at(start), start + 168 * HOUR)).toBe(false);
  });

  test("says that a limit that is due to reset resets soon, and names one of a day", () => {
    const [soon] = quotaWarnings(kept({ limit_5h: 0.97 }, start, start - MINUTE), start);
    expect(soon?.text).toBe(
      "Kimi Coder: 97 % of the quota for 5 hours is used; it resets soon, /kimi usage shows all of it.",
    );
    const window = { duration: 1, timeUnit: "DAY" };
    const figures = parseFigures({ limits: [{ window, detail: { limit: "100", used: "83" } }] });
    const [day] = figures ? quotaWarnings({ figures, fetchedAt: start }, start) : [];
    expect(day?.text).toContain("83 % of the quota for 1 day is used;");
  });
});

describe("the warnings that were given", () => {
  const account = "/a";
  const warning = (window: string, threshold: number, resetsAt = start + HOUR): QuotaWarning => ({
    window,
    threshold,
    resetsAt,
    until: resetsAt,
    text: `${window} ${threshold}`,
  });

  async function createFile() {
    const path = temporaryFile();
    const keep = (at: number, whose = account) => keepAnswer(path, whose, answerOf({ limit_7d: 0.5 }), at);
    await keep(start);
    return {
      path,
      keep,
      claim: (warnings: readonly QuotaWarning[], at = start, whose = account) =>
        claimWarnings(path, whose, warnings, at),
      read: () => JSON.parse(readFileSync(path, "utf8")),
    };
  }

  test("are kept until their windows reset, the weaker not after the stronger", async () => {
    const { claim, path, read } = await createFile();
    const [week, hours] = [warning("week", 80), warning("5h", 95)];
    expect(claim([week])).toEqual([week]);
    expect(claim([week, hours])).toEqual([hours]);
    expect(claim([week, hours, warning("5h", 80)])).toEqual([]);
    expect(claim([warning("week", 95)])).toHaveLength(1);
    expect(claim([warning("5h", 80, start + 9 * HOUR)])).toHaveLength(1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // Only the newest are remembered.
    for (let resets = 10; resets < 50; resets++) claim([warning("5h", 95, start + resets * HOUR)]);
    expect(read().warnings).toHaveLength(24);
    expect(claim([warning("5h", 95, start + 49 * HOUR)])).toEqual([]);
  });

  test("outlive newer figures of the account, as what else stands there, and are not another's", async () => {
    const { claim, keep, path, read } = await createFile();
    claim([warning("week", 80)]);
    writeFileSync(path, JSON.stringify({ ...read(), later: "version" }));
    claim([warning("5h", 80)]);
    await keep(start + 1);
    expect(readKeptFigures(path, account)).toMatchObject({ fetchedAt: start + 1 });
    expect(read().later).toBe("version");
    expect(claim([warning("week", 80), warning("5h", 80)])).toEqual([]);
    const other = "/b";
    expect(claim([warning("week", 80)], start, other)).toHaveLength(1);
    await keep(start, other);
    expect(read().warnings).toBeUndefined();
    expect(claim([warning("week", 80)], start, other)).toHaveLength(1);
  });

  test("are no reason to be silent or to throw where the file is none, or holds anything else", async () => {
    const { claim, path, read } = await createFile();
    const whole = read();
    fc.assert(
      fc.property(fc.jsonValue(), (warnings) => {
        writeFileSync(path, JSON.stringify({ ...whole, warnings }));
        expect(claim([warning("week", 80)])).toHaveLength(1);
        expect(claim([warning("week", 80)])).toEqual([]);
      }),
      { numRuns: 30 },
    );
    rmSync(path);
    expect(claim([warning("week", 80)])).toHaveLength(1);
    expect(() => readFileSync(path)).toThrow("ENOENT");
  });
});
