/** The quota in the footer: what it says, when it asks, and when it warns. */
import { expect, test, vi } from "vitest";
import { parseUsages } from "../../extensions/usage/figures.ts";
import { createFooter } from "../../extensions/usage/footer.ts";
import { footerText } from "../../extensions/usage/footer-text.ts";
import { type QuotaWarning, quotaWarnings, wasGiven } from "../../extensions/usage/quota-warning.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const start = new Date(2026, 10, 20, 12).getTime();

function kept(shares: Readonly<Record<string, number>>, fetchedAt = start, resetsAt = start + 3 * HOUR) {
  const reset_time = new Date(resetsAt).toISOString();
  const usages = Object.fromEntries(
    Object.entries(shares).map(([name, used_ratio]) => [name, { used_ratio, reset_time }]),
  );
  const figures = parseUsages({ usages });
  if (!figures) throw new Error("no figures");
  return { figures, fetchedAt };
}

function createSession() {
  let now = start;
  let shares: Readonly<Record<string, number>> = { limit_5h: 0.31, limit_7d: 0.06 };
  let resetsAt = start + 3 * HOUR;
  /** By account. */
  const onDisk = new Map<string, ReturnType<typeof kept>>();
  let account: string | undefined = "a";
  const statuses: (string | undefined)[] = [];
  const notified: string[] = [];
  const refresh = vi.fn(async (): Promise<unknown> => {
    const fresh = kept(shares, now, resetsAt);
    if (account !== undefined) onDisk.set(account, fresh);
    return { state: "fresh", kept: fresh, region: "kimi.com" };
  });
  const stop = vi.fn();
  const givenElsewhere: QuotaWarning[] = [];
  // Only what createFooter uses; the compiler cannot know that.
  const parts = JSON.parse("{}");
  Object.assign(parts, {
    usage: {
      known: async () => ({ account, kept: account && onDisk.get(account) }),
      refresh,
      claimWarnings: (_account: string, warnings: readonly QuotaWarning[]) =>
        warnings.filter((warning) => !wasGiven(warning, givenElsewhere, now)),
      stop,
    },
    handKey: async () => undefined,
    now: () => now,
  });
  const ctx = JSON.parse("{}");
  Object.assign(ctx, {
    ui: {
      setStatus: (_key: string, text: string | undefined) => statuses.push(text),
      notify: (text: string) => notified.push(text),
    },
  });
  const footer = createFooter(parts);
  return {
    footer,
    refresh,
    stop,
    ctx,
    notified,
    shown: () => statuses.at(-1),
    turn: () => footer.update(ctx, true),
    pass: (ms: number) => {
      now += ms;
    },
    use: (next: typeof shares, reset = resetsAt) => {
      shares = next;
      resetsAt = reset;
    },
    keepByAnother: (figures: ReturnType<typeof kept>) => {
      onDisk.set("a", figures);
    },
    logIn: (next: string | undefined) => {
      account = next;
    },
    warnElsewhere: (warnings: readonly QuotaWarning[]) => givenElsewhere.push(...warnings),
    loseFile: () => onDisk.clear(),
  };
}

test("is there while our model is selected, and gone otherwise", async () => {
  const { footer, ctx, shown, turn } = createSession();
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
  await footer.update(ctx, false);
  expect(shown()).toBeUndefined();
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
});

test("asks at most every three minutes, whatever comes of it", async () => {
  const { refresh, turn, pass, shown, use } = createSession();
  await turn();
  await turn();
  pass(3 * MINUTE - 1);
  await turn();
  expect(refresh).toHaveBeenCalledTimes(1);
  pass(1);
  use({ limit_5h: 0.5 });
  await turn();
  expect(refresh).toHaveBeenCalledTimes(2);
  expect(shown()).toBe("Kimi 5h 50%");
  refresh.mockImplementation(async () => ({ state: "failed", failure: { state: "unusable" } }));
  pass(3 * MINUTE);
  await turn();
  await turn();
  expect(refresh).toHaveBeenCalledTimes(3);
  expect(shown()).toBe("Kimi 5h 50%");
  pass(40 * MINUTE);
  await turn();
  expect(shown()).toBe("Kimi 5h 50% (43 m ago)");
  pass(-3 * HOUR); // the clock was set back
  await turn();
  expect(refresh).toHaveBeenCalledTimes(5);
});

test("asks once for turns that end while it asks", async () => {
  const { refresh, turn, pass } = createSession();
  const first = turn();
  pass(10 * MINUTE);
  await Promise.all([first, turn()]);
  expect(refresh).toHaveBeenCalledTimes(1);
});

test("uses what another process has asked for", async () => {
  const { refresh, turn, pass, shown, keepByAnother } = createSession();
  keepByAnother(kept({ limit_7d: 0.2 }, start - MINUTE));
  await turn();
  expect(refresh).not.toHaveBeenCalled();
  expect(shown()).toBe("Kimi week 20%");
  pass(2 * MINUTE - 1);
  await turn();
  expect(refresh).not.toHaveBeenCalled();
  pass(1);
  await turn();
  expect(refresh).toHaveBeenCalledTimes(1);
});

