import { describe, expect, test } from "vitest";
import {
  essence,
  parseFigures,
  type QuotaWindow,
  sayPercent,
  windowsAt,
} from "../../extensions/quota/figures.ts";
import { newerUsages, olderUsages } from "../support/kimi-service/index.ts";

const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 20, 12);
const iso = (ms: number) => new Date(now + ms).toISOString();
const windows = (answer: unknown) => parseFigures(answer)?.windows ?? [];
const used = (answer: unknown) => windows(answer).map(({ usedPercent }) => usedPercent);

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

  test("in the newer shape: ratios as numbers or strings, months, the wallet in millionths of cents", () => {
    const resetsAt = now + 500 * HOUR;
    expect(parseFigures(newerUsages(now))).toMatchObject({
      windows: [
        { kind: "5h", usedPercent: 27, resetsAt: now + 3 * HOUR, length: 5 * HOUR },
        { kind: "week", usedPercent: 26, resetsAt: now + 100 * HOUR, length: 168 * HOUR },
        { kind: "month", label: "month", resetsAt, length: 720 * HOUR },
        { kind: "month-code", label: "code, of month", resetsAt },
      ],
      wallet: {
        leftCents: 15_000,
        totalCents: 20_000,
        monthlyUsedCents: 150,
        monthlyLimitCents: 2_000,
        currency: "USD",
      },
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
    const answer = { ...Object(olderUsages(now)), ...Object(newerUsages(now)), user };
    const figures = parseFigures(answer);
    const kept: unknown = figures && JSON.parse(JSON.stringify(essence(answer, figures)));
    expect(parseFigures(kept)).toEqual(figures);
    expect(JSON.stringify(kept)).not.toMatch(/u-1|Xiaoming/);
  });

  test("has the plan's name of GET /me before its own", () => {
    const plan = (user_level_name: unknown) =>
      parseFigures({ ...Object(olderUsages(now)), user_level_name })?.plan;
    expect([plan("Allegretto\n"), plan(3)]).toEqual(["Allegretto", "Intermediate"]);
  });

  test.each([
    [{ usage: { limit: "0", used: "0" } }],
    [{ usage: { limit: "many", used: "1" } }],
    [{ user: { membership: { level: "LEVEL_BASIC" } } }],
    ["<html>"],
  ])("%j says nothing", (value) => expect(parseFigures(value)).toBeUndefined());

  test("that says of the wallet only what was bought has nothing left of it", () => {
    const balance = (balance: object) => parseFigures({ boosterWallet: { balance } })?.wallet;
    expect(balance({ amount: "20000000000" })).toMatchObject({ leftCents: 0, totalCents: 20_000 });
    expect(balance({ amountLeft: "1000000" })).toMatchObject({ leftCents: 1, totalCents: undefined });
    expect(balance({})).toBeUndefined();
  });
});

describe("a window", () => {
  // MoonshotAI/kimi-code#3951, both ways round
  test("that is told in several ways has its larger figure, and never two", () => {
    const older = (used: number) => ({
      window: { duration: 300, timeUnit: "TIME_UNIT_MINUTE" },
      detail: { limit: 100, used },
    });
    const newer = (used_ratio: number) => ({ limit_5h: { used_ratio, reset_time: iso(9) } });
    expect(used({ limits: [older(100)], usages: newer(0) })).toEqual([100]);
    expect(used({ limits: [older(0)], usages: newer(1) })).toEqual([100]);
    expect(used({ limits: [older(3), older(8), older(5)] })).toEqual([8]);
    expect(windows({ limits: [older(75)], usages: newer(0.1) })).toMatchObject([
      { usedPercent: 75, resetsAt: now + 9 },
    ]);
  });

  test.each([
    [{ limit: "200", remaining: "50" }, 75],
    [{ limit: "100", used: "0", remaining: "0" }, 100],
    [{ limit: "100", used: "160" }, 100],
    [{ limit: "100", used: "10", used_ratio: "0.2" }, 20],
    [{ used_ratio: "1e-05" }, 0.001],
  ])("is used by %j", (usage, percent) => expect(used({ usage })[0]).toBeCloseTo(percent, 9));

  test.each([
    [300, "minutes", "5h", "5 hours"],
    [1, "TIME_UNIT_WEEK", "week", "week"],
    [1, "MONTH", "month", "month"],
    [1, "DAY", "other", "1 d"],
    [1, "MOON", "other", "fast requests"],
    [5000, "MONTH", "other", "fast requests"],
  ])("of %i %s is %s: %s", (duration, timeUnit, kind, label) => {
    const limit = { name: "fast\n requests", detail: { limit: 4, used: 1 } };
    expect(windows({ limits: [{ ...limit, window: { duration, timeUnit } }] })).toMatchObject([
      { kind, label },
    ]);
  });

  test.each([
    ["limit_30d", "month", "month"],
    ["limit_month", "month", "month"],
    ["limit_2h_night", "other", "2h night"],
    ["\u001b[31mred\n", "other", "red"],
    ["a limit whose name takes 40 characters", "other", "a limit whose name take…"],
  ])("of %j is %s: %s", (name, kind, label) => {
    expect(windows({ usages: { [name]: { used_ratio: 0.1 } } })).toMatchObject([{ kind, label }]);
  });

  test("comes after shorter ones, and last where its length is unknown", () => {
    const limits = ["MOON", "MONTH", "DAY"].map((timeUnit) => ({
      window: { duration: 1, timeUnit },
      detail: { limit: 4, used: 1 },
    }));
    const usages = { limit_month_code: { used_ratio: 0.1 }, limit_5h: { used_ratio: 0.1 } };
    const labels = windows({ usage: { limit: 4, used: 1 }, limits, usages }).map(({ label }) => label);
    expect(labels).toEqual(["5 hours", "1 d", "week", "month", "code, of month", "other"]);
  });

  test.each([
    ["2026-11-20T14:00:00.123456789+02:00", now + 123],
    ["soon", undefined],
    ["2026-13-45T12:00:00Z", undefined],
    [12, undefined],
  ])("with a reset at %s", (resetTime, at) => {
    expect(windows({ usage: { limit: 1, used: 1, resetTime } })[0]?.resetsAt).toBe(at);
  });
});

