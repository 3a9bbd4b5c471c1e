import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isValid, needsRefresh, type Token, USUAL_LIFETIME } from "../../extensions/oauth/token.ts";

const NOW = Date.UTC(2026, 10, 20);

function token(left: number, lifetime: number): Token {
  return {
    accessToken: "access",
    refreshToken: "refresh",
    expiresAt: NOW + left,
    lifetime,
    scope: undefined,
    tokenType: undefined,
  };
}

describe("isValid", () => {
  it.each([
    [1, true],
    [0, false],
    [-1, false],
  ])("with %i ms left: %s", (left, expected) => {
    expect(isValid(token(left, USUAL_LIFETIME), NOW)).toBe(expected);
  });
});

describe("needsRefresh: less than five minutes or half of the life is left, whichever is more", () => {
  it.each([
    // life, left, due
    [900_000, 450_000, false],
    [900_000, 449_999, true],
    [600_000, 300_000, false],
    [600_000, 299_999, true],
    [600_001, 300_000, true],
  ])("life %i ms, left %i ms: %s", (lifetime, left, due) => {
    expect(needsRefresh(token(left, lifetime), NOW)).toBe(due);
  });

  it("stays due once it is, and is due before the token ends", () => {
    const ms = fc.integer({ min: -10_000_000, max: 10_000_000 });
    fc.assert(
      fc.property(ms, fc.integer({ min: 1, max: 40_000_000 }), fc.nat(), (left, lifetime, later) => {
        const it = token(left, lifetime);
        if (needsRefresh(it, NOW)) expect(needsRefresh(it, NOW + later)).toBe(true);
        if (!isValid(it, NOW)) expect(needsRefresh(it, NOW)).toBe(true);
      }),
    );
  });
});
