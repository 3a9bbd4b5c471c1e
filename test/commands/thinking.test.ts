import { describe, expect, it } from "vitest";
import { isAtLeast } from "../../extensions/commands/thinking.ts";

describe("isAtLeast 0.84.3", () => {
  it.each([
    ["0.84.3", true],
    ["0.84.4", true],
    ["0.84.10", true],
    ["0.85.0", true],
    ["0.87.1", true],
    ["1.0.0", true],
    ["1.5.2", true],
    ["0.84.3-beta.1", true],
    ["0.84.3+build", true],
    ["0.84.2", false],
    ["0.84", false],
    ["0.9.9", false],
    ["0.73.1", false],
    ["0.73.1-99", false],
    ["", false],
    ["next", false],
    ["0.next.3", false],
  ])("%j: %s", (version, expected) => {
    expect(isAtLeast(version, [0, 84, 3])).toBe(expected);
  });
});
