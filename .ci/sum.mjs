/** `node sum.mjs (<report of vitest> <exit code>)…`: prints "N passed, N failed", the sum of all runs. */
import { existsSync, readFileSync } from "node:fs";

let passed = 0;
let failed = 0;
const words = process.argv.slice(2);
for (let index = 0; index < words.length; index += 2) {
  const [file, exitCode] = [words[index], words[index + 1]];
  const report = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
  passed += report?.numPassedTests ?? 0;
  const failedTests = report?.numFailedTests ?? 0;
  // Types, lint, a file that cannot be loaded and a token in the output fail a run without a failed test.
  failed += failedTests === 0 && exitCode !== "0" ? 1 : failedTests;
}
console.log(`${passed} passed, ${failed} failed`);
