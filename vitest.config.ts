/**
 * `npm test` runs the project `quick`: everything but what is `long` or `measured`. `npm run test:full` runs those two, and
 * `counted`: what of `quick` tries more cases with TEST_COUNTS=full.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

/** Each starts many programs, waits for time limits, installs, or tries thousands of inputs. */
const long = [
  "test/e2e/**/*.test.ts",
  "test/hostile/**/*.test.ts",
  "test/conformance/**/*.test.ts",
  "test/demo.test.ts",
  "test/pictures.test.ts",
];
/** Times or memory are measured, so nothing else runs beside them. */
const measured = ["test/bench.test.ts", "test/e2e/memory.test.ts", "test/e2e/faults-under-load.test.ts"];
/** They take the number of their cases from test/support/counts.ts. */
const counted = testFiles("test").filter((file) => readFileSync(file, "utf8").includes("/counts.ts"));

export default defineConfig({
  test: {
    globalSetup: ["test/support/no-secrets.ts"],
    projects: [
      project("quick", ["test/**/*.test.ts"], [...long, ...measured]),
      project("counted", counted, [...long, ...measured]),
      project("long", long, measured),
      project("measured", measured, [], { maxWorkers: 1, sequence: { groupOrder: 1 } }),
    ],
  },
});

function project(
  name: string,
  include: readonly string[],
  exclude: readonly string[] = [],
  more: TestProjectInlineConfiguration["test"] = {},
): TestProjectInlineConfiguration {
  return {
    test: {
      name,
      include: [...include],
      exclude: [...configDefaults.exclude, ...exclude],
      // CI may be five times slower than a developer's machine.
      testTimeout: 180_000,
      hookTimeout: 120_000,
      // One a core: many tests wait for programs more than they compute.
      maxWorkers: "100%",
      ...more,
    },
  };
}

function testFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : testFiles(path);
    return path.endsWith(".test.ts") ? [path] : [];
  });
}
