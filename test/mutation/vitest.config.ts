import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** A mutant's first failing test ends its run, so what is short comes first. */
class ShortestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).reverse();
  }
}

/**
 * The unit tests of what is mutated. Without the two that look for the unexpected by the minute, since a mutant has
 * many; and without the one that sets the umask, which Stryker's worker threads cannot.
 */
export default defineConfig({
  test: {
    include: ["test/{oauth,credentials}/*.test.ts"],
    exclude: ["soak", "any-interleaving", "umask"].map((name) => `test/credentials/${name}.test.ts`),
    setupFiles: ["test/mutation/processes.ts"],
    sequence: { sequencer: ShortestFirst },
    testTimeout: 60_000,
  },
});
