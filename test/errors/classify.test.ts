import { describe, expect, test } from "vitest";
import { judgeError } from "../../extensions/chat/judge-error.ts";
import { classifyError } from "../../extensions/errors/classify.ts";

/** As pi 0.73 words it, and as its successor does. */
function worded(status: number, type: string, message: string): readonly string[] {
  return [`${status} ${message}`, `${status}: ${JSON.stringify({ error: { type, message } })}`];
}

describe("a 403 permission_error", () => {
  test.each([
    "You've reached your concurrent request limit",
    "You have exceeded the maximum concurrency of your plan",
  ])("is too many at once where it says so: %s", (message) => {
    for (const text of worded(403, "permission_error", message))
      expect(classifyError(text)).toBe("concurrency");
  });

  test.each(["You are not allowed to use this model", "Permission denied"])(
    "is none of the other requests' business where it does not: %s",
    (message) => {
      for (const text of worded(403, "permission_error", message)) {
        expect(classifyError(text)).toBe("forbidden");
        expect(judgeError(text, new Date(), { retryAfter: 1_000 }).refusal).toBeUndefined();
      }
    },
  );

  test("is judged by its message also where that is about the plan", () => {
    for (const text of worded(403, "permission_error", "You've reached your weekly usage limit"))
      expect(classifyError(text)).toBe("weekly");
  });
});
