/** How a time is told, before and after now. */
import { expect, test } from "vitest";
import { sayTime } from "../../extensions/lib/waiting-time.ts";

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
])("%s is %s", (at, said) => expect(sayTime(at.getTime(), new Date(2026, 10, 20, 12))).toBe(said));
