/** A process that asks for a flock with one file left to open, then with two, and so on; it says what it was told. */
import { closeSync, openSync } from "node:fs";
import { lockFile } from "../../../extensions/credentials/flock.ts";

const [path = ""] = process.argv.slice(3);
for (let left = 0; left <= 8; left++) {
  const open: number[] = [];
  try {
    for (;;) open.push(openSync("/dev/null", "r"));
  } catch {
    for (const file of open.splice(0, left)) closeSync(file);
  }
  const outcome = await lockFile(path, { timeout: 0 });
  if (outcome.state === "held") await outcome.release();
  for (const file of open) closeSync(file);
  console.log(outcome.state === "failed" ? outcome.code : outcome.state);
}
process.exit(0);
