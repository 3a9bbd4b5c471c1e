import { describe, expect, it } from "vitest";
import { isAtLeast } from "../../extensions/configuration.ts";

describe("isAtLeast 0.84.3", () => {
  it.each([
    ["0.84.3", true],
    ["0.84.10", true],
    ["1.0.0", true],
    ["0.84.3-beta.1", true],
    ["0.84.2", false],
    ["0.84", false],
    ["next", false],
  ])("%j: %s", (version, expected) => {
    expect(isAtLeast(version, [0, 84, 3])).toBe(expected);
  });
});
