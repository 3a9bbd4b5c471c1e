/**
 * What this extension costs, beside pi alone and beside the alternatives: `npm run bench`.
 * `-- --runs N` rounds (default 15), `--only a,e` parts (h, which needs valgrind, only so), `--quick` only whether it
 * works.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { measureCache } from "./cache.ts";
import { measureFirstRequest } from "./first-request.ts";
import { measureInstructions } from "./instructions.ts";
import { measureRefreshes } from "./refreshes.ts";
import { measureShaping } from "./shaping.ts";
import { measureStartUp } from "./start-up.ts";
import { measureStorm } from "./storm.ts";
import { type Extent, type Row, tableOf } from "./table.ts";

const USUAL_RUNS = "15";

const parts: readonly { readonly letters: string; readonly measure: (extent: Extent) => Promise<Row[]> }[] = [
  { letters: "a", measure: measureStartUp },
  { letters: "bc", measure: measureFirstRequest },
  { letters: "d", measure: measureStorm },
  { letters: "e", measure: measureShaping },
  { letters: "f", measure: measureRefreshes },
  { letters: "g", measure: measureCache },
  { letters: "h", measure: measureInstructions },
];

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: USUAL_RUNS },
    only: { type: "string", default: "abcdefg" },
    quick: { type: "boolean", default: false },
  },
});
const runs = values.quick ? 1 : Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) throw new Error("--runs wants a positive number");

const started = Date.now();
const note = (text: string) =>
  console.error(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${text}`);
const rows: Row[] = [];
for (const { letters, measure } of parts) {
  if (![...letters].some((letter) => values.only.includes(letter))) continue;
  rows.push(...(await measure({ runs, quick: values.quick, note })));
}
console.log(
  `${cpus().length} × ${cpus()[0]?.model.trim()}; medians ± standard error of ${runs} interleaved rounds\n`,
);
console.log(tableOf(rows));
