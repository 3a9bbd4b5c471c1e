/** Overwrites a file once for each fault on its standard input's list, and says what came of it. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { writeFileAtomically, writeFileAtomicallySync } from "../../../extensions/credentials/file.ts";

const [path = "", faults = "[]"] = process.argv.slice(3);
for (const { call, code, sync } of JSON.parse(faults)) {
  writeFileSync(path, "old");
  Object.assign(globalThis, { fault: { call, code } });
  const options = { mode: 0o600, directoryMode: 0o700 };
  const outcome = sync
    ? writeFileAtomicallySync(path, "new", options)
    : await writeFileAtomically(path, "new", options);
  const missed = Reflect.get(globalThis, "fault") !== undefined;
  Object.assign(globalThis, { fault: undefined });
  const text = readFileSync(path, "utf8");
  console.log(JSON.stringify({ outcome, missed, text, files: readdirSync(dirname(path)) }));
}
