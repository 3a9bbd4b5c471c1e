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

describe("of the cache", () => {
  test("the answers of this provider are counted, in all branches", () => {
    const broken = { type: "message", message: { role: "assistant", provider: "kimi-coder" } };
    const others = [null, broken, answer(5, 5, "x", "openai"), answer(0, 0)];
    expect(sessionUse([...others, answer(1000, 0), answer(100, 900)])).toMatchObject({
      requests: 2,
      promptTokens: 2000,
      cachedTokens: 900,
      cachedPercent: 45,
      misses: [],
    });
    expect(sessionUse(others).cachedPercent).toBeNull();
  });

  const before = [level("high"), note({ tools: "a" }), answer(10_000, 0), answer(500, 10_000)];
  test.each([
    ["model", 10_500, [answer(11_000, 0, "k2")]],
    ["level", 10_500, [level("low"), answer(11_000, 0)]],
    ["tools", 10_500, [note({ tools: "b" }), answer(11_000, 0)]],
    ["compaction", 4_000, [compaction, answer(4_000, 3_000)]],
  ])("a miss has its cause: %s", (cause, tokens, after) => {
    expect(sessionUse([...before, ...after]).misses).toEqual([{ cause, times: 1, tokens }]);
  });

  test.each([
    ["nothing has changed", [answer(11_000, 0)]],
    ["the cache had most of it", [level("low"), answer(1_000, 10_000)]],
    ["the level is the same again", [level("low"), level("high"), answer(11_000, 0)]],
  ])("there is none where %s", (_, after) => expect(sessionUse([...before, ...after]).misses).toEqual([]));

  test("nobody knows the tools of an answer before the first note", () => {
    const entries = [answer(10_000, 0), note({ tools: "a" }), answer(11_000, 0)];
    expect(sessionUse(entries).misses).toEqual([]);
  });

  test("the costliest comes first, counted together", () => {
    const after = [
      level("low"),
      answer(11_000, 0),
      compaction,
      answer(2_000, 0),
      level("high"),
      answer(3_000, 0),
    ];
    expect(sessionUse([...before, ...after]).misses).toEqual([
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
  const moved = (hours: number, week: number) => [
    { kind: "5h", label: "5 hours", movedPercent: hours },
    { kind: "week", label: "week", movedPercent: week },
  ];

  test.each([
    ["by what was used since, but for what coding has of the month", at(HOUR, 0.75, 0.562468), 50, 6.25],
    ["never back", at(HOUR, 0.25, 0.25), 0, 0],
    ["after a reset by all that is used now", at(4 * HOUR, 0.5, 0.5, 8 * HOUR), 50, 0],
  ])("all have moved %s", (_, kept, hours, week) => {
    expect(sessionUse([], beginning, kept)).toMatchObject({ since: start, windows: moved(hours, week) });
  });

  test("nobody knows where there are no figures of both times", () => {
    const unknown = { since: null, windows: [] };
    expect(sessionUse([], beginning, at(-1, 0.75, 0.75))).toMatchObject(unknown);
    expect(sessionUse([], undefined, at(0, 0, 0))).toMatchObject(unknown);
    expect(sessionUse([], beginning, undefined)).toMatchObject(unknown);
  });

  test("the session's first note of the account is its beginning, its last note names the tools", () => {
    const other = beginningOf(at(5, 0, 0), "b");
    const later = beginningOf(at(HOUR, 0.5, 0.5), "a");
    const notes: Note[] = [
      { tools: "x" },
      { beginning: other },
      { beginning },
      { beginning: later, tools: "y" },
    ];
    // As pi keeps them.
    const entries: readonly unknown[] = JSON.parse(JSON.stringify(notes.map(note)));
    expect(readBeginning(entries, "a")).toEqual(beginning);
    expect(readBeginning(entries, "b")).toEqual(other);
    expect(readBeginning(entries, "c")).toBeUndefined();
    expect(readTools(entries)).toBe("y");
  });
});
