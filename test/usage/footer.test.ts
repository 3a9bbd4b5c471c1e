/** The quota in the footer: what it says, when it asks, and when it warns. */
import { expect, test, vi } from "vitest";
import { parseUsages } from "../../extensions/usage/figures.ts";
import { createFooter, warnedInProcess } from "../../extensions/usage/footer.ts";
import { footerText } from "../../extensions/usage/footer-text.ts";

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
  let onDisk: ReturnType<typeof kept> | undefined;
  const statuses: (string | undefined)[] = [];
  const notified: string[] = [];
  const refresh = vi.fn(async (): Promise<unknown> => {
    onDisk = kept(shares, now, resetsAt);
    return { state: "fresh", kept: onDisk, region: "kimi.com" };
  });
  const stop = vi.fn();
  // Only what createFooter uses; the compiler cannot know that.
  const parts = JSON.parse("{}");
  Object.assign(parts, {
    usage: { last: async () => onDisk, refresh, stop },
    handKey: async () => undefined,
    now: () => now,
    warned: new Set(),
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
      onDisk = figures;
    },
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

test("the warnings given are the process's, not the file's", () => {
  const warned = warnedInProcess();
  warned.add("test");
  expect(warnedInProcess()).toBe(warned);
  warned.delete("test");
});
