/** Exits, or is killed, while its file is a draft. */
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { draftFile } from "../../../extensions/lib/replace-file.ts";

const [path = "", signal] = process.argv.slice(3);
draftFile(path, { mode: 0o600 });
process.stdout.write(`${readdirSync(dirname(path)).length} files\n`);
if (signal) process.kill(process.pid, signal);
process.exit();
