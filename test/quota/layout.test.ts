/** The quota as lines, at the widths of a split pane, a usual terminal and a wide one. */
import { visibleWidth } from "@mariozechner/pi-tui";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { layout, type Paint, type View, withoutColour } from "../../extensions/quota/layout.ts";
import { type SessionUse, sessionUse } from "../../extensions/quota/session-use.ts";
import { newerUsages } from "../support/kimi-service/index.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Noon, whatever the time zone of the machine. */
const now = new Date(2026, 10, 20, 12).getTime();

/** 5 hours: 90 % after two of them; the week: hardly touched. */
const hasty = {
  user: { membership: { level: "LEVEL_INTERMEDIATE" } },
  parallel: { limit: "30" },
  usages: {
    limit_5h: { used_ratio: 0.9, reset_time: new Date(now + 3 * HOUR).toISOString() },
    limit_7d: { used_ratio: 0.002, reset_time: new Date(now + 100 * HOUR).toISOString() },
  },
};

function view(body: unknown, more: Partial<View> = {}, fetchedAt = now): View {
  const figures = parseFigures(body);
  return { kept: figures && { figures, fetchedAt }, session: unused, notice: undefined, now, ...more };
}
const unused = sessionUse([], "kimi-coder", undefined, undefined);
const plain = (shown: View, width: number) =>
  layout(shown, width, withoutColour).map((line) => line.trimEnd());

