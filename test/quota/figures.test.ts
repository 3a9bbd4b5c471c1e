import { describe, expect, test } from "vitest";
import {
  bindingWindow,
  emptyAt,
  essence,
  parseFigures,
  usedPercentAt,
} from "../../extensions/quota/figures.ts";
import { newerUsages, olderUsages } from "../support/kimi-service/index.ts";

const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 20, 12);
const iso = (ms: number) => new Date(now + ms).toISOString();
const windows = (answer: unknown) => parseFigures(answer)?.windows ?? [];

describe("an answer", () => {
  test("in the older shape: decimal strings, the week apart, times finer than ms", () => {
    expect(parseFigures(olderUsages(now))).toEqual({
      plan: "Intermediate",
      windows: [
        { kind: "5h", label: "5 hours", usedPercent: 27, resetsAt: now + 3 * HOUR, length: 5 * HOUR },
        { kind: "week", label: "week", usedPercent: 26, resetsAt: now + 100 * HOUR, length: 168 * HOUR },
      ],
      parallelLimit: 30,
      wallet: undefined,
    });
  });

  const share = { label: "code, of month", resetsAt: now + 500 * HOUR, length: 30 * 24 * HOUR };
  const wallet = {
    leftCents: 15_000,
    totalCents: 20_000,
    monthlyUsedCents: 150,
    monthlyLimitCents: 2_000,
    currency: "USD",
  };

  test("in the newer shape: ratios as numbers or strings, months, the wallet in millionths of cents", () => {
    expect(parseFigures(newerUsages(now))).toMatchObject({
      windows: [
        { kind: "5h", usedPercent: 27, resetsAt: now + 3 * HOUR, length: 5 * HOUR },
        { kind: "week", usedPercent: 26, resetsAt: now + 100 * HOUR, length: 168 * HOUR },
        { kind: "month", label: "month", resetsAt: now + 500 * HOUR, length: 30 * 24 * HOUR },
        { kind: "month-code", ...share },
      ],
      wallet,
    });
  });

  // narumiruna/pi-extensions#1390
  test("in snake case, or in camel case throughout, is the same", () => {
    const respell = (value: unknown, spell: (key: string) => string): unknown => {
      if (Array.isArray(value)) return value.map((one) => respell(one, spell));
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [spell(key), respell(one, spell)]));
    };
    const snake = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const camel = (key: string) => key.replace(/_([a-z\d])/g, (_, letter: string) => letter.toUpperCase());
    for (const answer of [olderUsages(now), newerUsages(now)]) {
      expect(parseFigures(respell(answer, snake))).toEqual(parseFigures(answer));
      expect(parseFigures(respell(answer, camel))).toEqual(parseFigures(answer));
    }
  });

  test("is read alike from what is kept of it, which names no more than is shown", () => {
    const user = { id: "u-1", nickname: "Xiaoming", membership: { level: "LEVEL_INTERMEDIATE" } };
    for (const answer of [
      { ...Object(olderUsages(now)), user },
      { ...Object(newerUsages(now)), user },
    ]) {
      const figures = parseFigures(answer);
      if (!figures) throw new Error("no figures");
      const kept: unknown = JSON.parse(JSON.stringify(essence(answer, figures)));
      expect(parseFigures(kept)).toEqual(figures);
      expect(JSON.stringify(kept)).not.toMatch(/u-1|Xiaoming/);
    }
  });

  test("has the plan's name of GET /me before its own", () => {
    const level = (user_level_name: unknown) =>
      parseFigures({ ...Object(olderUsages(now)), user_level_name })?.plan;
    expect(level("Allegretto\n")).toBe("Allegretto");
    for (const nothing of [undefined, 3, "", {}]) expect(level(nothing)).toBe("Intermediate");
  });

  test.each([
    [{ usage: { limit: "0", used: "0" } }],
    [{ usage: { used: "1" } }],
    [{ usage: { limit: "many", used: "1" } }],
    [{ usages: { limit_5h: {} } }],
    [{ user: { membership: { level: "LEVEL_BASIC" } } }],
    [null],
    ["<html>"],
  ])("%j says nothing", (value) => expect(parseFigures(value)).toBeUndefined());

  test.each([
    ["2026-11-20T12:00:00Z", now],
    ["2026-11-20T12:00:00.123456789Z", now + 123],
    ["2026-11-20T14:00:00+02:00", now],
    ["soon", undefined],
    ["2026-13-45T12:00:00Z", undefined],
    [12, undefined],
  ])("a reset at %s", (resetTime, at) => {
    expect(windows({ usage: { limit: 1, used: 1, resetTime } })[0]?.resetsAt).toBe(at);
  });

  test("that says of the wallet only what was bought has nothing left of it", () => {
    const of = (balance: object) => parseFigures({ boosterWallet: { balance } })?.wallet;
    expect(of({ amount: "20000000000" })).toMatchObject({ leftCents: 0, totalCents: 20_000 });
    expect(of({ amountLeft: "1000000" })).toMatchObject({ leftCents: 1, totalCents: undefined });
    expect(of({ amount: "5", amountLeft: "much" })).toBeUndefined();
    expect(of({})).toBeUndefined();
  });
});

