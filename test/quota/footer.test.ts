/** The quota in the footer: what it says, when it asks and warns, and what it notes in a session. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { createFooter, footerText } from "../../extensions/quota/footer.ts";
import { keepAnswer, readKeptFigures } from "../../extensions/quota/kept.ts";
import { createUsage } from "../../extensions/quota/usage.ts";
import { claimWarnings, quotaWarnings } from "../../extensions/quota/warnings.ts";
import { Screen } from "../../extensions/screen.ts";

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

function kept(answer: unknown, fetchedAt = start) {
  const figures = parseFigures(answer);
  if (!figures) throw new Error("no figures");
  return { figures, fetchedAt };
}

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "quota-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "kimi-coder-usage.json");
}

/** pi around a footer with the real figures; pi, the server, the login and the time are the test's. */
function createSession() {
  let now = start;
  let answer = answerOf({ limit_5h: 0.31, limit_7d: 0.06 });
  let login: string | undefined = "/a";
  let tools = ["read", "bash"];
  const path = temporaryFile();
  const statuses: (string | undefined)[] = [];
  const notified: string[] = [];
  const entries: object[] = [];
  const account = () => ({ id: login, baseUrl: "https://api", region: "kimi.com" });
  const ask = vi.fn(
    async (): Promise<unknown> => ({ state: "figures", figures: parseFigures(answer), answer }),
  );
  // Only what createUsage and createFooter use; the compiler cannot know that.
  const [usageParts, ctx] = JSON.parse("[{},{}]");
  Object.assign(usageParts, {
    path,
    clock: { now: () => now },
    ask,
    caller: {
      look: async () => (login === undefined ? { kind: "none" } : { kind: "login", account: account() }),
      bearerFor: async () => ({ state: "token", accessToken: "t", account: account() }),
    },
  });
  Object.assign(ctx, {
    ui: {
      setStatus: (_key: string, text: string | undefined) => statuses.push(text),
      notify: (text: string) => notified.push(text),
    },
    sessionManager: { getEntries: () => entries },
  });
  const screen = new Screen();
  screen.open(ctx);
  const footer = createFooter({
    usage: createUsage(usageParts),
    screen,
    pi: {
      getActiveTools: () => tools,
      appendEntry: (customType: string, data: unknown) => entries.push({ type: "custom", customType, data }),
    },
    now: () => now,
  });
  return {
    footer,
    screen,
    ask,
    ctx,
    path,
    notified,
    statuses,
    entries,
    shown: () => statuses.at(-1),
    turn: () => footer.update(ctx, true, "turn"),
    prompt: () => footer.update(ctx, true, "prompt"),
    begin: () => footer.update(ctx, true, "session"),
    pass: (ms: number) => {
      now += ms;
    },
    use: (shares: Shares, resetsAt?: number) => {
      answer = answerOf(shares, resetsAt);
    },
    keepByAnother: (shares: Shares, fetchedAt: number) => keepAnswer(path, "/a", answerOf(shares), fetchedAt),
    logIn: (next: string | undefined) => {
      login = next;
    },
    switchTools: (...next: string[]) => {
      tools = next;
    },
  };
}

