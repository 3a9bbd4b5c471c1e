/** Overwrites a file once for each case on its list, under the faults it names, and says what came of it. */
import { chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import {
  rehearseWrite,
  writeFileAtomically,
  writeFileAtomicallySync,
} from "../../../extensions/credentials/file.ts";

const [path = "", cases = "[]"] = process.argv.slice(3);
const options = { mode: 0o600, directoryMode: 0o700 };
const WAYS: Record<string, () => unknown> = {
  async: () => writeFileAtomically(path, "new", options),
  sync: () => writeFileAtomicallySync(path, "new", options),
  rehearsal: () => rehearseWrite(path, 3, options),
};
for (const { how, faults, old = "old", owner } of JSON.parse(cases)) {
  writeFileSync(path, old);
  if (owner) chownSync(path, owner, owner);
  Object.assign(globalThis, { faults: [...faults] });
  const outcome = await WAYS[how]?.();
  const missed = Reflect.get(globalThis, "faults").length;
  Object.assign(globalThis, { faults: [] });
  const text = readFileSync(path, "utf8");
  const { uid } = statSync(path);
  console.log(
    JSON.stringify({ outcome, missed, text, files: readdirSync(dirname(path)), ...(owner && { uid }) }),
  );
}
