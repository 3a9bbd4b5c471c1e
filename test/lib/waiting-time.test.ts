/** How times and durations are told, before and after now. */
import { expect, test } from "vitest";
import { sayDuration, sayPast, sayReset, sayTime } from "../../extensions/lib/waiting-time.ts";

const now = new Date(2026, 10, 20, 12);

test.each([
  [new Date(2026, 10, 20, 14, 5), "14:05"],
  [new Date(2026, 10, 20, 0, 0), "00:00"],
  [new Date(2026, 10, 21, 14, 5), "Sat 14:05"],
  [new Date(2026, 10, 26, 14, 5), "Thu 14:05"],
  [new Date(2026, 10, 27, 14, 5), "27 Nov 14:05"],
  [new Date(2026, 10, 19, 14, 5), "Thu 14:05"],
  [new Date(2026, 10, 14, 14, 5), "Sat 14:05"],
  [new Date(2026, 10, 13, 14, 5), "13 Nov 14:05"],
  [new Date(2026, 9, 30, 14, 5), "30 Oct 14:05"],
])("%s is %s", (at, said) => expect(sayTime(at.getTime(), now)).toBe(said));

test("what is to come is rounded up, what was is not", () => {
  const at = new Date(2026, 10, 20, 11, 58, 30).getTime();
  expect([sayTime(at, now), sayPast(at, now)]).toEqual(["11:59", "11:58"]);
});

test.each([
  [0, "soon"],
  [1, "12:01, in 1 m"],
  [40 * 60_000, "12:40, in 40 m"],
  [3 * 3_600_000, "15:00, in 3 h"],
  [50 * 3_600_000, "Sun 14:00, in 2 d"],
])("a reset %i ms from now is %s", (ms, said) => expect(sayReset(now.getTime() + ms, now)).toBe(said));

test.each([
  [-5, "less than a minute"],
  [59_999, "less than a minute"],
  [60_000, "1 m"],
  [100 * 60_000, "1 h 40 m"],
  [120 * 60_000, "2 h"],
  [99 * 3_600_000, "4 d 3 h"],
  [24 * 3_600_000 + 60_000, "1 d"],
])("%i ms are %s", (ms, words) => expect(sayDuration(ms)).toBe(words));
