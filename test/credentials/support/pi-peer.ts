/** A process that writes auth.json over and over: as pi does (`pi <key>`), or as we do (`ours`). */

import { AuthStorage } from "@mariozechner/pi-coding-agent";
import { piAuth } from "../../../extensions/credentials/pi-auth.ts";
import { mirrorInto } from "./mirror.ts";

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
    const outcome = await mirrorInto(
      piAuth({ path, timeout: 30_000 }),
      token,
      { owner: "kimi-cli", path: "/store" },
      true,
    );
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