describe("the text", () => {
  test("is there while our model is selected, sent when it changes, and to each session anew", async () => {
    const { footer, ctx, statuses, begin, prompt, turn, pass, use } = createSession();
    await begin();
    for (let turns = 0; turns < 5; turns++) {
      await prompt();
      await turn();
    }
    const text = "Kimi 5h 31% · week 6%";
    expect(statuses).toEqual([undefined, text]);
    await begin();
    expect(statuses.slice(2)).toEqual([text]);
    pass(3 * MINUTE);
    use({ limit_5h: 0.4 });
    await turn();
    await footer.update(ctx, false, "model");
    await turn();
    expect(statuses.slice(3)).toEqual(["Kimi 5h 40%", undefined, "Kimi 5h 40%"]);
  });

  test("shows the limit that ends first whatever it is, but not what coding has of the month", () => {
    const text = (shares: Shares) => footerText(kept(answerOf(shares)), start);
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

  test("is of the newest figures, of another process too, also where the file cannot be written", async () => {
    const { ask, turn, shown, path, keepByAnother, pass } = createSession();
    await turn();
    rmSync(path);
    pass(1_000);
    keepByAnother({ limit_5h: 0.9 }, start - HOUR);
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6%");
    pass(4 * MINUTE);
    keepByAnother({ limit_5h: 0.4 }, start + 2 * MINUTE);
    await turn();
    expect(shown()).toBe("Kimi 5h 40%");
    expect(ask).toHaveBeenCalledTimes(1);
  });
});

describe("the asking", () => {
  const failed = async () => ({ state: "unusable" });

  test("happens at most every three minutes, whatever comes of it", async () => {
    const { ask, turn, pass, shown } = createSession();
    await Promise.all([turn(), turn()]);
    pass(3 * MINUTE - 1);
    await turn();
    expect(ask).toHaveBeenCalledTimes(1);
    ask.mockImplementation(failed);
    pass(1);
    await turn();
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
    pass(40 * MINUTE);
    await turn();
    expect(shown()).toBe("Kimi 5h 31% · week 6% (43 m ago)");
    pass(-3 * HOUR); // the clock was set back
    await turn();
    expect(ask).toHaveBeenCalledTimes(4);
  });

  test("happens at once for another account, of which nothing of the one before is shown", async () => {
    const { ask, turn, prompt, shown, logIn } = createSession();
    await turn();
    ask.mockImplementation(failed);
    logIn("/b");
    await prompt();
    expect(shown()).toBeUndefined();
    expect(ask).toHaveBeenCalledTimes(2);
    logIn(undefined);
    await turn();
    expect(ask).toHaveBeenCalledTimes(2);
  });

  test("reaches pi by no error: a session that was replaced, a server that breaks", async () => {
    const { ctx, screen, ask, turn, statuses } = createSession();
    const stale = JSON.parse("{}");
    for (const name of ["ui", "sessionManager"])
      Object.defineProperty(stale, name, {
        get() {
          throw new Error("stale");
        },
      });
    screen.open(stale);
    await turn();
    screen.open(ctx);
    ask.mockRejectedValue(new Error("broken"));
    await turn();
    expect(statuses).toEqual(["Kimi 5h 31% · week 6%"]);
  });
});

test("a session notes how much was used when it began to ask, and its tools, once and when they change", async () => {
  const { entries, begin, prompt, turn, switchTools, use, keepByAnother, logIn } = createSession();
  use({ limit_7d: 0.06 });
  keepByAnother({ limit_7d: 0.05 }, start - 4 * MINUTE);
  await prompt();
  const tools = expect.stringMatching(/^[0-9a-f]{16}$/);
  expect(entries).toEqual([{ type: "custom", customType: "kimi-coder-usage", data: { tools } }]);
  await turn();
  await begin();
  expect(entries).toHaveLength(1);
  await turn();
  const week = { label: "week", usedPercent: 6, resetsAt: start + 3 * HOUR };
  const beginning = { account: "/a", at: start, windows: [week] };
  expect(entries.slice(1)).toMatchObject([{ data: { beginning, tools } }]);
  switchTools("read");
  await prompt();
  expect(entries.slice(2)).toMatchObject([{ data: { tools } }]);
  logIn("/b");
  await turn();
  await turn();
  expect(entries.slice(3)).toMatchObject([{ data: { beginning: { account: "/b" } } }]);
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
      "Kimi Coder: 83 % of the quota for 5 hours is used; it resets 15:00, in 3 h; /kimi usage shows all of it.",
    ]);
    expect(await next(0.9, start + 3 * HOUR + 1)).toEqual([]);
    expect(await next(0.96)).toEqual([expect.stringContaining("96 % of the quota for 5 hours")]);
    use({ limit_5h: 0.85, limit_7d: 0.96 });
    await turn();
    expect(notified.splice(0)).toEqual([expect.stringContaining("96 % of the quota for this week")]);
    pass(3 * HOUR);
    expect(await next(0.97, start + 8 * HOUR)).toEqual([expect.stringContaining("97 %")]);
    expect(await next(0.85, start + 8 * HOUR)).toEqual([]); // the stronger one was given
  });

  test("comes once where the figures cannot be kept", async () => {
    const { turn, pass, use, notified, path } = createSession();
    use({ limit_5h: 0.83 });
    await turn();
    rmSync(path);
    pass(3 * MINUTE);
    await turn();
    rmSync(path);
    await turn();
    expect(notified).toHaveLength(1);
  });

  test("of a limit whose reset is not known, or late, holds as long as the limit", () => {
    const [limit] = quotaWarnings(kept({ usage: { limit: "100", used: "83" } }), start);
    expect(limit).toMatchObject({ until: start + 168 * HOUR });
    expect(limit?.text).toContain("83 % of the quota for this week is used; type /kimi usage");
    const [late] = quotaWarnings(kept(answerOf({ limit_5h: 0.97 }, start - MINUTE)), start);
    expect(late).toMatchObject({ until: start + 5 * HOUR });
    expect(late?.text).toContain("it resets soon; /kimi usage");
  });
});

describe("the warnings that were given", () => {
  const week = (account = "/a") => ({ window: "week", threshold: 80, until: start + HOUR, text: account });

  function createFile() {
    const path = temporaryFile();
    const keep = (at: number, whose = "/a") => keepAnswer(path, whose, answerOf({ limit_7d: 0.5 }), at);
    keep(start);
    /** As another process, which remembers none. */
    const claim = (at = start, whose = "/a") => claimWarnings(path, whose, [week()], [], at);
    return { path, keep, claim, read: () => JSON.parse(readFileSync(path, "utf8")) };
  }

  test("are those of all processes, outlive newer figures of the account, and are not another's", async () => {
    const { claim, keep, path, read } = createFile();
    expect([claim(), claim()]).toEqual([[week()], []]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    writeFileSync(path, JSON.stringify({ ...read(), later: "version" }));
    keep(start + 1);
    expect(readKeptFigures(path, "/a")).toMatchObject({ fetchedAt: start + 1 });
    expect(read().later).toBe("version");
    expect(claim()).toEqual([]);
    expect(claim(start + HOUR)).toHaveLength(1);
    expect(read().warnings).toHaveLength(1);
    expect(claim(start, "/b")).toHaveLength(1);
    keep(start, "/b");
    expect(read().warnings).toBeUndefined();
  });

  test("are no reason to be silent or to throw where the file is none, or holds anything else", async () => {
    const { claim, path, read } = createFile();
    const whole = read();
    fc.assert(
      fc.property(fc.jsonValue(), (warnings) => {
        writeFileSync(path, JSON.stringify({ ...whole, warnings }));
        expect([claim().length, claim().length]).toEqual([1, 0]);
      }),
      { numRuns: 30 },
    );
    rmSync(path);
    expect(claim()).toHaveLength(1);
    expect(() => readFileSync(path)).toThrow("ENOENT");
  });
});
