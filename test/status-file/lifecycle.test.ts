/** The states of an agent, told from any order of events. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BEGINNING,
  INTERRUPTED,
  isBusy,
  type Lifecycle,
  type LifeEvent,
  next,
  type Outcome,
  stateOf,
} from "../../extensions/status-file/lifecycle.ts";
import { contentOf } from "../../extensions/status-file/record.ts";
import { complaints } from "./schema.ts";

const error = { class: "server", message: "Kimi has a server error.", nextAction: "wait" };
const failed: Outcome = { state: "error", error };
const completed: Outcome = { state: "completed" };
const open: LifeEvent = { type: "opened", sessionId: "s", model: "m/1", reloaded: false, waits: true };
const answer: LifeEvent = { type: "said", text: "42", heard: completed };

function live(...events: readonly LifeEvent[]): Lifecycle {
  return events.reduce(next, BEGINNING);
}

/** The states passed, without repetitions. */
function states(...events: readonly LifeEvent[]): string[] {
  const passed = events.map((_, index) => stateOf(live(...events.slice(0, index + 1))));
  return passed.filter((state, index) => state !== passed[index - 1]);
}

describe("the states of an agent", () => {
  test("starting, idle, processing, completed", () => {
    expect(stateOf(BEGINNING)).toBe("starting");
    expect(
      states(
        open,
        { type: "prompted" },
        { type: "running" },
        answer,
        { type: "ended", outcome: completed },
        {
          type: "settled",
        },
      ),
    ).toEqual(["idle", "processing", "completed"]);
  });

  test("print mode goes from starting to processing", () => {
    expect(states({ ...open, waits: false }, { type: "prompted" })).toEqual(["starting", "processing"]);
  });

  test("an attempt that pi repeats is no error, and no new turn", () => {
    const attempts: LifeEvent[] = [
      open,
      { type: "prompted" },
      { type: "running" },
      { type: "said", text: "", heard: failed },
      { type: "ended", outcome: failed },
      { type: "running" },
      answer,
      { type: "ended", outcome: completed },
      { type: "settled" },
    ];
    expect(states(...attempts)).toEqual(["idle", "processing", "completed"]);
    expect(live(...attempts)).toMatchObject({ turn: 1, message: "42" });
    expect(states(...attempts.slice(0, 5), { type: "settled" })).toEqual(["idle", "processing", "error"]);
  });

  test("a compaction is processing, and leaves what was before it", () => {
    const done: LifeEvent[] = [open, { type: "prompted" }, answer, { type: "ended", outcome: completed }];
    expect(
      states(
        ...done,
        { type: "compacting" },
        { type: "compacted" },
        { type: "settled" },
        { type: "compacting" },
        {
          type: "compacted",
        },
      ),
    ).toEqual(["idle", "processing", "completed", "processing", "completed"]);
    expect(states(open, { type: "compacting" }, { type: "settled" })).toEqual(["idle", "processing", "idle"]);
  });

  test("a settled that comes late does not end a run that has begun", () => {
    expect(stateOf(live(open, { type: "prompted" }, { type: "settled" }))).toBe("processing");
  });

  test("a new session is idle at turn 0; a reloaded one stays as it was", () => {
    const done = [
      open,
      { type: "prompted" },
      answer,
      { type: "ended", outcome: completed },
      { type: "closed" },
    ] as const;
    const renewed = live(...done, { ...open, sessionId: "t" });
    expect([stateOf(renewed), renewed.turn, renewed.message]).toEqual(["idle", 0, undefined]);
    const reloaded = live(...done, { ...open, reloaded: true });
    expect([stateOf(reloaded), reloaded.turn, reloaded.message]).toEqual(["completed", 1, "42"]);
  });

  test("the end of the process cuts a turn off, unless its answer was heard", () => {
    const exit: LifeEvent = { type: "exited", at: 1, code: 143 };
    const cut = live(open, { type: "prompted" }, exit);
    expect(cut).toMatchObject({ rest: { state: "error", error: INTERRUPTED }, exit: { at: 1, code: 143 } });
    expect(stateOf(live(open, { type: "prompted" }, answer, exit))).toBe("completed");
    expect(next(cut, { type: "prompted" })).toBe(cut);
  });

  test("an end before any turn is an error where pi says so", () => {
    const early = { ...open, waits: false };
    expect(stateOf(live(early, { type: "exited", at: 1, code: 0 }))).toBe("idle");
    expect(live(early, { type: "exited", at: 1, code: 1 }).rest).toMatchObject({
      error: { class: "not-started" },
    });
  });

  test("a refused prompt is a turn of its own, each time, and takes the last answer away", () => {
    const refused: LifeEvent = { type: "refused", error };
    const once = live(open, { type: "prompted" }, answer, { type: "closed" }, refused);
    expect(once).toMatchObject({ turn: 2, rest: failed, message: undefined });
    expect(stateOf(once)).toBe("error");
    expect(next(once, refused).turn).toBe(3);
    const busy = live(open, { type: "prompted" });
    expect(next(busy, refused)).toBe(busy);
  });

  test("waiting is said while it lasts, from its beginning", () => {
    const waits = live(
      open,
      { type: "prompted" },
      { type: "waiting", note: "1 before this one", at: 5 },
      { type: "waiting", note: "next", at: 9 },
    );
    expect(waits.waiting).toEqual({ note: "next", since: 5 });
    expect(next(waits, { type: "waiting", note: undefined, at: 10 }).waiting).toBeUndefined();
    expect(next(waits, { type: "ended", outcome: failed }).waiting).toBeUndefined();
  });
});

test("any order of events gives a state that keeps to the schema", () => {
  const outcome = fc.constantFrom(completed, failed);
  const at = fc.nat();
  const event: fc.Arbitrary<LifeEvent> = fc.oneof(
    fc.record({
      type: fc.constant("opened" as const),
      sessionId: fc.constantFrom("s", "t"),
      model: fc.constantFrom(undefined, "kimi-coder/a"),
      reloaded: fc.boolean(),
      waits: fc.boolean(),
    }),
    fc.constantFrom<LifeEvent>(
      { type: "prompted" },
      { type: "running" },
      { type: "settled" },
      { type: "refused", error },
      { type: "compacting" },
      { type: "compacted" },
      { type: "closed" },
    ),
    fc.record({
      type: fc.constant("said" as const),
      text: fc.string(),
      heard: fc.constantFrom(undefined, completed, failed),
    }),
    fc.record({ type: fc.constant("ended" as const), outcome }),
    fc.record({ type: fc.constant("model" as const), model: fc.string() }),
    fc.record({
      type: fc.constant("waiting" as const),
      note: fc.option(fc.string(), { nil: undefined }),
      at,
    }),
    fc.record({
      type: fc.constant("exited" as const),
      at,
      code: fc.option(fc.nat(255), { nil: undefined }),
    }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), (events) => {
      let life = BEGINNING;
      for (const one of events) {
        const before = life;
        life = next(life, one);
        const content = contentOf(life, 1, null);
        expect(complaints({ ...content, changedAt: 0, messageFile: null })).toEqual([]);
        expect(content.error !== null).toBe(content.state === "error");
        expect(content.state === "processing").toBe(isBusy(life));
        if (content.exit) expect(content.state).not.toBe("processing");
        if (before.exit && one.type !== "opened") expect(life.exit?.at).toBe(before.exit.at);
        if (one.type === "prompted" && !before.exit) expect(content.state).toBe("processing");
      }
    }),
    { numRuns: 500 },
  );
});
