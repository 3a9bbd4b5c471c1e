import { describe, expect, test } from "vitest";
import {
  learnedLimit,
  pauseAfter as noteAfter,
  type Refusal,
  readRules,
} from "../../extensions/queue/tickets.ts";

const now = 1_800_000_000_000;
const rate = { concurrency: false, retryAfter: undefined };

const outdated = (names: readonly string[], at: number) => readRules(names, at, undefined).outdated;

interface When {
  readonly now: number;
  readonly sentAt: number;
  readonly random: number;
}

function pauseAfter(names: readonly string[], refusal: Refusal, when: When): string | undefined {
  return noteAfter(readRules(names, when.now, undefined).pause, refusal, when);
}

/** Until when everybody waits at `at`; undefined = nobody does. */
function until(names: readonly string[], at: number): number | undefined {
  const { pause } = readRules(names, at, undefined);
  return pause && pause.until > at ? pause.until : undefined;
}

describe("a pause", () => {
  test("is as long as the service asks, for everybody, and then over", () => {
    const note = pauseAfter([], { ...rate, retryAfter: 7_000 }, { now, sentAt: now - 50, random: 0.9 });
    expect(note).toBe(`pause-${now + 7_000}-0`);
    expect(until([`${note}`], now + 6_999)).toBe(now + 7_000);
    expect(until([`${note}`], now + 7_000)).toBeUndefined();
    expect(readRules([`${note}`], now + 7_000, undefined).endedPauses).toEqual([note]);
    expect(until([`${note}`, `pause-${now + 1}-0`], now)).toBe(now + 7_000);
  });

  test("is lengthened once by requests that were under way together", () => {
    const names = [`pause-${now + 1_000}-0`];
    expect(pauseAfter(names, rate, { now, sentAt: now - 10, random: 0 })).toBeUndefined();
    expect(pauseAfter(names, { ...rate, retryAfter: 500 }, { now, sentAt: now, random: 0 })).toBeUndefined();
    expect(pauseAfter(names, { ...rate, retryAfter: 1_001 }, { now, sentAt: now, random: 0 })).toBe(
      `pause-${now + 1_001}-0`,
    );
  });

  test("doubles when the request after it is refused too, up to a quarter of a minute, and differs by chance", () => {
    let names: string[] = [];
    let at = now;
    const lengths: number[] = [];
    for (let times = 0; times < 8; times++) {
      const note = `${pauseAfter(names, rate, { now: at, sentAt: at, random: 0.5 })}`;
      names = [...names, note];
      lengths.push((until(names, at) ?? 0) - at);
      at = until(names, at) ?? 0;
    }
    expect(lengths).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000]);
    const first = pauseAfter([], rate, { now, sentAt: now, random: 0 });
    expect(first).toBe(`pause-${now + 750}-0`);
    expect(pauseAfter(names, rate, { now: at + 60_001, sentAt: at + 60_001, random: 0 })).toMatch(/-0$/);
  });

  test("is never shorter than what it would be had the service said nothing", () => {
    const zero = { ...rate, retryAfter: 0 };
    const first = `${pauseAfter([], zero, { now, sentAt: now, random: 0.5 })}`;
    expect(first).toBe(`pause-${now + 1_000}-0`);
    const later = { now: now + 1_000, sentAt: now + 1_000, random: 0.5 };
    expect(pauseAfter([first], zero, later)).toBe(`pause-${now + 3_000}-1`);
    expect(pauseAfter([first], { ...rate, retryAfter: 1_500 }, later)).toBe(`pause-${now + 3_000}-1`);
  });

  test("of more than a minute is nobody else's, nor is one from a clock that was set back", () => {
    expect(pauseAfter([], { ...rate, retryAfter: 60_001 }, { now, sentAt: now, random: 0 })).toBeUndefined();
    expect(until([`pause-${now + 3_600_000}-0`], now)).toBeUndefined();
    expect(outdated([`pause-${now + 3_600_000}-0`], now)).toHaveLength(1);
  });
});

describe("a limit that was learned", () => {
  const note = learnedLimit(3, now);

  test("is the least that was seen, tried one higher each minute, and forgotten after ten", () => {
    const limit = (names: readonly string[], at: number, known?: number) => readRules(names, at, known).limit;
    expect(limit([note, learnedLimit(7, now)], now)).toBe(3);
    expect(limit([note], now + 59_999)).toBe(3);
    expect(limit([note], now + 60_000)).toBe(4);
    expect(limit([note], now + 599_999)).toBe(12);
    expect(limit([note], now + 600_000)).toBeUndefined();
    expect(outdated([note], now + 599_999)).toEqual([]);
    expect(outdated([note, "ticket-1-a", "waits-1-a", "strange"], now + 600_000)).toEqual([note]);
  });

  test("is never none, and lowers the limit that is known but does not raise it", () => {
    expect(readRules([learnedLimit(0, now)], now, undefined).limit).toBe(1);
    expect(readRules([note], now, 30).limit).toBe(3);
    expect(readRules([note], now, 2).limit).toBe(2);
    expect(readRules([], now, 1.5).limit).toBe(1);
    expect(readRules([], now, 0.5).limit).toBe(1);
    expect(readRules([], now, undefined)).toMatchObject({ limit: undefined, pause: undefined });
  });
});
