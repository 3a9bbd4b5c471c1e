/** Ten thousand hostile cases for one parser: the seed is said, may be chosen with SEED, and no case takes long. */
import fc from "fast-check";
import { expect, test } from "vitest";

/** For every group of one run. */
export const SEED = process.env.SEED === undefined ? Date.now() & 0x7fffffff : Number(process.env.SEED);
export const CASES = 10_000;
/** For the slowest of all cases, ms: a parser that is quadratic takes many times that, a busy machine does not. */
const SLOWEST = 3_000;
/** For all cases together, ms: what bounds them is SLOWEST. */
const PATIENCE = 300_000;

console.log(`test/hostile: SEED=${SEED}`);

// biome-ignore lint/suspicious/noConfusingVoidType: a judge that says nothing returns nothing.
type Verdict = boolean | void;

/**
 * A test that `judge` throws for none of `CASES` values. Where it gives a boolean, that says whether there was something
 * to judge, and of 50 cases at least one must have had it: a parser that finds nothing would pass otherwise.
 */
export function survives<T>(
  name: string,
  value: fc.Arbitrary<T>,
  judge: (value: T) => Verdict | Promise<Verdict>,
): void {
  test(
    `${name} (${CASES} cases)`,
    async () => {
      let ran = 0;
      let empty = 0;
      await fc.assert(
        fc.asyncProperty(value, async (one) => {
          const before = performance.now();
          if ((await judge(one)) === false) empty += 1;
          ran += 1;
          expect(performance.now() - before).toBeLessThan(SLOWEST);
        }),
        { numRuns: CASES, seed: SEED },
      );
      expect(CASES - empty).toBeGreaterThan(CASES / 50);
      expect(ran).toBeGreaterThanOrEqual(CASES);
    },
    PATIENCE,
  );
}
