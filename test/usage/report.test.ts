/** The JSON object fits its schema, whatever is known. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseUsages } from "../../extensions/usage/figures.ts";
import { report } from "../../extensions/usage/report.ts";
import { accepts } from "../request/json-schema.ts";
import { newerUsages, olderUsages } from "../support/kimi-service/index.ts";

const schema: unknown = JSON.parse(
  readFileSync(new URL("../../extensions/usage/report.schema.json", import.meta.url), "utf8"),
);
const now = Date.UTC(2026, 10, 20, 12);
const kept = (body: unknown) => {
  const figures = parseUsages(body);
  return figures && { figures, fetchedAt: now - 60_000 };
};

test.each([
  ["older", kept(olderUsages(now)), undefined, "fresh"],
  ["newer", kept(newerUsages(now)), undefined, "fresh"],
  ["old figures", kept(newerUsages(now)), "Kimi Coder: no.", "kept"],
  ["nothing", undefined, "Kimi Coder: no.", "none"],
])("%s", (_, figures, problem, state) => {
  const made = report(figures, problem, now);
  expect(accepts(schema, made)).toBe(true);
  expect(made.state).toBe(state);
  expect(made.problem).toBe(problem ?? null);
});

test("says what is known", () => {
  const fast = { usages: { limit_5h: { used_ratio: 0.90004, reset_time: "2026-11-20T15:00:00Z" } } };
  expect(report(kept(fast), undefined, now)).toEqual({
    version: 1,
    state: "fresh",
    problem: null,
    fetchedAt: "2026-11-20T11:59:00.000Z",
    plan: null,
    windows: [
      {
        kind: "5h",
        label: "5 hours",
        usedPercent: 90,
        resetsAt: "2026-11-20T15:00:00.000Z",
        lengthSeconds: 18_000,
        binding: true,
        emptyAt: "2026-11-20T12:12:12.980Z",
      },
    ],
    parallelLimit: null,
    wallet: null,
  });
});

test("never says 100 for less", () => {
  const percent = (used_ratio: number) =>
    report(kept({ usages: { limit_5h: { used_ratio } } }), undefined, now).windows[0]?.usedPercent;
  expect(percent(0.99996)).toBe(99.99);
  expect(percent(0.9999)).toBe(99.99);
  expect(percent(1)).toBe(100);
  expect(percent(0.29)).toBe(29);
});

test("binding is what is empty first at this rate, and nothing where nothing is used", () => {
  const binding = (week: number, hours: number) => {
    const usages = {
      limit_5h: { used_ratio: hours, reset_time: "2026-11-20T16:00:00Z" },
      limit_7d: { used_ratio: week, reset_time: "2026-11-22T12:00:00Z" },
    };
    return report(kept({ usages }), undefined, now).windows.map((window) => window.binding);
  };
  expect(binding(0.6, 0.5)).toEqual([true, false]);
  expect(binding(0.6, 0)).toEqual([false, true]);
  expect(binding(0, 0)).toEqual([false, false]);
});

test("figures fetched after the reset they tell of are not zeroed", () => {
  const late = { usages: { limit_5h: { used_ratio: 0.97, reset_time: "2026-11-20T11:58:30Z" } } };
  expect(report(kept(late), undefined, now).windows[0]?.usedPercent).toBe(97);
});

test("the schema takes members that may come, and nothing else", () => {
  const made = report(kept(newerUsages(now)), undefined, now);
  const [window] = made.windows;
  for (const other of [
    { ...made, version: 2 },
    { ...made, plan: undefined },
    { ...made, windows: [{ ...window, usedPercent: 101 }] },
    { ...made, windows: [{ ...window, kind: "day" }] },
  ])
    expect(accepts(schema, JSON.parse(JSON.stringify(other)))).toBe(false);
  expect(accepts(schema, { ...made, extra: 1 })).toBe(true);
});

test("fits for any figures", () => {
  const share = fc.record({
    used_ratio: fc.oneof(fc.double(), fc.string()),
    reset_time: fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      fc.string(),
    ),
  });
  const name = fc.oneof(fc.constantFrom("limit_5h", "limit_7d", "limit_month_total"), fc.string());
  fc.assert(
    fc.property(fc.dictionary(name, share), fc.nat(2 ** 31), (usages, at) => {
      const made = report(kept({ usages, parallel: { limit: 3 } }), undefined, now + at);
      expect(accepts(schema, JSON.parse(JSON.stringify(made)))).toBe(true);
    }),
  );
});
