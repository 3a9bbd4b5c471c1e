/** Overwrites a file by more than the process may write into one. */
import { replaceFile } from "../../../extensions/lib/replace-file.ts";

// The signal would otherwise end the process, which a full disk does not.
process.on("SIGXFSZ", () => {});

const [path = ""] = process.argv.slice(3);
console.log(JSON.stringify(replaceFile(path, "x".repeat(100_000), { mode: 0o600 })));
