/** A process that writes auth.json over and over: as pi does (`pi <key>`), or as we do (`ours`). */

import { AuthStorage } from "@mariozechner/pi-coding-agent";
import { mirror } from "../../../extensions/credentials/mirror.ts";
import { readPiEntry } from "../../../extensions/credentials/pi-entry.ts";
import { kimiCliStore } from "../../../extensions/credentials/stores.ts";

const [path = "", who = "", times = ""] = process.argv.slice(3);
for (let i = 1; i <= Number(times); i++) {
  if (who === "ours") {
    const token = {
      accessToken: `access-${i}`,
      refreshToken: `refresh-${i}`,
      expiresAt: 1_800_000_000_000 + i,
      lifetime: 900_000,
      scope: undefined,
      tokenType: undefined,
    };
    const files = { authPath: path, memoryPath: `${path}.memory` };
    const outcome = await mirror(files, kimiCliStore("/store"), token, await readPiEntry(path));
    if (outcome.state !== "written") throw new Error(JSON.stringify(outcome));
  } else {
    // pi gives up on a lock after 200 ms and keeps the error to itself.
    for (let written = false; !written; ) {
      const storage = AuthStorage.create(path);
      storage.set(`${who}-${i}`, { type: "api_key", key: `key-${i}` });
      written = storage.drainErrors().length === 0;
    }
  }
}
console.log("done");
process.exit(0);
