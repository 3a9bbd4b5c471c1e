/** Overwrites a file by more than the process may write into one, or rehearses to. */
import {
  rehearseWrite,
  writeFileAtomically,
  writeFileAtomicallySync,
} from "../../../extensions/credentials/file.ts";

// The signal would otherwise end the process, which a full disk does not.
process.on("SIGXFSZ", () => {});

const [path = "", how = ""] = process.argv.slice(3);
const text = "x".repeat(100_000);
const WAYS: Record<string, () => unknown> = {
  async: () => writeFileAtomically(path, text, { mode: 0o600 }),
  sync: () => writeFileAtomicallySync(path, text, { mode: 0o600 }),
  rehearsal: () => rehearseWrite(path, text.length, { mode: 0o600 }),
};
console.log(JSON.stringify(await WAYS[how]?.()));
