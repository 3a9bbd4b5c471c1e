/** The quota as lines, at the widths of a split pane, a usual terminal and a wide one. */
import { visibleWidth } from "@mariozechner/pi-tui";
import { describe, expect, test } from "vitest";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { layout, type Paint, type View, withoutColour } from "../../extensions/quota/layout.ts";
import { type SessionUse, sessionUse } from "../../extensions/quota/session-use.ts";
import { newerUsages } from "../support/kimi-service/index.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Noon, whatever the time zone of the machine. */
const now = new Date(2026, 10, 20, 12).getTime();

const share = (used_ratio: number, left: number) => ({
  used_ratio,
  reset_time: new Date(now + left * HOUR).toISOString(),
});
/** 5 hours: 90 % after two of them; the week: hardly touched. */
const hasty = {
  user: { membership: { level: "LEVEL_INTERMEDIATE" } },
  parallel: { limit: "30" },
  usages: { limit_5h: share(0.9, 3), limit_7d: share(0.002, 100) },
};

function view(body: unknown, more: Partial<View> = {}, fetchedAt = now): View {
  const figures = parseFigures(body);
  return {
    kept: figures && { figures, fetchedAt },
    session: sessionUse([]),
    asking: false,
    problem: undefined,
    now,
    ...more,
  };
}
const plain = (shown: View, width: number) =>
  layout(shown, width, withoutColour).map((line) => line.trimEnd());

describe("the layout", () => {
  test("has of each window a bar, and below it when it resets and is empty", () => {
    expect(plain(view(hasty), 80)).toEqual([
      "Kimi quota · Intermediate",
      "",
      `▸ 5 hours  ${"█".repeat(36)}${"░".repeat(4)}  90 % used`,
      "  resets 15:00, in 3 h · at this rate empty in 13 m",
      `  week     █${"░".repeat(39)}  <1 % used`,
      "  resets Tue 16:00, in 4 d",
      "▸ the limit you will reach first",
      "Requests at once: at most 30",
      "",
      "As of 12:00 (just now)",
    ]);
  });

  test("cuts nothing off from 40 columns on, and has no escapes without colour", () => {
    const usages = {
      limit_5h: share(0.55, 4),
      limit_month_total: share(0.55, 500),
      limit_month_code: share(0.55, 500),
      "a limit whose name takes 40 characters": share(1, 500),
    };
    const problem = "Kimi Coder: something is wrong; do something.";
    const shown = view({ ...Object(newerUsages(now)), ...hasty, usages }, { problem });
    for (let width = 40; width <= 120; width++) {
      const lines = layout(shown, width, withoutColour);
      expect(Math.max(...lines.map(visibleWidth)), `${width}`).toBeLessThanOrEqual(width);
      expect(lines.join("\n")).not.toContain("\u001b");
      expect(lines.join(" ")).toMatch(/100 % used[\s\S]*used\s+up/);
    }
  });

  test("tells what the session has used, and why the cache had little of it", () => {
    const session: SessionUse = {
      requests: 12,
      promptTokens: 345_678,
      cachedTokens: 200_000,
      cachedPercent: 57,
      misses: [
        { cause: "model", times: 1, tokens: 80_000 },
        { cause: "tools", times: 2, tokens: 40_000 },
      ],
      since: now - HOUR,
      windows: [
        { kind: "5h", label: "5 hours", movedPercent: 9.4 },
        { kind: "week", label: "week", movedPercent: 0.5 },
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
    expect(lines({ cachedPercent: 86, requests: 1 }).join()).toMatch(/: 1 request, [^\n]*cache, {2}since/);
    expect(lines({ windows: [] }).join()).not.toContain("since");
    expect(lines({ cachedPercent: null }).join()).not.toContain("session");
    expect(lines({}, 40).slice(-2)).toEqual([
      "  since 11:00: 5 hours +9 %, week +<1 %,",
      "  all programs together",
    ]);
  });

  test("is one line where nothing is known yet", () => {
    expect(plain(view(undefined, { asking: true }), 80)).toEqual(["asking Kimi…"]);
    expect(plain(view(undefined, { problem: "it failed" }), 80)).toEqual(["it failed"]);
  });

  test("does not show what was used before a reset", () => {
    const later = plain(view(hasty, { now: now + 4 * HOUR }), 80);
    expect(later[2]).toMatch(/^ {2}5 hours {2}░+ {3}0 % used$/);
    expect(later[3]).toBe("  was reset since");
    expect(later[4]).toMatch(/^▸ week /);
  });

  test("says when a window is used up, and paints by how much is used", () => {
    const tones: Paint = (tone, text) => (text === "" ? "" : `<${tone}>${text}</>`);
    const painted = (used_ratio: number) =>
      layout(view({ usages: { limit_7d: { used_ratio } } }), 200, tones)
        .slice(2, 4)
        .join("");
    expect(painted(0.5)).toContain("<good>  50 % used</>");
    expect(painted(0.8)).toContain("<warning>  80 % used</>");
    expect(painted(0.999)).toContain("<error>  99 % used</>");
    expect(painted(1)).toContain("<error> 100 % used</><warning>  used up</>");
  });
});
