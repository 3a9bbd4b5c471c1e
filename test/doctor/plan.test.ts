import { expect, it } from "vitest";
import { checkModels, checkQuota } from "../../extensions/doctor/plan.ts";
import type { QuotaWindow } from "../../extensions/quota/figures.ts";
import { NOW } from "./support.ts";

const DAY = 86_400_000;
const list = (age: number) => ({
  models: [],
  fetchedAt: NOW - age,
});

it.each([
  [undefined, "none", "none kept yet; the next request asks for it"],
  [list(3 * DAY), "ok", "0 models, asked for 3 d ago"],
  [list(15 * DAY), "bad", "0 models, asked for 15 d ago"],
  [list(-DAY), "ok", "0 models, from a time yet to come; the next session asks anew"],
])("the list of models %#", (kept, state, says) => {
  expect(checkModels(kept, NOW)).toMatchObject({ state, says });
});

const week = (usedPercent: number, resetsAt: number | undefined = NOW + DAY): QuotaWindow => ({
  kind: "week",
  label: "the server's own words",
  usedPercent,
  resetsAt,
  length: 7 * DAY,
});
const kept = (...windows: QuotaWindow[]) => keptFor(300_000, ...windows);
const keptFor = (age: number, ...windows: QuotaWindow[]) => ({
  figures: { plan: "the server's", windows, parallelLimit: undefined, wallet: undefined },
  fetchedAt: NOW - age,
});

it.each([
  [undefined, "none", "not asked yet; /kimi usage asks"],
  [kept(), "none", "the service named no window, asked 5 m ago"],
  [kept(week(99.9)), "ok", "99 % of the week used, asked 5 m ago"],
  [kept(week(100)), "bad", "100 % of the week used, asked 5 m ago"],
  [keptFor(-3 * DAY, week(10)), "ok", "10 % of the week used, asked just now"],
  [kept(week(100, NOW - 1)), "ok", "nothing is used, asked 5 m ago"],
])("the quota %#", (figures, state, says) => {
  expect(checkQuota(figures, NOW)).toMatchObject({ state, says });
});

it("says when a used-up quota resets", () => {
  expect(checkQuota(kept(week(100)), NOW).fix).toBe("wait until it resets in 1 d, or see /kimi usage");
});
