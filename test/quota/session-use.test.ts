/** What a session costs, as far as pi's entries and the figures tell. */
import { describe, expect, test } from "vitest";
import { parseFigures } from "../../extensions/quota/figures.ts";
import {
  beginningOf,
  NOTE_TYPE,
  type Note,
  readBeginning,
  readTools,
  sessionUse,
} from "../../extensions/quota/session-use.ts";

const HOUR = 3_600_000;
const start = Date.UTC(2026, 10, 20, 12);

const answer = (input: number, cacheRead: number, model = "k3", provider = "kimi-coder") => ({
  type: "message",
  message: { role: "assistant", provider, model, usage: { input, cacheRead, cacheWrite: 0 } },
});
const note = (data: Note) => ({ type: "custom", customType: NOTE_TYPE, data });
const level = (thinkingLevel: string) => ({ type: "thinking_level_change", thinkingLevel });
const compaction = { type: "compaction", summary: "…" };
const use = (...entries: unknown[]) => sessionUse(entries, "kimi-coder", undefined, undefined);

describe("of the cache", () => {
  test("the answers of this provider are counted, in all branches", () => {
    const broken = { type: "message", message: { role: "assistant", provider: "kimi-coder" } };
    const entries = [
      null,
      broken,
      answer(1000, 0),
      answer(100, 900),
      answer(5, 5, "x", "openai"),
      answer(0, 0),
    ];
    expect(use(...entries)).toMatchObject({ answers: 2, prompt: 2000, cached: 900, misses: [] });
  });

  const before = [level("high"), note({ tools: "a" }), answer(10_000, 0), answer(500, 10_000)];
  test.each([
    ["model", [answer(11_000, 0, "k2")]],
    ["level", [level("low"), answer(11_000, 0)]],
    ["tools", [note({ tools: "b" }), answer(11_000, 0)]],
    ["compaction", [compaction, answer(4_000, 3_000)]],
  ])("a miss has its cause: %s", (cause, after) => {
    const tokens = cause === "compaction" ? 4_000 : 10_500;
    expect(use(...before, ...after).misses).toEqual([{ cause, times: 1, tokens }]);
  });

  test.each([
    ["nothing has changed", [answer(11_000, 0)]],
    ["the cache had most of it", [level("low"), answer(1_000, 10_000)]],
    ["the level is the same again", [level("low"), level("high"), answer(11_000, 0)]],
    ["another provider answered", [answer(9, 0, "gpt", "openai"), answer(11_000, 0)]],
  ])("there is none where %s", (_, after) => expect(use(...before, ...after).misses).toEqual([]));

  test("nobody knows the tools of an answer before the first note", () => {
    expect(use(answer(10_000, 0), note({ tools: "a" }), answer(11_000, 0)).misses).toEqual([]);
  });

  test("the costliest comes first, counted together", () => {
    const entries = [
      ...before,
      level("low"),
      answer(11_000, 0),
      compaction,
      answer(2_000, 0),
      level("high"),
      answer(3_000, 0),
    ];
    expect(use(...entries).misses).toEqual([
      { cause: "level", times: 2, tokens: 12_500 },
      { cause: "compaction", times: 1, tokens: 2_000 },
    ]);
  });
});

describe("of the limits", () => {
  const at = (ms: number, hours: number, week: number, reset = 3 * HOUR) => {
    const figures = parseFigures({
      usages: {
        limit_5h: { used_ratio: hours, reset_time: new Date(start + reset).toISOString() },
        limit_7d: { used_ratio: week },
        limit_month_code: { used_ratio: week },
      },
    });
    if (!figures) throw new Error("no figures");
    return { figures, fetchedAt: start + ms };
  };
  const beginning = beginningOf(at(0, 0.25, 0.5), "a");
  const moved = (kept: ReturnType<typeof at>) => {
    const { since, moved } = sessionUse([], "kimi-coder", beginning, kept);
    return { since, moved: moved.map(({ label, percent }) => `${label} ${percent}`) };
  };

  test("all have moved by what was used since, but for what coding has of the month", () => {
    expect(moved(at(HOUR, 0.75, 0.5625))).toEqual({ since: start, moved: ["5 hours 50", "week 6.25"] });
    expect(moved(at(HOUR, 0.25, 0.25))).toEqual({ since: start, moved: ["5 hours 0", "week 0"] });
  });

  test("one that was reset has moved by all that is used now", () => {
    expect(moved(at(4 * HOUR, 0.125, 0.5, 8 * HOUR)).moved).toEqual(["5 hours 12.5", "week 0"]);
  });

  test("nobody knows where there are no figures of both times", () => {
    expect(moved(at(-1, 0.75, 0.75))).toEqual({ since: undefined, moved: [] });
    expect(sessionUse([], "kimi-coder", undefined, at(0, 0, 0))).toMatchObject({
      since: undefined,
      moved: [],
    });
    expect(sessionUse([], "kimi-coder", beginning, undefined)).toMatchObject({ since: undefined, moved: [] });
  });

  test("the session's first note of the account is its beginning, its last note names the tools", () => {
    const other = beginningOf(at(5, 0, 0), "b");
    const later = beginningOf(at(HOUR, 0.5, 0.5), "a");
    const notes: Note[] = [
      { tools: "x" },
      { beginning: other, tools: "x" },
      { beginning },
      { beginning: later, tools: "y" },
    ];
    // As pi keeps them.
    const entries: readonly unknown[] = JSON.parse(JSON.stringify(notes.map(note)));
    expect(readBeginning(entries, "a")).toEqual(beginning);
    expect(readBeginning(entries, "b")).toEqual(other);
    expect(readBeginning(entries, "c")).toBeUndefined();
    expect(readTools(entries)).toBe("y");
    expect(readTools([])).toBeUndefined();
  });
});
