/** Whatever `GET /usages` and `GET /me` answer, or is kept of it: figures that can be shown and counted with, or none. */
import fc from "fast-check";
import { describe, expect } from "vitest";
import { bindingWindow, parseFigures, usedPercentAt } from "../../extensions/quota/figures.ts";
import { survives } from "./support/cases.ts";
import { asText, field, hostileText, hostileValue, parsed, SHOWN } from "./support/values.ts";

const NOW = Date.UTC(2026, 10, 21);
const amount = fc.oneof(
  fc.integer().map(String),
  fc.double(),
  fc.constantFrom("100", "27", 0.27, "0.27", 1e308, "1e9"),
);
const time = fc.oneof(
  fc.constantFrom("2026-11-22T15:53:05.519605123Z", "2026-13-99", 1_800_000_000),
  hostileText,
);
const detail = fc.record({
  limit: field(amount),
  used: field(amount),
  remaining: field(amount),
  resetTime: field(time),
});
const ratio = fc.record({ used_ratio: field(amount), reset_time: field(time) });
const cents = fc.record({ currency: field(hostileText), priceInCents: field(amount) });
const window = fc.record({
  window: field(
    fc.record({
      duration: field(amount),
      timeUnit: field(fc.constantFrom("TIME_UNIT_MINUTE", "TIME_UNIT_DAY")),
    }),
  ),
  detail: field(detail),
});
const body = fc.record({
  user_level_name: field(hostileText),
  user: field(fc.record({ membership: field(fc.record({ level: field(hostileText) })) })),
  usage: field(detail),
  limits: field(fc.array(field(window), { maxLength: 4 })),
  parallel: field(fc.record({ limit: field(amount) })),
  usages: field(
    fc.record({ limit_5h: field(ratio), limit_7d: field(ratio), limit_month_total: field(ratio) }),
  ),
  boosterWallet: field(
    fc.record({
      balance: field(fc.record({ amount: field(amount), amountLeft: field(amount) })),
      monthlyUsed: field(cents),
    }),
  ),
});

describe("the figures of the plan", () => {
  survives(
    "can be shown and counted with, or there are none",
    asText(fc.oneof(body, body, hostileValue)),
    (text) => {
      const figures = parseFigures(parsed(text));
      if (!figures) return false;
      expect(figures.plan ?? "").toMatch(SHOWN);
      expect(figures.wallet?.currency ?? "").toMatch(SHOWN);
      for (const one of figures.windows) {
        expect(one.label).toMatch(SHOWN);
        const used = usedPercentAt(one, NOW, NOW);
        expect(used >= 0 && used <= 100 && one.usedPercent >= 0 && one.usedPercent <= 100).toBe(true);
        expect(one.length ?? 1).toBeGreaterThan(0);
        expect(one.resetsAt === undefined || Number.isFinite(new Date(one.resetsAt).getTime())).toBe(true);
      }
      for (const cents of Object.values(figures.wallet ?? {})) {
        if (typeof cents === "number") expect(Number.isFinite(cents) && cents >= 0).toBe(true);
      }
      expect(figures.windows.length).toBeLessThanOrEqual(12);
      expect(figures.parallelLimit ?? 1).toBeGreaterThan(0);
      const limits = figures.windows.filter(
        ({ kind, usedPercent }) => kind !== "month-code" && usedPercent > 0,
      );
      expect(limits.length === 0 ? [undefined] : limits).toContain(bindingWindow(figures, NOW, NOW));
      return true;
    },
  );
});