describe("the layout", () => {
  test("at 40 columns takes a few lines for each window", () => {
    expect(plain(view(hasty), 40)).toEqual([
      "Kimi quota · Intermediate",
      "",
      "▸ 5 hours                      90 % used",
      `  ${"█".repeat(34)}${"░".repeat(4)}`,
      "  resets 15:00 (in 3 h)",
      "  at this rate empty in 13 m",
      "  week                         <1 % used",
      `  █${"░".repeat(37)}`,
      "  resets Tue 16:00 (in 4 d 4 h)",
      "▸ the limit you will reach first",
      "Requests at once: at most 30",
      "",
      "As of 12:00 (just now)",
    ]);
  });

  test("at 80 columns takes one, and one for the pace", () => {
    const bars = 80 - "5 hours".length - 55;
    expect(plain(view(hasty), 80).slice(2, 5)).toEqual([
      `▸ 5 hours  ${"█".repeat(16)}${"░".repeat(bars - 16)}  90 % used  resets 15:00 (in 3 h)`,
      `${" ".repeat(11)}at this rate empty in 13 m`,
      `  week     █${"░".repeat(bars - 1)}  <1 % used  resets Tue 16:00 (in 4 d 4 h)`,
    ]);
  });

  test("tells of the months and the wallet", () => {
    const lines = plain(view(newerUsages(now)), 80);
    expect(lines.filter((line) => /█/.test(line)).map((line) => line.slice(2, 16).trimEnd())).toEqual([
      "5 hours",
      "week",
      "month",
      "code, of month",
    ]);
    expect(lines).toContain("Booster wallet: 150.00 USD of 200.00 USD left");
    expect(lines).toContain("  this month 1.50 USD of 20.00 USD");
  });

  test("shows what coding has of the month as a share: not as a limit that ends or resets", () => {
    const usages = { limit_month_code: { used_ratio: 1, reset_time: new Date(now + HOUR).toISOString() } };
    for (const width of [40, 80, 200]) {
      const text = plain(view({ usages }), width).join("\n");
      expect(text).toMatch(/ {2}code, of month +█*[\s\S]*100 % used/);
      expect(text).not.toMatch(/▸|resets|used up|empty/);
    }
  });

  test("no bar touches another", () => {
    const isBar = (line: string | undefined) => /[█░]/.test(line ?? "");
    for (let width = 40; width <= 200; width++) {
      for (const body of [hasty, newerUsages(now)]) {
        const lines = plain(view(body), width);
        expect(
          lines.filter((line, index) => isBar(line) && isBar(lines[index + 1])),
          `${width}`,
        ).toEqual([]);
      }
    }
  });

  test("tells what the session has used, and why the cache had little of it", () => {
    const session: SessionUse = {
      answers: 12,
      prompt: 345_678,
      cached: 200_000,
      misses: [
        { cause: "model", times: 1, tokens: 80_000 },
        { cause: "tools", times: 2, tokens: 40_000 },
      ],
      since: now - HOUR,
      moved: [
        { kind: "5h", label: "5 hours", percent: 9.4 },
        { kind: "week", label: "week", percent: 0.5 },
      ],
    };
    const lines = (more: Partial<SessionUse>, width = 110) =>
      plain(view(hasty, { session: { ...session, ...more } }), width).slice(-6, -2);
    expect(lines({})).toEqual([
      "",
      "This session: 12 requests, 345,678 prompt tokens, 57 % from the cache",
      "  read anew after another model (80,000 tokens), other tools (2 times, 40,000 tokens)",
      "  since 11:00: 5 hours +9 %, week +<1 %, all programs together",
    ]);
    expect(lines({ cached: 300_000, answers: 1 })).toContain(
      "This session: 1 request, 345,678 prompt tokens, 86 % from the cache",
    );
    expect(lines({ cached: 300_000 }).join()).not.toContain("read anew");
    expect(lines({ moved: [] }).join()).not.toContain("since");
    expect(lines({ prompt: 0, cached: 0 }).join()).not.toContain("session");
    const narrow = plain(view(hasty, { session }), 40).join("\n");
    expect(narrow).toContain("  since 11:00: 5 hours +9 %, week +<1 %,\n  all programs together");
  });

  test("says how old it is, what goes on beside it, and what went wrong below", () => {
    const old = now - 2 * HOUR - MINUTE;
    const asking = view(hasty, { notice: { text: "asking Kimi…", tone: "dim" } }, old);
    expect(plain(asking, 80).at(-1)).toBe("As of 09:59 (2 h 1 m ago) · asking Kimi…");
    const failed = view(hasty, { notice: { text: "it failed", tone: "error" } }, old);
    expect(plain(failed, 80).slice(-2)).toEqual(["As of 09:59 (2 h 1 m ago)", "it failed"]);
    expect(plain({ kept: undefined, session: unused, notice: failed.notice, now }, 80)).toEqual([
      "it failed",
    ]);
  });

  test("does not show what was used before a reset", () => {
    const later = view(hasty, { now: now + 4 * HOUR });
    expect(plain(later, 80)[2]).toMatch(/^ {2}5 hours {2}░+ {3}0 % used {2}was reset since$/);
    expect(plain(later, 80)[4]).toMatch(/^▸ week /);
  });

  test("marks the window that the pace says is empty first, and none where nothing is used", () => {
    const of = (week: number, hours: number) => ({
      usages: {
        limit_5h: { used_ratio: hours, reset_time: new Date(now + 4 * HOUR).toISOString() },
        limit_7d: { used_ratio: week, reset_time: new Date(now + 48 * HOUR).toISOString() },
      },
    });
    expect(plain(view(of(0.6, 0.5)), 200).slice(2, 5)).toEqual([
      expect.stringMatching(/^▸ 5 hours /),
      expect.stringMatching(/^ +at this rate empty in 1 h$/),
      expect.stringMatching(/^ {2}week /),
    ]);
    expect(plain(view(of(0, 0)), 200).join()).not.toContain("▸");
  });

  /** All that a window can say, at its longest. */
  const crowded = {
    usages: Object.fromEntries(
      ["limit_5h", "limit_7d", "limit_month_total", "limit_month_code"].map((name) => {
        const left = name.includes("month") ? 20 * 24 + 20 : 4;
        return [name, { used_ratio: 0.55, reset_time: new Date(now + left * HOUR).toISOString() }];
      }),
    ),
  };

  test("cuts nothing off from 40 columns on", () => {
    for (let width = 40; width <= 200; width++) {
      const text = plain(view(crowded), width).join("\n");
      expect(text, `${width}`).not.toContain("…");
      expect(text.match(/at this rate empty in \d+ d/g), `${width}`).toHaveLength(1);
      for (const line of text.split("\n")) expect(visibleWidth(line)).toBeLessThanOrEqual(width);
    }
  });

  test("shortens a long name, not what follows it", () => {
    const name = "a limit whose name takes forty characters";
    const usages = { [name]: { used_ratio: 0.31, reset_time: new Date(now + 500 * HOUR).toISOString() } };
    for (const width of [40, 60, 80, 100]) {
      const text = plain(view({ usages }), width).join("\n");
      expect(text).toMatch(/a limit who\S*.*…/);
      expect(text).toContain("31 % used");
      expect(text).toMatch(/resets 11 Dec \d\d:00 \(in 20 d 20 h\)/);
    }
  });

  test("has no escapes in it without colour, however much is cut", () => {
    const shown = view({
      ...crowded,
      usages: { ...crowded.usages, "a limit whose name takes forty characters": { used_ratio: 0.4 } },
      user: { membership: { level: "a plan whose name takes forty characters" } },
      boosterWallet: { balance: { amountLeft: "15000000000" } },
    });
    const notices = [
      undefined,
      { text: "Kimi Coder: something is wrong; do something.", tone: "error" } as const,
    ];
    for (const notice of notices) {
      for (let width = 1; width <= 200; width++)
        expect(layout({ ...shown, notice }, width, withoutColour).join("\n")).not.toContain("\u001b");
    }
  });

  test("says when a window is used up", () => {
    const usages = { limit_5h: { used_ratio: 1, reset_time: new Date(now + HOUR).toISOString() } };
    const [line, pace] = plain(view({ usages }), 200).slice(2);
    expect(line).toMatch(/ █{40} 100 % used {2}resets 13:00 \(in 1 h\)$/);
    expect(pace).toMatch(/^ +used up$/);
  });

  test("paints by how much is used", () => {
    const tones: Paint = (tone, text) => (text === "" ? "" : `<${tone}>${text}</>`);
    const painted = (used_ratio: number) =>
      layout(view({ usages: { limit_7d: { used_ratio } } }), 200, tones)[2] ?? "none";
    expect(painted(0.5)).toContain("<good> 50 % used</>");
    expect(painted(0.8)).toContain("<warning> 80 % used</>");
    expect(painted(0.95)).toContain("<error> 95 % used</>");
    expect(painted(0.999)).toContain("<error> 99 % used</>");
  });

  test("never gets wider than the screen, whatever the server calls things", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 220 }),
        fc.dictionary(
          fc.string({ unit: "grapheme" }),
          fc.record({ used_ratio: fc.double({ min: 0, max: 1 }) }),
        ),
        fc.string({ unit: "grapheme", minLength: 1 }),
        (width, usages, level) => {
          const shown = view({ ...hasty, usages, user: { membership: { level } } });
          const notice = {
            text: "Kimi Coder: something is wrong; do something about it.",
            tone: "error",
          } as const;
          for (const line of layout({ ...shown, notice }, width, withoutColour))
            expect(visibleWidth(line)).toBeLessThanOrEqual(width);
        },
      ),
    );
  });
});
