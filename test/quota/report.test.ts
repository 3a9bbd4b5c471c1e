/** The JSON object, which fits its schema (test/hostile/own-files.test.ts tries others), and what asks for it. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { usage } from "../../extensions/quota/command.ts";
import { parseFigures } from "../../extensions/quota/figures.ts";
import { report } from "../../extensions/quota/report.ts";
import { sessionUse } from "../../extensions/quota/session-use.ts";
import { accepts } from "../chat/payload/json-schema.ts";
import { olderUsages } from "../support/kimi-service/index.ts";

const schema: unknown = JSON.parse(
  readFileSync(new URL("../../extensions/quota/report.schema.json", import.meta.url), "utf8"),
);
const now = Date.UTC(2026, 10, 20, 12);
const unused = sessionUse([]);
const kept = (body: unknown) => {
  const figures = parseFigures(body);
  return figures && { figures, fetchedAt: now - 60_000 };
};

test("says when each limit is empty at this rate, and what is only kept", () => {
  const fast = { usages: { limit_5h: { used_ratio: 0.90004, reset_time: "2026-11-20T15:00:00Z" } } };
  const made = report(kept(fast), { ...unused, since: now - 3_600_000 }, undefined, now);
  expect(accepts(schema, made)).toBe(true);
  expect(accepts(schema, { ...made, state: "other" })).toBe(false);
  expect(made).toMatchObject({ fetchedAt: "2026-11-20T11:59:00.000Z", plan: null, parallelLimit: null });
  expect(made.session.since).toBe("2026-11-20T11:00:00.000Z");
  expect(made.windows).toEqual([
    {
      kind: "5h",
      label: "5 hours",
      usedPercent: 90,
      resetsAt: "2026-11-20T15:00:00.000Z",
      lengthSeconds: 18_000,
      binding: true,
      emptyAt: "2026-11-20T12:12:12.980Z",
    },
  ]);
  const problem = "Kimi Coder: no.";
  expect(report(kept(fast), unused, problem, now)).toMatchObject({
    ...{ state: "kept", problem, session: { since: null } },
  });
});

test("never says 100 for less", () => {
  const percent = (used_ratio: number) =>
    report(kept({ usages: { limit_5h: { used_ratio } } }), unused, undefined, now).windows[0]?.usedPercent;
  expect([0.99996, 1, 0.29].map(percent)).toEqual([99.99, 100, 29]);
});

test("/kimi usage asks the session nothing once it has waited: it may have been replaced", async () => {
  let replaced = false;
  const ctx = JSON.parse("{}");
  for (const [name, value] of Object.entries({ hasUI: false, sessionManager: { getEntries: () => [] } }))
    Object.defineProperty(ctx, name, {
      get() {
        if (replaced) throw new Error("stale");
        return value;
      },
    });
  const parts = JSON.parse("{}");
  Object.assign(parts, {
    usage: {
      look: async () => ({ kind: "login", account: { id: "a" } }),
      known: () => undefined,
      async refresh() {
        replaced = true;
        return { state: "fresh", kept: kept(olderUsages(now)) };
      },
      stop() {},
    },
    clock: { now: () => now, sleep: () => new Promise(() => {}) },
  });
  const said: string[] = [];
  const run = JSON.parse("{}");
  Object.assign(run, { ctx, options: new Set(), reply: { say: (text: string) => said.push(text) } });
  await usage(parts)(run);
  expect(said).toEqual([expect.stringMatching(/^Kimi quota · Intermediate\n/)]);
});
