/** Both shapes of `GET /usages`, `GET /me`, and anything else that may come in their place. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bindingWindow, parseMe, parseUsages, usedPercentAt } from "../../extensions/usage/figures.ts";
import { newerUsages, olderUsages } from "../support/kimi-service/index.ts";

const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 20, 12);

describe("GET /usages", () => {
  test("in the older shape: decimal strings, the week apart, times finer than ms", () => {
    expect(parseUsages(olderUsages(now))).toEqual({
      plan: "Intermediate",
      windows: [
        { kind: "5h", label: "5 hours", usedPercent: 27, resetsAt: now + 3 * HOUR, length: 5 * HOUR },
        { kind: "week", label: "week", usedPercent: 26, resetsAt: now + 100 * HOUR, length: 168 * HOUR },
      ],
      parallelLimit: 30,
      wallet: undefined,
    });
  });

  test("in the newer shape: ratios as numbers or strings, months, the wallet in millionths of cents", () => {
    const resetsAt = now + 500 * HOUR;
    expect(resetsAt).toBe(Date.UTC(2026, 11, 11, 8));
    expect(parseUsages(newerUsages(now))).toEqual({
      plan: undefined,
      windows: [
        { kind: "5h", label: "5 hours", usedPercent: 27, resetsAt: now + 3 * HOUR, length: 5 * HOUR },
        { kind: "week", label: "week", usedPercent: 26, resetsAt: now + 100 * HOUR, length: 168 * HOUR },
        { kind: "month", label: "month", usedPercent: 10, resetsAt, length: 30 * 24 * HOUR },
        { kind: "month-code", label: "month, code", usedPercent: 12, resetsAt, length: 30 * 24 * HOUR },
      ],
      parallelLimit: undefined,
      wallet: {
        leftCents: 15_000,
        totalCents: 20_000,
        monthlyUsedCents: 150,
        monthlyLimitCents: 2_000,
        currency: "USD",
      },
    });
  });

  test("what is used is what does not remain, where it is not said", () => {
    const usage = { limit: "200", remaining: "50" };
    expect(parseUsages({ usage })?.windows).toEqual([
      { kind: "week", label: "week", usedPercent: 75, resetsAt: undefined, length: 168 * HOUR },
    ]);
  });

  test.each([
    [{ usage: { limit: "0", used: "0" } }],
    [{ usage: { limit: "-5", used: "1" } }],
    [{ usage: { used: "1" } }],
    [{ usage: { limit: "many", used: "1" } }],
    [{ usages: { limit_5h: { used_ratio: "lots" } } }],
    [{ usages: { limit_5h: {} } }],
    [{ user: { membership: { level: "LEVEL_BASIC" } } }],
    [{}],
    [[]],
    [null],
    ["<html>"],
  ])("%j says nothing", (value) => expect(parseUsages(value)).toBeUndefined());

  test.each([
    ["2026-11-20T12:00:00Z", now],
    ["2026-11-20T12:00:00.123456789Z", now + 123],
    ["2026-11-20T14:00:00+02:00", now],
    ["soon", undefined],
    ["2026-13-45T12:00:00Z", undefined],
    [12, undefined],
  ])("a reset at %s", (resetTime, at) => {
    expect(parseUsages({ usage: { limit: 1, used: 1, resetTime } })?.windows[0]?.resetsAt).toBe(at);
  });

  test("windows that nobody knows keep the server's name, on one line", () => {
    const usages = { limit_2h_night: { used_ratio: 2 }, "\u001b[31mred\n": { used_ratio: -1 } };
    expect(parseUsages({ usages })?.windows).toMatchObject([
      { kind: "other", label: "2h night", usedPercent: 100 },
      { kind: "other", label: "red", usedPercent: 0 },
    ]);
    const limits = [{ window: { duration: 2, timeUnit: "TIME_UNIT_DAY" }, detail: { limit: 4, used: 1 } }];
    expect(parseUsages({ limits })?.windows).toMatchObject([
      { kind: "other", label: "2 days", usedPercent: 25, length: 48 * HOUR },
    ]);
  });

  test.each([
    [1, "SECOND", "other", "1 second"],
    [90, "SECOND", "other", "90 seconds"],
    [1, "MINUTE", "other", "1 minute"],
    [30, "MINUTE", "other", "30 minutes"],
    [60, "MINUTE", "other", "1 hour"],
    [2, "HOUR", "other", "2 hours"],
    [1, "DAY", "other", "1 day"],
    [2, "WEEK", "other", "14 days"],
    [1, "WEEK", "week", "week"],
    [1, "MONTH", "month", "month"],
    [3, "MONTH", "other", "3 months"],
    [1, "MOON", "other", "other"],
    [13, "MONTH", "other", "13 months"],
    [5000, "MONTH", "other", "other"],
  ])("%i %s is %s: %s", (duration, unit, kind, label) => {
    const limits = [{ window: { duration, timeUnit: `TIME_UNIT_${unit}` }, detail: { limit: 4, used: 1 } }];
    expect(parseUsages({ limits })?.windows).toMatchObject([{ kind, label }]);
  });

  test("a calendar month is as long as it is, and several have no length that is known", () => {
    const of = (duration: number) =>
      parseUsages({
        limits: [
          {
            window: { duration, timeUnit: "TIME_UNIT_MONTH" },
            detail: { limit: 4, used: 1, resetTime: "2027-03-15T00:00:00Z" },
          },
        ],
      })?.windows[0]?.length;
    expect(of(1)).toBe(28 * 24 * HOUR);
    expect(of(2)).toBeUndefined();
  });

  test("come shortest first, those of unknown length last", () => {
    const limit = (duration: number, unit: string) => ({
      window: { duration, timeUnit: `TIME_UNIT_${unit}` },
      detail: { limit: 4, used: 1 },
    });
    const limits = [limit(1, "MOON"), limit(1, "MONTH"), limit(2, "DAY"), limit(5, "HOUR"), limit(1, "HOUR")];
    const usages = { limit_month_code: { used_ratio: 0.1 } };
    const windows = parseUsages({ usage: { limit: 4, used: 1 }, limits, usages })?.windows ?? [];
    expect(windows.map(({ label }) => label)).toEqual([
      "1 hour",
      "5 hours",
      "2 days",
      "week",
      "month",
      "month, code",
      "other",
    ]);
  });

  test("a month's length is that of the month before its reset", () => {
    const at = (reset_time: string) =>
      parseUsages({ usages: { limit_month_total: { used_ratio: 0, reset_time } } })?.windows[0]?.length;
    expect(at("2027-03-31T00:00:00Z")).toBe(31 * 24 * HOUR);
    expect(at("2027-03-15T00:00:00Z")).toBe(28 * 24 * HOUR);
    expect(at("2027-01-01T00:00:00Z")).toBe(31 * 24 * HOUR);
  });
});

test("GET /me gives the plan's name, on one line", () => {
  expect(parseMe({ nickname: "a", user_level_name: "Allegretto\n" })).toEqual({ plan: "Allegretto" });
  for (const value of [{}, { user_level_name: 3 }, { user_level_name: "" }, null, [], "x"])
    expect(parseMe(value)).toEqual({ plan: undefined });
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
  test("is not one that was reset since", () => {
    const [full, half] = [window(100, now), window(50, now + 1)];
    expect(bindingWindow({ windows: [full, half] }, now, now - 1)).toBe(half);
    expect(usedPercentAt(full, now, now - 1)).toBe(0);
    expect(usedPercentAt(full, now - 1, now - 1)).toBe(100);
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
  test("is none where nothing is used", () => {
    expect(bindingWindow({ windows: [window(0), window(0, now + 1)] }, now, now)).toBeUndefined();
    expect(bindingWindow({ windows: [window(100, now)] }, now, now - 1)).toBeUndefined();
    expect(bindingWindow({ windows: [] }, now, now)).toBeUndefined();
  });
  test("counts what was fetched after the reset that the window tells of", () => {
    const late = window(97, now - 60_000);
    expect(usedPercentAt(late, now, now)).toBe(97);
    expect(usedPercentAt(late, now, now - 60_000)).toBe(97);
    expect(usedPercentAt(late, now, now - 60_001)).toBe(0);
    expect(bindingWindow({ windows: [late] }, now, now)).toBe(late);
  });
});

describe("whatever comes in", () => {
  /** Numbers, and what looks like them, in the places where they are looked for. */
  const value = fc.oneof(
    fc.double(),
    fc.constantFrom("27", "-1", "0", "1e9", "0.5", "999999999999999999999999999999", "NaN", null),
    fc.string(),
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.jsonValue(),
  );
  const detail = fc.record(
    { limit: value, used: value, remaining: value, resetTime: value },
    { requiredKeys: [] },
  );
  const duration = { duration: value, timeUnit: fc.constantFrom("TIME_UNIT_MINUTE", "TIME_UNIT_DAY", "x") };
  const likely = fc.record(
    {
      user: fc.record({ membership: fc.record({ level: value }) }),
      usage: fc.oneof(detail, value),
      limits: fc.oneof(fc.array(fc.record({ window: fc.record(duration), detail })), value),
      usages: fc.oneof(
        fc.dictionary(
          fc.oneof(
            fc.constantFrom("limit_5h", "limit_7d", "limit_month_total", "limit_month_code"),
            fc.string(),
          ),
          fc.oneof(fc.record({ used_ratio: value, reset_time: value }), value),
        ),
        value,
      ),
      parallel: fc.record({ limit: value }),
      boosterWallet: fc.record({
        balance: fc.record({ amount: value, amountLeft: value }),
        monthlyChargeLimitEnabled: fc.boolean(),
        monthlyChargeLimit: fc.record({ currency: value, priceInCents: value }),
        monthlyUsed: fc.record({ currency: value, priceInCents: value }),
      }),
    },
    { requiredKeys: [] },
  );

  test("nothing is thrown, and percentages, times and money are in range", () => {
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(likely, fc.jsonValue()), fc.nat(), (body, at) => {
        const figures = parseUsages(body);
        if (!figures) return;
        read += 1;
        for (const window of figures.windows) {
          expect(window.usedPercent).toBeGreaterThanOrEqual(0);
          expect(window.usedPercent).toBeLessThanOrEqual(100);
          expect(window.label).toMatch(/^\P{C}{1,40}$/u);
          if (window.resetsAt !== undefined) new Date(window.resetsAt).toISOString();
          if (window.length !== undefined) expect(window.length).toBeGreaterThan(0);
        }
        expect(figures.windows.length).toBeLessThanOrEqual(12);
        const binding = bindingWindow(figures, at, at);
        if (figures.windows.some(({ usedPercent }) => usedPercent > 0))
          expect(figures.windows).toContain(binding);
        else expect(binding).toBeUndefined();
        if (figures.parallelLimit !== undefined) expect(figures.parallelLimit).toBeGreaterThan(0);
        const { leftCents, totalCents } = figures.wallet ?? { leftCents: 0, totalCents: 0 };
        for (const cents of [leftCents, totalCents ?? 0]) expect(cents).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 1_000 },
    );
    expect(read).toBeGreaterThan(100);
  });

  test("GET /me neither", () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.record({ user_level_name: fc.string() })), (body) => {
        const { plan } = parseMe(body);
        if (plan !== undefined) expect(plan).toMatch(/^\P{C}{1,40}$/u);
      }),
    );
  });
});
