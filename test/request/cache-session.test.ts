import { expect, test } from "vitest";
import { cacheSession } from "../../extensions/request/cache-session.ts";

const open = () => "open";
const none = () => undefined;

test("a turn is asked for under the session that pi names", () => {
  expect(cacheSession({ sessionId: "a" }, open)).toBe("a");
  expect(cacheSession({ sessionId: "a", cacheRetention: "short" }, open)).toBe("a");
});

test("a summary is asked for under the session that is open", () => {
  expect(cacheSession({}, open)).toBe("open");
  expect(cacheSession(undefined, open)).toBe("open");
  expect(cacheSession({ sessionId: "made up", cacheRetention: "none" }, open)).toBe("open");
});

test("without an open session it has what pi says", () => {
  expect(cacheSession(undefined, none)).toBeUndefined();
  expect(cacheSession({ sessionId: "made up", cacheRetention: "none" }, none)).toBe("made up");
});
