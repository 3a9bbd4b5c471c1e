/**
 * A process that takes a lock of ours: `hold` until it is told to let go, `exit` while holding it, or `count` in a file
 * `times` over. What it does to the counter is deliberately not atomic. With PLATFORM it takes itself to be there.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { lockDirectory } from "../../../extensions/credentials/directory-lock.ts";
import { lockFile } from "../../../extensions/credentials/flock.ts";
import { takeLocks } from "../../../extensions/credentials/locks.ts";
import { lockOwnerFileAmongUs } from "../../../extensions/credentials/owner-file-lock.ts";
import type { CredentialStore, Release } from "../../../extensions/credentials/store.ts";
import {
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiFullStore,
} from "../../../extensions/credentials/stores.ts";
import { USUAL_HOSTS } from "./homes.ts";

if (process.env.PLATFORM) Object.defineProperty(process, "platform", { value: process.env.PLATFORM });
const [task, kind = "", place = "", counter = "", times = ""] = process.argv.slice(3);
const PATIENCE = { timeout: 50_000 };
const STORES: Record<string, (place: string) => CredentialStore> = {
  "kimi-cli": kimiCliStore,
  "kimi-code": (home) => kimiCodeStore(home, USUAL_HOSTS),
  opencode: opencodeKimiFullStore,
};

function take() {
  switch (kind) {
    case "flock":
      return lockFile(place, PATIENCE);
    case "directory":
      return lockDirectory(place, 5_000, PATIENCE);
    case "among us":
      return lockOwnerFileAmongUs(place, PATIENCE);
    default: {
      const store = STORES[kind]?.(place);
      if (!store) throw new Error(`no such lock: ${kind}`);
      return takeLocks(store, PATIENCE);
    }
  }
}

async function taken(): Promise<Release> {
  const outcome = await take();
  if (outcome.state !== "held") throw new Error(JSON.stringify(outcome));
  return outcome.release;
}

if (task === "hold") {
  const release = await taken();
  console.log("held");
  for await (const _ of createInterface({ input: process.stdin })) break;
  await release();
  console.log("released");
  process.exit(0);
} else if (task === "exit") {
  await taken();
  process.exit(0);
} else {
  for (let i = 0; i < Number(times); i++) {
    const release = await taken();
    mkdirSync(`${counter}.inside`); // fails when somebody else is inside
    const value = Number(readFileSync(counter, "utf8"));
    await new Promise(setImmediate);
    writeFileSync(counter, String(value + 1));
    rmdirSync(`${counter}.inside`);
    await release();
  }
}