test("warns once at 80 % and once at 95 % of the window that ends first, until it resets", async () => {
  const { turn, pass, use, notified } = createSession();
  const next = async (share: number, reset?: number) => {
    use({ limit_5h: share, limit_7d: 0.5 }, reset);
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
});

test("nothing of it reaches pi as an error: a session that was replaced, files that fail", async () => {
  const { footer, refresh, stop, turn } = createSession();
  const stale = JSON.parse("{}");
  Object.defineProperty(stale, "ui", {
    get() {
      throw new Error("stale");
    },
  });
  await footer.update(stale, true);
  refresh.mockRejectedValue(new Error("broken"));
  await turn();
  footer.stop();
  expect(stop).toHaveBeenCalledTimes(1);
});

test("shows the window that ends first whatever it is", () => {
  const text = (shares: Readonly<Record<string, number>>) => footerText(kept(shares), start);
  expect(text({ limit_5h: 0.1, limit_7d: 0.2, limit_month_total: 0.15 })).toBe("Kimi 5h 10% · week 20%");
  expect(text({ limit_5h: 0.1, limit_month_code: 0.3 })).toBe("Kimi 5h 10% · code 30%");
  expect(text({ limit_5h: 0.1, limit_month_total: 0.3 })).toBe("Kimi 5h 10% · month 30%");
});

test("shows nothing of the account before, and asks at once for the one after", async () => {
  const { refresh, turn, shown, logIn, pass } = createSession();
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
  refresh.mockImplementation(async () => ({ state: "failed", failure: { state: "unusable" } }));
  logIn("b");
  await turn();
  expect(shown()).toBeUndefined();
  expect(refresh).toHaveBeenCalledTimes(2);
  pass(1_000);
  await turn();
  expect(refresh).toHaveBeenCalledTimes(2);
  logIn(undefined);
  await turn();
  expect(shown()).toBeUndefined();
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("asks as soon as somebody has logged in", async () => {
  const { refresh, turn, shown, logIn } = createSession();
  logIn(undefined);
  await turn();
  expect(refresh).not.toHaveBeenCalled();
  logIn("b");
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
});

test("says the age of what is known when a prompt begins, and leaves the asking to the turn's end", async () => {
  const { footer, ctx, refresh, turn, pass, shown } = createSession();
  await turn();
  pass(9 * HOUR);
  await footer.update(ctx, true, true);
  expect(shown()).toBe("Kimi 5h 0% · week 0% (9 h ago)");
  expect(refresh).toHaveBeenCalledTimes(1);
  await turn();
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("asks when a prompt begins only where nothing is known of the account", async () => {
  const { footer, ctx, refresh, logIn } = createSession();
  await footer.update(ctx, true, true);
  expect(refresh).toHaveBeenCalledTimes(1);
  logIn("b");
  await footer.update(ctx, true, true);
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("keeps what it knows where the file cannot be written, and the newer of the two", async () => {
  const { turn, shown, loseFile, keepByAnother, pass } = createSession();
  await turn();
  loseFile();
  pass(1_000);
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
  keepByAnother(kept({ limit_5h: 0.9 }, start - HOUR));
  await turn();
  expect(shown()).toBe("Kimi 5h 31% · week 6%");
  keepByAnother(kept({ limit_5h: 0.4 }, start + 500));
  await turn();
  expect(shown()).toBe("Kimi 5h 40%");
});

test("does not give a warning that another process has given", async () => {
  const { turn, use, notified, warnElsewhere } = createSession();
  use({ limit_5h: 0.85 });
  warnElsewhere(quotaWarnings(kept({ limit_5h: 0.81 }), start));
  await turn();
  expect(notified).toEqual([]);
});

test("warns of each limit, though another one ends first", async () => {
  const { turn, use, notified } = createSession();
  use({ limit_5h: 0.85, limit_7d: 0.96 });
  await turn();
  expect(notified).toEqual([
    expect.stringContaining("85 % of the quota for 5 hours"),
    expect.stringContaining("96 % of the quota for this week"),
  ]);
});

test("a reset that is told a little differently is the same one", () => {
  const warnings = (resetsAt: number) => quotaWarnings(kept({ limit_5h: 0.85 }, start, resetsAt), start);
  // Half of any grid of minutes lies between these two.
  const [first, second, next] = [-300, 300, 5 * HOUR].map((ms) => warnings(start + HOUR + 5 * MINUTE + ms));
  const [again] = second ?? [];
  const [other] = next ?? [];
  if (!first || !again || !other) throw new Error("no warning");
  expect(wasGiven(again, first, start)).toBe(true);
  expect(wasGiven(other, first, start)).toBe(false);
});

test("a warning of a window without a reset is given anew when the window's length is over", () => {
  const figures = parseUsages({ usage: { limit: "100", used: "83" } });
  if (!figures) throw new Error("no figures");
  const at = (now: number) => quotaWarnings({ figures, fetchedAt: now }, now);
  const [later] = at(start + 100 * HOUR);
  if (!later) throw new Error("no warning");
  expect(wasGiven(later, at(start), start + 100 * HOUR)).toBe(true);
  expect(wasGiven(later, at(start), start + 168 * HOUR)).toBe(false);
});

test("a warning says of a window that is due to reset that it resets soon", () => {
  const [warning] = quotaWarnings(kept({ limit_5h: 0.97 }, start, start - MINUTE), start);
  expect(warning?.text).toBe(
    "Kimi Coder: 97 % of the quota for 5 hours is used; it resets soon, /kimi usage shows all of it.",
  );
});

test("the quota for one day is that for 1 day", () => {
  const window = { duration: 1, timeUnit: "TIME_UNIT_DAY" };
  const figures = parseUsages({ limits: [{ window, detail: { limit: "100", used: "83" } }] });
  const [warning] = figures ? quotaWarnings({ figures, fetchedAt: start }, start) : [];
  expect(warning?.text).toContain("83 % of the quota for 1 day is used;");
});