describe("a window that is told in several ways", () => {
  const older = (used: number, reset = 3 * HOUR) => ({
    window: { duration: 300, timeUnit: "TIME_UNIT_MINUTE" },
    detail: { limit: 100, used, resetTime: iso(reset) },
  });
  const newer = (ratio: number, reset = 3 * HOUR) => ({
    limit_5h: { used_ratio: ratio, reset_time: iso(reset) },
  });
  const used = (answer: object) => windows(answer).map(({ usedPercent }) => usedPercent);

  // MoonshotAI/kimi-code#3951, both ways round
  test("has its larger figure, and never two", () => {
    expect(used({ limits: [older(100)], usages: newer(0) })).toEqual([100]);
    expect(used({ limits: [older(0)], usages: newer(1) })).toEqual([100]);
    expect(used({ limits: [older(3), older(8), older(5)] })).toEqual([8]);
    expect(used({ usage: { limit: 100, used: 100 }, usages: { limit_7d: { used_ratio: 0 } } })).toEqual([
      100,
    ]);
  });

  test("keeps what only the smaller one says", () => {
    const [window] = windows({
      usage: { limit: 4, used: 3 },
      usages: { limit_7d: { used_ratio: 0.1, reset_time: iso(9) } },
    });
    expect(window).toMatchObject({ usedPercent: 75, resetsAt: now + 9 });
  });

  test("has not the figure of the window before it, however large that was", () => {
    expect(windows({ limits: [older(100, -HOUR)], usages: newer(0.01, 4 * HOUR) })).toMatchObject([
      { usedPercent: 1, resetsAt: now + 4 * HOUR },
    ]);
    // Not those whose resets are told a little differently.
    expect(used({ limits: [older(100, 3 * HOUR)], usages: newer(0.01, 3 * HOUR + 60_000) })).toEqual([100]);
  });

  test.each([
    [{ limit: "200", remaining: "50" }, 75],
    [{ limit: "200", used: "50" }, 25],
    [{ limit: "100", used: "0", remaining: "0" }, 100],
    [{ limit: "100", used: "60", remaining: "90" }, 60],
    [{ limit: "100", used: "160" }, 100],
    [{ limit: "100", used: "10", used_ratio: "0.2" }, 20],
    [{ used_ratio: "1e-05" }, 0.001],
  ])("%j", (usage, percent) => expect(used({ usage })[0]).toBeCloseTo(percent, 9));
});

describe("a window's length", () => {
  test.each([
    [300, "MINUTE", "5h", "5 hours"],
    [300, "minutes", "5h", "5 hours"],
    [90, "TIME_UNIT_SECOND", "other", "90 seconds"],
    [60, "TIME_UNIT_MINUTE", "other", "1 hour"],
    [1, "DAY", "other", "1 day"],
    [2, "WEEK", "other", "14 days"],
    [1, "TIME_UNIT_WEEK", "week", "week"],
    [1, "MONTH", "month", "month"],
    [3, "MONTH", "other", "3 months"],
    [1, "MOON", "other", "other"],
    [5000, "MONTH", "other", "other"],
  ])("%i %s is %s: %s", (duration, timeUnit, kind, label) => {
    const detail = { limit: 4, used: 1 };
    expect(windows({ limits: [{ window: { duration, timeUnit }, detail }] })).toMatchObject([
      { kind, label },
    ]);
    // As kimi-cli reads it too.
    expect(windows({ limits: [{ duration, timeUnit, ...detail }] })).toMatchObject([{ kind, label }]);
  });

  test.each([
    ["limit_5h", "5h", "5 hours"],
    ["limit5h", "5h", "5 hours"],
    ["limit_30d", "month", "month"],
    ["limit_month", "month", "month"],
    ["limit_2h_night", "other", "2h night"],
    ["\u001b[31mred\n", "other", "red"],
  ])("of %j", (name, kind, label) => {
    expect(windows({ usages: { [name]: { used_ratio: 0.1 } } })).toMatchObject([{ kind, label }]);
  });

  test("that nobody knows leaves its name", () => {
    const limits = [{ name: "fast\n requests", detail: { limit: 4, used: 1 } }];
    expect(windows({ limits })).toMatchObject([{ kind: "other", label: "fast requests", length: undefined }]);
  });

  test("puts the shortest first, those of unknown length last", () => {
    const limit = (duration: number, timeUnit: string) => ({
      window: { duration, timeUnit },
      detail: { limit: 4, used: 1 },
    });
    const limits = [limit(1, "MOON"), limit(1, "MONTH"), limit(2, "DAY"), limit(5, "HOUR"), limit(1, "HOUR")];
    const usages = { limit_month_code: { used_ratio: 0.1 } };
    const labels = windows({ usage: { limit: 4, used: 1 }, limits, usages }).map(({ label }) => label);
    expect(labels).toEqual(["1 hour", "5 hours", "2 days", "week", "month", "code, of month", "other"]);
  });

  test("of a month is that of the month before its reset; several have none that is known", () => {
    const at = (reset_time: string) =>
      windows({ usages: { limit_month_total: { used_ratio: 0, reset_time } } })[0]?.length;
    expect(at("2027-03-31T00:00:00Z")).toBe(31 * 24 * HOUR);
    expect(at("2027-03-15T00:00:00Z")).toBe(28 * 24 * HOUR);
    expect(at("2027-01-01T00:00:00Z")).toBe(31 * 24 * HOUR);
    const window = { duration: 2, timeUnit: "TIME_UNIT_MONTH" };
    const detail = { limit: 4, used: 1, resetTime: "2027-03-15T00:00:00Z" };
    expect(windows({ limits: [{ window, detail }] })[0]?.length).toBeUndefined();
  });
});

