/** Exits, or is killed, while its file is being forced onto the disk. */
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFile } from "../../../extensions/lib/replace-file.ts";

const [path = "", signal] = process.argv.slice(3);
void replaceFile(path, "new", { mode: 0o600 });
await Promise.resolve();
process.stdout.write(`${readdirSync(dirname(path)).length} files\n`);
if (signal) process.kill(process.pid, signal);
process.exit();