const at = (time: number, fetchedAt: number, ...given: readonly QuotaWindow[]) =>
  windowsAt(
    { figures: { plan: undefined, windows: given, parallelLimit: undefined, wallet: undefined }, fetchedAt },
    time,
  );
const hours = (usedPercent: number, left: number): QuotaWindow => ({
  kind: "5h",
  label: "5 hours",
  usedPercent,
  resetsAt: now + left,
  length: 5 * HOUR,
});

describe("the pace", () => {
  test.each([
    ["half in an hour: empty after another", hours(50, 4 * HOUR), now + HOUR],
    ["as fast as the clock: never", hours(40, 3 * HOUR), undefined],
    ["a little faster", hours(41, 3 * HOUR), now + (59 / 41) * 2 * HOUR],
    ["nothing used", hours(0, HOUR), undefined],
    ["everything used", hours(100, HOUR), undefined],
    ["just begun", hours(20, 4.9 * HOUR), undefined],
    ["no reset known", { ...hours(50, HOUR), resetsAt: undefined }, undefined],
    ["no length known", { ...hours(50, HOUR), length: undefined }, undefined],
    ["no limit", { ...hours(50, 4 * HOUR), kind: "month-code" } as const, undefined],
  ])("%s", (_, window, empty) => {
    const [{ emptyAt } = {}] = at(now, now, window);
    if (empty === undefined) expect(emptyAt).toBeUndefined();
    else expect(emptyAt).toBeCloseTo(empty, -1);
  });
});

describe("the binding window", () => {
  const week = (usedPercent: number, left: number): QuotaWindow => ({
    kind: "week",
    label: "week",
    usedPercent,
    resetsAt: now + left,
    length: 168 * HOUR,
  });
  const binding = (...given: readonly QuotaWindow[]) =>
    at(now, now, ...given).find(({ isBinding }) => isBinding)?.kind;

  test.each([
    ["used most", [hours(50, HOUR), week(60, 48 * HOUR)], "week"],
    ["empty earliest, whatever is used of the others", [hours(50, 4 * HOUR), week(60, 48 * HOUR)], "5h"],
    ["full", [hours(99, 4 * HOUR), week(100, 48 * HOUR)], "week"],
    ["a limit", [hours(1, HOUR), { ...week(100, HOUR), kind: "month-code" } as const], "5h"],
    ["there where something is used", [hours(0, HOUR), week(0, HOUR)], undefined],
  ])("is the one that is %s", (_, given, kind) => expect(binding(...given)).toBe(kind));

  test("is not one that was reset since, unless it was fetched after the reset that it tells of", () => {
    const full = hours(97, 0);
    expect(at(now, now - 1, full)).toMatchObject([{ usedPercent: 0, wasReset: true, isBinding: false }]);
    expect(at(now - 1, now - 1, full)).toMatchObject([{ usedPercent: 97, wasReset: false, isBinding: true }]);
    expect(at(now, now, full)).toMatchObject([{ usedPercent: 97, wasReset: false, isBinding: true }]);
  });
});

test.each([
  [0, "0"],
  [0.4, "<1"],
  [1.5, "2"],
  [99.9, "99"],
  [100, "100"],
])("%d %% is %s", (percent, words) => expect(sayPercent(percent)).toBe(words));
