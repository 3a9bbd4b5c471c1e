/** Takes opencode's lock once for each case on its list, under the faults it names, and says what came of it. */
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { lockOwnerFile } from "../../../extensions/credentials/owner-file-lock.ts";

const beats: (() => void)[] = [];
Object.assign(globalThis, {
  setInterval(beat: () => void) {
    beats.push(beat);
    return { unref: () => undefined };
  },
});

const [cases = "[]"] = process.argv.slice(3);
for (const { folder, faults, atBeat = [] } of JSON.parse(cases)) {
  Object.assign(globalThis, { faults: [...faults] });
  const { release: _, ...outcome } = {
    release: undefined,
    ...(await lockOwnerFile(folder, 120_000, { timeout: 0 })),
  };
  Object.assign(globalThis, { faults: [...atBeat] });
  beats.pop()?.();
  Object.assign(globalThis, { faults: [] });
  const files = readdirSync(dirname(folder), { recursive: true }).sort();
  console.log(JSON.stringify({ outcome, files }));
}
