/** Overwrites a file by more than the process may write into one. */
import { replaceFile, replaceFileSync } from "../../../extensions/lib/replace-file.ts";

// The signal would otherwise end the process, which a full disk does not.
process.on("SIGXFSZ", () => {});

const [path = "", how = ""] = process.argv.slice(3);
const text = "x".repeat(100_000);
const WAYS: Record<string, () => unknown> = {
  async: () => replaceFile(path, text, { mode: 0o600 }),
  sync: () => replaceFileSync(path, text, { mode: 0o600 }),
};
console.log(JSON.stringify(await WAYS[how]?.()));
