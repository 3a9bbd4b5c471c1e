import { expect, test } from "vitest";
import { createCacheSession } from "../../extensions/request/cache-session.ts";

test("a summary is asked for under the session of the latest turn", () => {
  const sessionOf = createCacheSession();
  expect(sessionOf({ sessionId: "a" })).toBe("a");
  expect(sessionOf({})).toBe("a");
  expect(sessionOf(undefined)).toBe("a");
  expect(sessionOf({ sessionId: "made up", cacheRetention: "none" })).toBe("a");
  expect(sessionOf({ sessionId: "b", cacheRetention: "short" })).toBe("b");
  expect(sessionOf({ sessionId: "made up", cacheRetention: "none" })).toBe("b");
});

test("without a turn before it has what pi says, and leaves nothing behind", () => {
  const sessionOf = createCacheSession();
  expect(sessionOf(undefined)).toBeUndefined();
  expect(sessionOf({ sessionId: "made up", cacheRetention: "none" })).toBe("made up");
  expect(sessionOf({})).toBeUndefined();
  expect(createCacheSession()({})).toBeUndefined();
});
