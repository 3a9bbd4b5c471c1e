/** Overwrites a file by more than the process may write into one. */
import { writeFileAtomically, writeFileAtomicallySync } from "../../../extensions/credentials/file.ts";

// write-file-atomic's signal-exit would otherwise end the process with this signal, sooner or later.
process.on("SIGXFSZ", () => {});

const [path = "", how] = process.argv.slice(3);
const write = how === "sync" ? writeFileAtomicallySync : writeFileAtomically;
console.log(JSON.stringify(await write(path, "x".repeat(100_000), { mode: 0o600 })));
