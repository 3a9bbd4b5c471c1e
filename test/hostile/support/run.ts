/** How a module is run in a process of its own: quickly, for there are many. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

/** What `node` is given first, and an environment for it. */
export function prepareRun(): { readonly run: string; readonly env: Readonly<Record<string, string>> } {
  const cache = mkdtempSync(join(tmpdir(), "pi-kimi-hostile-jiti-"));
  afterAll(() => rmSync(cache, { recursive: true, force: true }));
  return {
    run: fileURLToPath(new URL("../../credentials/support/run.mjs", import.meta.url)),
    env: { JITI_CACHE: cache },
  };
}
