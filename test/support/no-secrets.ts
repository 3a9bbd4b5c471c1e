/** Fails the run if anything that a program of the suite printed, logged or was given holds a token (vitest's globalSetup). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OUTPUT_VARIABLE, searchTraces } from "./secrets.ts";

export function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "pi-kimi-coder-output-"));
  process.env[OUTPUT_VARIABLE] = folder;
  return () => {
    const { traces, characters, findings } = searchTraces(folder);
    rmSync(folder, { recursive: true, force: true });
    if (findings.length > 0) {
      process.exitCode = 1;
      throw new Error(`Tokens were found in what the tests' programs left behind:\n${findings.join("\n")}`);
    }
    if (traces > 0)
      console.log(`No token in ${traces} outputs (${characters} characters) of the programs run.`);
  };
}
