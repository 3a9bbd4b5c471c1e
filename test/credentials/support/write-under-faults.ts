/** Overwrites a file once for each case on its list, under the faults it names, and says what came of it. */
import { chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFile } from "../../../extensions/lib/replace-file.ts";

const [path = "", cases = "[]"] = process.argv.slice(3);
const countOpen = () => readdirSync("/dev/fd").length;
for (const { faults, old = "old", owner } of JSON.parse(cases)) {
  writeFileSync(path, old);
  if (owner) chownSync(path, owner, owner);
  const open = countOpen();
  Object.assign(globalThis, { faults: [...faults] });
  const outcome = replaceFile(path, "new", { mode: 0o600, directoryMode: 0o700 });
  const missed = Reflect.get(globalThis, "faults").length;
  Object.assign(globalThis, { faults: [] });
  const text = readFileSync(path, "utf8");
  const leaked = countOpen() - open;
  const { uid, gid } = statSync(path);
  const files = readdirSync(dirname(path));
  const result = { outcome, missed, text, files, ...(owner && { uid, gid }), ...(leaked && { leaked }) };
  console.log(JSON.stringify(result));
}
