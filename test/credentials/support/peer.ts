/**
 * A process that takes one of our locks: `hold` until it is told to let go, `exit` while holding it, or `count` in a file `times` over. What it
 * does to the counter is deliberately not atomic.
 */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { lockDirectory } from "../../../extensions/credentials/directory-lock.ts";
import { lockFile } from "../../../extensions/credentials/flock.ts";
import { kimiCliStore } from "../../../extensions/credentials/kimi-cli.ts";
import { kimiCodeStore } from "../../../extensions/credentials/kimi-code.ts";
import { opencodeKimiFullStore } from "../../../extensions/credentials/opencode-kimi-full.ts";
import type { CredentialStore, LockOutcome } from "../../../extensions/credentials/store.ts";

const [task, kind = "", place = "", counter = "", times = ""] = process.argv.slice(3);
const TIMEOUT = 50_000;

function take(): Promise<LockOutcome> {
  switch (kind) {
    case "flock":
      return lockFile(place, TIMEOUT);
    case "directory":
      return lockDirectory(place, { stale: 5_000, update: 1_000 }, TIMEOUT);
    case "opencode":
      return takeBoth(opencodeKimiFullStore({ data: place }));
    case "kimi-cli":
      return kimiCliStore({ share: place }).lockAmongPi(TIMEOUT);
    case "kimi-code":
      return kimiCodeStore({
        home: place,
        oauthHost: "https://auth.kimi.com",
        baseUrl: "https://api.kimi.com/coding/v1",
      }).lockOfOwner(TIMEOUT);
    default:
      throw new Error(`no such lock: ${kind}`);
  }
}

/** As a renewal takes them. */
async function takeBoth(store: CredentialStore): Promise<LockOutcome> {
  const outer = await store.lockAmongPi(TIMEOUT);
  if (outer.state !== "held") return outer;
  const inner = await store.lockOfOwner(TIMEOUT);
  if (inner.state !== "held") return inner;
  return { state: "held", release: () => inner.release().then(outer.release) };
}

async function taken(): Promise<() => Promise<void>> {
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
