/** Waits so many ms for a line, and says which came first: the line, or the end of its patience. */
import { createInterface } from "node:readline";
import { afterAwake } from "../../../extensions/lib/clock.ts";

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => end(`heard: ${line}`));
afterAwake(Number(process.argv[3]), () => end("over"));
console.log("waiting");

function end(said: string): void {
  console.log(said);
  process.exit(0);
}
