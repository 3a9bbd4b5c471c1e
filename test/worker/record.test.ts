/** The record of a worker, made of pi's events: sequences that test/e2e/status-file.test.ts does not bring about. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Answer, classOf, failureOf, INTERRUPTED, NO_KEY } from "../../extensions/worker/failure.ts";
import { isOlder, silenceAfter } from "../../extensions/worker/older-pi.ts";
import {
  BEGINNING,
  contentOf,
  type Life,
  next,
  quotaOf,
  type WorkerEvent,
} from "../../extensions/worker/record.ts";
import { keepsToSchema } from "../support/status-file.ts";

const good: Answer = { content: [{ type: "text", text: "42" }], stopReason: "stop" };
const bad: Answer = { content: [], stopReason: "error", errorMessage: "Kimi has a server error (500)." };
const aborted: Answer = { content: [], stopReason: "aborted" };

const start: WorkerEvent = {
  type: "session_start",
  reason: "startup",
  sessionId: "s",
  model: "m/1",
  hasUI: true,
};
const prompt: WorkerEvent = { type: "before_agent_start" };
const ends = (answer: Answer): WorkerEvent => ({ type: "agent_end", answer });
const settled: WorkerEvent = { type: "agent_settled", aborted: false };
const silence: WorkerEvent = { type: "silence" };
const compacts: WorkerEvent = { type: "session_before_compact" };
const compacted: WorkerEvent = { type: "session_compact" };
const quits: WorkerEvent = { type: "session_shutdown", reason: "quit", at: 3 };
const exits = (code: number): WorkerEvent => ({ type: "exit", at: 5, code });
const answered = [start, prompt, ends(good)];

function live(...events: readonly WorkerEvent[]): Life {
  return events.reduce(next, BEGINNING);
}

function content(...events: readonly WorkerEvent[]) {
  return contentOf(live(...events), 1);
}

function expectToFit(record: ReturnType<typeof contentOf>): void {
  expect({ ...record, changedAt: 0, messageFile: null }).toSatisfy(keepsToSchema);
}

describe("the states of a worker", () => {
  test("an answer that was whole before Esc stays one", () => {
    expect(content(...answered, { ...settled, aborted: true }).state).toBe("completed");
  });

  test("a settled that comes late does not end a run that has begun", () => {
    expect(content(start, prompt, settled).state).toBe("processing");
  });

  test("the end of the process cuts a turn off, after which only a new session counts", () => {
    const cut = live(start, prompt, exits(143));
    expect(cut).toMatchObject({ rest: INTERRUPTED, exit: { at: 5, code: 143 } });
    expect(next(cut, prompt)).toBe(cut);
    const quit = content(...answered, settled, quits, exits(0));
    expect(quit).toMatchObject({ state: "completed", exit: { at: 3, code: 0 } });
  });

  test("an end before any turn is an error where pi says so", () => {
    const early = { ...start, hasUI: false };
    expect(content(early, exits(0)).state).toBe("idle");
    expect(content(early, exits(1))).toMatchObject({ error: { class: "not-started" } });
  });

  test("waiting is said while it lasts, from its beginning", () => {
    const wait = (note: string | undefined, at: number): WorkerEvent => ({ type: "request_waits", note, at });
    const waits = live(start, prompt, wait("1 before this one", 5), wait("next", 9));
    expect(waits.waiting).toEqual({ note: "next", since: 5 });
    expect(next(waits, wait(undefined, 10)).waiting).toBeUndefined();
    expect(next(waits, ends(bad)).waiting).toBeUndefined();
  });
});

test("any order of events gives a record that keeps to the schema", () => {
  const answer = fc.constantFrom(good, bad, aborted);
  const event: fc.Arbitrary<WorkerEvent> = fc.oneof(
    fc.record({
      type: fc.constant("session_start" as const),
      reason: fc.constantFrom("startup", "reload", "new"),
      sessionId: fc.constantFrom("s", "t"),
      model: fc.constantFrom(undefined, "kimi-coder/a"),
      hasUI: fc.boolean(),
    }),
    fc.constantFrom<WorkerEvent>(
      prompt,
      { type: "agent_start" },
      { type: "input", refusal: NO_KEY },
      settled,
      { ...settled, aborted: true },
      silence,
      compacts,
      compacted,
      quits,
      { ...quits, reason: "new" },
      { type: "request_waits", note: "next", at: 1 },
      exits(1),
    ),
    answer.map(ends),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      let life = BEGINNING;
      for (const one of events) {
        const before = life;
        life = next(life, one);
        const record = contentOf(life, 1);
        expectToFit(record);
        expect(record.error !== null).toBe(record.state === "error");
        if (record.exit) expect(record.state).not.toBe("processing");
        if (before.exit && one.type !== "session_start") expect(life.exit?.at).toBe(before.exit.at);
        if (one === prompt && !before.exit) expect(record.state).toBe("processing");
      }
    }),
    { numRuns: 500 },
  );
});

test("of a limit that was reset since nothing is used", () => {
  const windows = [5_000, 8_000, 20_000].map(
    (resetsAt) => ({ kind: "week", label: "week", length: undefined, usedPercent: 97, resetsAt }) as const,
  );
  const figures = { plan: "Pro", windows, parallelLimit: 3, wallet: undefined };
  const quota = quotaOf({ figures, fetchedAt: 6_000 }, 10_000);
  expect(quota).toMatchObject({ plan: "Pro", fetchedAt: 6_000 });
  expect(quota.windows.map(({ usedPercent }) => usedPercent)).toEqual([97, 0, 97]);
  expectToFit(contentOf(BEGINNING, 7, { quota, usage: null }));
});

describe("a failure", () => {
  test("has the class it was said for, and the next action of the sentence", () => {
    const sentence = "Kimi Coder: no login found; type /login kimi-coder, or set KIMI_CODER_API_KEY.";
    const answer: Answer = { ...bad, errorMessage: `Error: ${sentence}` };
    const said: WorkerEvent = {
      type: "request_fails",
      said: { sentence, class: classOf({ kind: "no-login" }) },
    };
    expect(content(start, prompt, said, ends(answer), settled).error).toMatchObject({
      class: "no-login",
      nextAction: "type /login kimi-coder, or set KIMI_CODER_API_KEY",
    });
    const quoted =
      "Kimi Coder: the plan's limit; wait until 5 p.m., or renew at https://kimi.com/x. (Kimi: No.)";
    expect(failureOf(quoted, undefined).nextAction).toBe("wait until 5 p.m., or renew at https://kimi.com/x");
  });

  test("of another provider is classified by its words, without tokens in it", () => {
    const failure = failureOf("429 rate limit for sk-abcdefghijklmnop", undefined);
    expect(failure.class).toBe("rate");
    expect(failure.message).not.toContain("abcdef");
    expect(failureOf("", undefined).message).not.toBe("");
  });
});

describe("the silence that means that pi has settled", () => {
  const PAUSE = 8_000;
  const silenceOf = (version: string, event: WorkerEvent, before: Life) =>
    silenceAfter(event, next(before, event), isOlder(version), () => PAUSE);

  test("is longer than the longest pause before a retry, where one may come", () => {
    const heard = live(start, prompt);
    const fail = (errorMessage: string) => ends({ ...bad, errorMessage });
    expect(silenceOf("0.73.1", ends(bad), heard)).toBeGreaterThan(PAUSE);
    for (const end of [ends(good), ends(aborted), fail("no plan")])
      expect(silenceOf("0.73.1", end, heard)).toBeLessThan(1_000);
    expect(silenceOf("0.73.1", fail("exceeded model token limit"), heard)).toBeGreaterThan(1_000);
  });

  test("is waited for only where pi does not say it", () => {
    for (const [event, before] of [
      [ends(good), live(start, prompt)],
      [compacts, live(start)],
    ] as const) {
      expect(silenceOf("0.84.2", event, before)).toEqual(expect.any(Number));
      expect(silenceOf("0.84.3", event, before)).toBe("told");
    }
    // A prompt that has waited for the compaction begins a moment after it.
    expect(silenceOf("1.6.0", compacted, live(start, compacts))).toBeLessThan(1_000);
  });
});
