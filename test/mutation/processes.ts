/**
 * Takes mutation into the processes that a test starts: what they run counts as covered by the test, and a mutant acts in
 * them too. (Instrumented code looks for its mutant in an environment variable where `__stryker__` names none.)
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach } from "vitest";

interface Instrumentation {
  readonly activeMutant?: string;
  readonly currentTestId?: string;
  mutantCoverage?: { readonly static: Counts; readonly perTest: Record<string, Counts> };
}
/** How often each mutant's code ran. */
type Counts = Record<string, number>;

declare global {
  var __stryker__: Instrumentation | undefined;
}

const NODE_OPTIONS = `--require=${fileURLToPath(new URL("child.cjs", import.meta.url))}`;

beforeEach(() => {
  const { activeMutant, currentTestId } = globalThis.__stryker__ ?? {};
  if (activeMutant !== undefined) {
    return withVariables({ NODE_OPTIONS, __STRYKER_ACTIVE_MUTANT__: activeMutant });
  }
  if (currentTestId === undefined) return;
  const folder = mkdtempSync(join(tmpdir(), "covered-"));
  const restore = withVariables({ NODE_OPTIONS, COVERED: folder });
  return () => {
    restore();
    for (const name of readdirSync(folder)) {
      count(currentTestId, JSON.parse(readFileSync(join(folder, name), "utf8")));
    }
    rmSync(folder, { recursive: true });
  };
});

function withVariables(variables: Record<string, string>): () => void {
  Object.assign(process.env, variables);
  return () => {
    for (const name of Object.keys(variables)) delete process.env[name];
  };
}

function count(test: string, counts: Counts): void {
  globalThis.__stryker__ ??= {};
  globalThis.__stryker__.mutantCoverage ??= { static: {}, perTest: {} };
  const { perTest } = globalThis.__stryker__.mutantCoverage;
  const own = perTest[test] ?? {};
  for (const [mutant, times] of Object.entries(counts)) own[mutant] = (own[mutant] ?? 0) + times;
  perTest[test] = own;
}
