/** The record of a worker, made of any order of pi's events. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { beginningOf, sessionUse } from "../../extensions/quota/session-use.ts";
import { type Answer, classOf, failureOf, INTERRUPTED, NO_KEY } from "../../extensions/worker/failure.ts";
import { silenceAfter, USUAL_RETRIES, untoldBy } from "../../extensions/worker/older-pi.ts";
import {
  BEGINNING,
  contentOf,
  isBusy,
  type Life,
  next,
  quotaOf,
  usageOf,
  type WorkerEvent,
} from "../../extensions/worker/record.ts";
import { complaints } from "./schema.ts";

const text = (said: string): Answer["content"] => [{ type: "text", text: said }];
const good: Answer = { content: text("42"), stopReason: "stop" };
const bad: Answer = { content: [], stopReason: "error", errorMessage: "Kimi has a server error (500)." };
const aborted: Answer = { content: [], stopReason: "aborted" };
const calls: Answer = { content: text("I look."), stopReason: "toolUse" };

const start: WorkerEvent = {
  type: "session_start",
  reason: "startup",
  sessionId: "s",
  model: "m/1",
  hasUI: true,
};
const prompt: WorkerEvent = { type: "before_agent_start" };
const run: WorkerEvent = { type: "agent_start" };
const says = (answer: Answer): WorkerEvent => ({ type: "message_end", answer });
const ends = (answer: Answer): WorkerEvent => ({ type: "agent_end", answer });
const settled: WorkerEvent = { type: "agent_settled", aborted: false };
const compacts: WorkerEvent = { type: "session_before_compact" };
const compacted: WorkerEvent = { type: "session_compact" };
const refused: WorkerEvent = { type: "input", refusal: NO_KEY };
const shutdown = (reason: string): WorkerEvent => ({ type: "session_shutdown", reason, at: 3 });
const answered = [start, prompt, run, says(good), ends(good), settled];

function live(...events: readonly WorkerEvent[]): Life {
  return events.reduce(next, BEGINNING);
}

function content(...events: readonly WorkerEvent[]) {
  return contentOf(live(...events), 1);
}

/** Sequences that test/e2e/status-file.test.ts does not bring about. */
describe("the states of a worker", () => {
  test("an answer that was whole before Esc stays one", () => {
    expect(content(...answered.slice(0, 5), { ...settled, aborted: true }).state).toBe("completed");
  });

  test("reasoning alone, which is told as an error, is no answer; nor is it part of one", () => {
    const thought: Answer = { ...bad, content: [{ type: "thinking", thinking: "hm" }] };
    expect(content(start, prompt, run, says(thought), ends(thought), settled)).toMatchObject({
      state: "error",
      message: null,
    });
    const both: Answer = { ...good, content: [...thought.content, ...text("one"), ...text("two\n")] };
    expect(content(start, prompt, says(both), ends(both), settled).message).toBe("one\ntwo");
  });

  test("a settled that comes late does not end a run that has begun", () => {
    expect(content(start, prompt, settled).state).toBe("processing");
  });

  test("the end of the process cuts a turn off, unless its answer was heard", () => {
    const exit: WorkerEvent = { type: "exit", at: 1, code: 143 };
    const cut = live(start, prompt, says(calls), exit);
    expect(cut).toMatchObject({ rest: INTERRUPTED, exit: { at: 1, code: 143 } });
    expect(content(start, prompt, says(good), exit).state).toBe("completed");
    expect(next(cut, prompt)).toBe(cut);
    const quit = content(...answered, shutdown("quit"), { ...exit, code: 0 });
    expect(quit).toMatchObject({ state: "completed", exit: { at: 3, code: 0 } });
  });

  test("an end before any turn is an error where pi says so", () => {
    const early = { ...start, hasUI: false };
    expect(content(early, { type: "exit", at: 1, code: 0 }).state).toBe("idle");
    expect(content(early, { type: "exit", at: 1, code: 1 })).toMatchObject({
      error: { class: "not-started" },
    });
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
  const answer: fc.Arbitrary<Answer> = fc.oneof(
    fc.constantFrom(good, bad, aborted, calls),
    fc.string().map((said) => ({ ...good, content: text(said) })),
  );
  const at = fc.nat();
  const event: fc.Arbitrary<WorkerEvent> = fc.oneof(
    fc.record({
      type: fc.constant("session_start" as const),
      reason: fc.constantFrom("startup", "reload", "new"),
      sessionId: fc.constantFrom("s", "t"),
      model: fc.constantFrom(undefined, "kimi-coder/a"),
      hasUI: fc.boolean(),
    }),
    fc.constantFrom(prompt, run, settled, refused, compacts, compacted, shutdown("new"), shutdown("quit")),
    fc.record({ type: fc.constant("message_end" as const), answer }),
    fc.record({ type: fc.constant("agent_end" as const), answer: fc.option(answer, { nil: undefined }) }),
    fc.record({ type: fc.constant("agent_settled" as const), aborted: fc.boolean() }),
    fc.record({ type: fc.constant("model_select" as const), model: fc.string() }),
    fc.record({
      type: fc.constant("request_waits" as const),
      note: fc.option(fc.string(), { nil: undefined }),
      at,
    }),
    fc.record({ type: fc.constant("exit" as const), at, code: fc.nat(255) }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      let life = BEGINNING;
      for (const one of events) {
        const before = life;
        life = next(life, one);
        const record = contentOf(life, 1);
        expect(complaints({ ...record, changedAt: 0, messageFile: null })).toEqual([]);
        expect(record.error !== null).toBe(record.state === "error");
        expect(record.state === "processing").toBe(isBusy(life));
        if (record.exit) expect(record.state).not.toBe("processing");
        if (before.exit && one.type !== "session_start") expect(life.exit?.at).toBe(before.exit.at);
        if (one.type === "before_agent_start" && !before.exit) expect(record.state).toBe("processing");
      }
    }),
    { numRuns: 500 },
  );
});

test("the plan's figures keep to the schema, and nothing is used of a window that was reset since", () => {
  const window = { kind: "week", label: "week", usedPercent: 97, length: undefined } as const;
  const windows = [5_000, 8_000, 20_000].map((resetsAt) => ({ ...window, resetsAt }));
  const figures = { plan: "Pro", windows, parallelLimit: 3, wallet: undefined };
  const quota = quotaOf({ figures, fetchedAt: 6_000 }, 10_000);
  expect(quota).toMatchObject({ plan: "Pro", fetchedAt: 6_000 });
  expect(quota.windows.map(({ usedPercent }) => usedPercent)).toEqual([97, 0, 97]);
  expect(
    complaints({ ...contentOf(BEGINNING, 7, { quota, usage: null }), changedAt: 1, messageFile: null }),
  ).toEqual([]);
});

test("what the session has used keeps to the schema", () => {
  const window = { kind: "week", label: "week", length: undefined, resetsAt: undefined } as const;
  const kept = (usedPercent: number, fetchedAt: number) => ({
    figures: {
      plan: "Pro",
      windows: [{ ...window, usedPercent }],
      parallelLimit: undefined,
      wallet: undefined,
    },
    fetchedAt,
  });
  const message = { role: "assistant", provider: "kimi-coder", usage: { input: 30, cacheRead: 70 } };
  const entries = [{ type: "message", message }];
  const usage = usageOf(sessionUse(entries, beginningOf(kept(3, 5), "a"), kept(4, 9)));
  expect(usage).toEqual({
    requests: 1,
    promptTokens: 100,
    cachedTokens: 70,
    cachedPercent: 70,
    since: 5,
    windows: [{ kind: "week", label: "week", movedPercent: 1 }],
  });
  const none = usageOf(sessionUse([]));
  for (const one of [usage, none]) {
    const record = {
      ...contentOf(BEGINNING, 7, { quota: null, usage: one }),
      changedAt: 1,
      messageFile: null,
    };
    expect(complaints(record)).toEqual([]);
  }
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
  const oldest = untoldBy("0.73.1");
  const fail = (errorMessage: string) => ends({ ...bad, errorMessage });
  const silence = (event: WorkerEvent, before: Life, retries = USUAL_RETRIES) => {
    const ms = silenceAfter(event, next(before, event), oldest, () => retries);
    return typeof ms === "number" ? ms : Number.NaN;
  };

  test("is as long as pi takes for its next attempt", () => {
    const attempts = [0, 1, 2, 3].map((failed) => ({ ...live(start, prompt, run), attempts: failed }));
    const silences = attempts.map((life) => silence(ends(bad), life));
    expect(silences.slice(0, 3).every((ms) => ms > 2_000)).toBe(true);
    expect(silences[2]).toBeGreaterThan(8_000);
    expect(silences[3]).toBeLessThan(1_000);
    const [first = BEGINNING] = attempts;
    expect(silence(ends(bad), first, { ...USUAL_RETRIES, enabled: false })).toBeLessThan(1_000);
    expect(silence(fail("no plan"), first)).toBeLessThan(1_000);
    expect(silence(ends(aborted), first)).toBeLessThan(1_000);
    expect(silence(fail("exceeded model token limit"), first)).toBeGreaterThan(1_000);
  });

  test("is waited for only where pi does not say it", () => {
    const heard = live(start, prompt, run, says(good));
    const told = (version: string, event: WorkerEvent, life: Life) =>
      silenceAfter(event, next(life, event), untoldBy(version), () => USUAL_RETRIES);
    const settles = ["0.73.1", "0.80.3", "0.80.4", "0.87.1", "1.5.2"];
    expect(settles.map((version) => told(version, ends(good), heard))).toEqual([
      expect.any(Number),
      expect.any(Number),
      "told",
      "told",
      "told",
    ]);
    const fails = ["0.73.1", "0.84.2", "0.84.3", "1.6.0"];
    expect(fails.map((version) => told(version, compacts, live(start)))).toEqual([
      expect.any(Number),
      expect.any(Number),
      "told",
      "told",
    ]);
    // A prompt that has waited for the compaction begins a moment after it.
    for (const version of fails) expect(told(version, compacted, live(start, compacts))).toBeLessThan(1_000);
  });
});
