/** `/kimi usage` where the session is replaced while it waits for the answer. */
import { expect, test } from "vitest";
import { usage } from "../../extensions/commands/usage.ts";
import { parseUsages } from "../../extensions/usage/figures.ts";
import { olderUsages } from "../support/kimi-service/index.ts";

const now = Date.UTC(2026, 10, 20, 12);

test("asks the session nothing once it has waited", async () => {
  let replaced = false;
  const ctx = JSON.parse("{}");
  Object.defineProperty(ctx, "hasUI", {
    get() {
      if (replaced) throw new Error("stale");
      return true;
    },
  });
  // pi 0.87 says its mode itself, and throws in the same way.
  Object.defineProperty(ctx, "mode", {
    get() {
      if (replaced) throw new Error("stale");
      return "rpc";
    },
  });
  const figures = parseUsages(olderUsages(now));
  const parts = JSON.parse("{}");
  Object.assign(parts, {
    usage: {
      unavailable: async () => undefined,
      last: async () => undefined,
      async refresh() {
        replaced = true;
        return { state: "fresh", kept: { figures, fetchedAt: now }, region: "kimi.com" };
      },
    },
    handKey: async () => undefined,
    clock: { now: () => now, sleep: () => new Promise(() => {}) },
    columns: undefined,
  });
  const said: string[] = [];
  const run = JSON.parse("{}");
  Object.assign(run, { ctx, options: new Set(), reply: { say: (text: string) => said.push(text) } });
  await usage(parts)(run);
  expect(said).toEqual([expect.stringMatching(/^Kimi quota · Intermediate\n/)]);
});
