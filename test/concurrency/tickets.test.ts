import { describe, expect, test } from "vitest";
import { draw, type Operation, runSteps, tryToEnter } from "../../extensions/concurrency/tickets.ts";
import { play, seeded } from "./support/queue.ts";

/** Another one on each run; a failure names the one to set here. */
const SEED = Date.now() % 1_000_000;
const SCENES = 1_500;

function scenes(name: string, odds: { readonly death: number; readonly refusal: number }) {
  test(`${name}: never more than the limit, nobody overtaken, all served, nothing left (seed ${SEED})`, () => {
    let full = 0;
    for (let index = 0; index < SCENES; index++) {
      const random = seeded(SEED + index);
      const workers = 2 + Math.floor(random() * 7);
      const limit = 1 + Math.floor(random() * 3);
      const { mostInside, ...outcome } = play({ workers, limit, ...odds, random });
      const where = `seed ${SEED + index}: ${workers} workers, limit ${limit}`;
      expect(mostInside, where).toBeLessThanOrEqual(limit);
      expect(outcome, where).toEqual({ overtaken: 0, finished: true, left: [] });
      if (mostInside === limit) full += 1;
    }
    // A guard that lets in too few would pass all of the above.
    expect(full).toBeGreaterThan(SCENES / 2);
  });
}

describe("requests interleaved at random", () => {
  scenes("without accidents", { death: 0, refusal: 0 });
  scenes("with processes that are killed", { death: 0.01, refusal: 0 });
  scenes("with requests that are refused and wait again", { death: 0.005, refusal: 0.3 });
});

test("a place counts whatever its number: the limit may be learned when more were let in", () => {
  const names = new Set<string>();
  const perform = ({ operation, ...rest }: Operation) => {
    if (operation === "list") return [...names];
    if ("name" in rest) names[operation === "create" ? "add" : "delete"](rest.name);
    return [];
  };
  const rules = (limit: number | undefined) => () => ({ limit, pausedUntil: undefined });
  const [first, second, third] = ["a", "b", "c"].map((id) => runSteps(draw(id), perform));
  if (!first || !second || !third) throw new Error("three were drawn");
  const look = (ticket: typeof first, limit: number | undefined) =>
    runSteps(
      tryToEnter(ticket, rules(limit), () => false),
      perform,
    );
  expect(look(second, undefined)).toEqual({ state: "entered" });
  expect(look(third, undefined)).toEqual({ state: "entered" });
  expect(look(first, 1)).toEqual({ state: "waiting", position: 2 });
});