describe("the pace", () => {
  const window = (usedPercent: number, left: number) =>
    ({ kind: "5h", label: "5 hours", usedPercent, resetsAt: now + left, length: 5 * HOUR }) as const;
  test.each([
    ["half in an hour: empty after another", window(50, 4 * HOUR), now + HOUR],
    ["as fast as the clock: never", window(40, 3 * HOUR), undefined],
    ["a little faster", window(41, 3 * HOUR), now + (59 / 41) * 2 * HOUR],
    ["nothing used", window(0, HOUR), undefined],
    ["everything used", window(100, HOUR), undefined],
    ["just begun", window(20, 4.9 * HOUR), undefined],
    ["over", window(50, 0), undefined],
    ["no reset known", { ...window(50, HOUR), resetsAt: undefined }, undefined],
    ["no length known", { ...window(50, HOUR), length: undefined }, undefined],
    ["no limit", { ...window(50, 4 * HOUR), kind: "month-code" } as const, undefined],
  ])("%s", (_, quota, at) => {
    const empty = emptyAt(quota, now, now);
    if (at === undefined) expect(empty).toBeUndefined();
    else expect(empty).toBeCloseTo(at, -1);
  });
});

describe("the binding window", () => {
  const window = (usedPercent: number, resetsAt?: number) =>
    ({ kind: "other", label: "x", usedPercent, resetsAt, length: undefined }) as const;
  const paced = (kind: "5h" | "week", usedPercent: number, left: number) =>
    ({
      kind,
      label: kind,
      usedPercent,
      resetsAt: now + left,
      length: kind === "5h" ? 5 * HOUR : 168 * HOUR,
    }) as const;
  test("is the one used most; of several the one that resets first", () => {
    const [low, late, early] = [window(10, now + 1), window(50, now + 9), window(50, now + 5)];
    expect(bindingWindow({ windows: [low, late, early] }, now, now)).toBe(early);
    expect(bindingWindow({ windows: [early, late, window(50)] }, now, now)).toBe(early);
  });
  test("is not one that was reset since, unless it was fetched after the reset that it tells of", () => {
    const [full, half] = [window(100, now), window(50, now + 1)];
    expect(bindingWindow({ windows: [full, half] }, now, now - 1)).toBe(half);
    expect(usedPercentAt(full, now, now - 1)).toBe(0);
    expect(usedPercentAt(full, now - 1, now - 1)).toBe(100);
    const late = window(97, now - 60_000);
    expect(usedPercentAt(late, now, now - 60_000)).toBe(97);
    expect(usedPercentAt(late, now, now - 60_001)).toBe(0);
    expect(bindingWindow({ windows: [late] }, now, now)).toBe(late);
  });
  test("is the one that is empty earliest at this pace, whatever is used of the others", () => {
    const [week, hours] = [paced("week", 60, 48 * HOUR), paced("5h", 50, 4 * HOUR)];
    expect(bindingWindow({ windows: [week, hours] }, now, now)).toBe(hours);
    const sooner = paced("week", 99, 100 * HOUR);
    expect(bindingWindow({ windows: [hours, sooner] }, now, now)).toBe(sooner);
    const slow = paced("5h", 50, HOUR);
    expect(bindingWindow({ windows: [slow, week] }, now, now)).toBe(week);
  });
  test("is a full one before any other", () => {
    const [full, hours] = [paced("week", 100, 48 * HOUR), paced("5h", 99, 4 * HOUR)];
    expect(bindingWindow({ windows: [hours, full] }, now, now)).toBe(full);
  });
  test("is none where nothing is used, and never what coding has of the month", () => {
    expect(bindingWindow({ windows: [window(0), window(0, now + 1)] }, now, now)).toBeUndefined();
    expect(bindingWindow({ windows: [window(100, now)] }, now, now - 1)).toBeUndefined();
    const usages = { limit_month_total: { used_ratio: 0.5 }, limit_month_code: { used_ratio: 1 } };
    expect(bindingWindow({ windows: windows({ usages }) }, now, now)?.kind).toBe("month");
  });
});
