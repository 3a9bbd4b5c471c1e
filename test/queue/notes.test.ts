/** The notes in the folder of the requests, and the rules that they make. */
import { describe, expect, test } from "vitest";
import { learnedLimit, pauseAfter, type Refusal, readRules } from "../../extensions/queue/tickets.ts";

const now = 1_800_000_000_000;
const asks = (retryAfter?: number): Refusal => ({ concurrency: false, retryAfter });
const last = (names: readonly string[], at = now) => readRules(names, at, undefined).pause;

describe("a pause", () => {
  test("is as long as the service asks, for everybody, and then over", () => {
    const note = `${pauseAfter(undefined, asks(7_000), now, now - 50)}`;
    expect(last([note, `pause-${now + 1}-1000`])).toEqual({ until: now + 7_000, length: 1_000 });
    expect(readRules([note], now + 6_999, undefined).endedPauses).toEqual([]);
    expect(readRules([note], now + 7_000, undefined).endedPauses).toEqual([note]);
  });

  test("is lengthened once by requests that were under way together", () => {
    const pause = { until: now + 1_000, length: 2_000 };
    for (const retryAfter of [undefined, 500])
      expect(pauseAfter(pause, asks(retryAfter), now, now - 10)).toBeUndefined();
    expect(pauseAfter(pause, asks(2_001), now, now - 10)).toBe(`pause-${now + 2_001}-2000`);
  });

  test("doubles when the request after it is refused too, up to a quarter of a minute", () => {
    const names: string[] = [];
    const lengths: number[] = [];
    let at = now;
    for (let times = 0; times < 6; times++) {
      names.push(`${pauseAfter(last(names, at), asks(), at, at)}`);
      const until = last(names, at)?.until ?? 0;
      lengths.push(until - at);
      at = until;
    }
    expect(lengths).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  test("is never shorter than what it would be had the service said nothing", () => {
    expect(pauseAfter(undefined, asks(0), now, now)).toBe(`pause-${now + 1_000}-1000`);
    const over = { until: now, length: 1_000 };
    expect(pauseAfter(over, asks(1_500), now, now)).toBe(`pause-${now + 2_000}-2000`);
  });

  test("of more than a minute is nobody else's, nor is one from a clock that was set back", () => {
    expect(pauseAfter(undefined, asks(60_001), now, now)).toBeUndefined();
    const ahead = `pause-${now + 3_600_000}-1000`;
    expect(readRules([ahead], now, undefined)).toMatchObject({ pause: undefined, outdated: [ahead] });
  });
});

describe("a limit that was learned", () => {
  const note = learnedLimit(3, now);
  const limit = (names: readonly string[], at: number, known?: number) => readRules(names, at, known).limit;

  test("is the least that was seen, tried one higher each minute, and forgotten after ten", () => {
    expect(limit([note, learnedLimit(7, now)], now)).toBe(3);
    expect(limit([note], now + 59_999)).toBe(3);
    expect(limit([note], now + 60_000)).toBe(4);
    expect(limit([note], now + 599_999)).toBe(12);
    expect(readRules([note, "request-1-a", "strange"], now + 600_000, undefined)).toMatchObject({
      limit: undefined,
      outdated: [note],
    });
  });

  test("is never none, and lowers the limit that is known but does not raise it", () => {
    expect(limit([learnedLimit(0, now)], now)).toBe(1);
    expect(limit([note], now, 30)).toBe(3);
    expect(limit([note], now, 2)).toBe(2);
    expect(limit([], now, 0.5)).toBe(1);
  });
});
