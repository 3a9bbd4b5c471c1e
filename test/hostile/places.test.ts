/**
 * Whatever stands where a file should be: nothing hangs, nothing of it is changed, and little memory is used. Read in a
 * process of its own, which is killed when it hangs.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { lockOwnerFile } from "../../extensions/credentials/owner-file-lock.ts";
import { slotName } from "../../extensions/credentials/stores.ts";
import { REGIONS } from "../../extensions/region.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { moduleRunner, translatedOnce } from "../credentials/support/processes.ts";
import { canRead } from "../support/other-user.ts";

const SCRIPT = fileURLToPath(new URL("support/read-places.ts", import.meta.url));
/** ms for the whole process: it takes 3 s where nothing hangs, five times that on a slow and busy machine. */
const HANGS = 60_000;

const slot = (region: "kimi.com" | "kimi.ai") => slotName(REGIONS[region].oauthHost, REGIONS[region].baseUrl);
/** Every file that is read. */
const FILES = [
  ".kimi/credentials/kimi-code.json",
  `.kimi-code/credentials/${slot("kimi.com")}.json`,
  `.kimi-code/credentials/${slot("kimi.ai")}.json`,
  ".local/share/opencode/auth.json",
  ".opencode-kimi-auth/oauth.json",
  ".pi/agent/auth.json",
  ".pi/agent/settings.json",
  ".pi/agent/kimi-coder.json",
  ".pi/agent/kimi-coder-models.json",
  ".pi/agent/kimi-coder-usage.json",
  ".pi/agent/kimi-coder-status/a.json",
  ".kimi/device_id",
  ".kimi-code/region",
  // What the doctor looks at beside.
  "work/.pi/settings.json",
  ".kimi/credentials/kimi-code.lock",
  ".kimi/credentials/kimi-code.pi.flock",
  ".local/share/opencode/auth.json.kimi-for-coding-oauth.refresh.lock/owner.json",
];
/** Every folder that is listed. */
const FOLDERS = [".local/state/kimi-coder-requests/account", ".pi/agent/extensions", "work/.pi/extensions"];

const isRoot = process.getuid?.() === 0;
/** Somebody who owns nothing here; only root can become it. */
const NOBODY = 65_534;

interface Place {
  readonly make: (path: string) => void;
  /** What the stores say of it. */
  readonly said: RegExp;
  /** Whether it is read by somebody who must not. */
  readonly stranger?: boolean;
}

const PLACES: Record<string, Place> = {
  "a FIFO": { make: (path) => execFileSync("mkfifo", [path]), said: /EFTYPE|ENXIO/ },
  "a directory": { make: (path) => mkdirSync(path), said: /EISDIR/ },
  "a loop of symlinks": { make: (path) => symlinkSync(path, path), said: /ELOOP/ },
  "a link to an endless device": { make: (path) => symlinkSync("/dev/zero", path), said: /EFTYPE/ },
  "a sparse file of 1 GB": {
    make: (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 30);
    },
    said: /far too large/,
  },
  "a file without permission": {
    make: (path) => writeFileSync(path, "{}", { mode: 0 }),
    said: /EACCES/,
    stranger: true,
  },
  "100,000 levels": {
    make: (path) => writeFileSync(path, `${"[".repeat(100_000)}${"]".repeat(100_000)}`),
    said: /is not a JSON object/,
  },
};

function readAll(home: string, stranger: boolean) {
  const started = performance.now();
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [moduleRunner, SCRIPT, home], {
    encoding: "utf8",
    timeout: HANGS,
    killSignal: "SIGKILL",
    env: { ...translatedOnce, PATH: process.env.PATH, HOME: home },
    ...(stranger && isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: "" });
  expect(performance.now() - started).toBeLessThan(HANGS);
  const report: { answers: Record<string, unknown>; grown: number } = JSON.parse(stdout);
  return report;
}

/** Everybody else must be able to read this checkout, and every folder above it. */
const hasStranger = !isRoot || canRead(NOBODY, SCRIPT);
if (!hasStranger)
  console.warn("Not tested here: a file without permission (only root can read this checkout).");
const places = Object.entries(PLACES).filter(([, { stranger }]) => hasStranger || !stranger);

describe.each(places)("%s in place of every file", (_, { make, said, stranger = false }) => {
  test("is named or passed over, and left alone", () => {
    const home = temporaryDirectory();
    if (stranger && isRoot) chmodSync(home, 0o755);
    for (const name of [...FILES, ...FOLDERS]) {
      const path = join(home, name);
      mkdirSync(dirname(path), { recursive: true });
      make(path);
    }
    const identity = (name: string) => {
      const { ino, mode, size } = lstatSync(join(home, name));
      return { ino, mode, size };
    };
    const before = FILES.map(identity);
    const listed = readdirSync(home, { recursive: true }).sort();

    const { answers, grown } = readAll(home, stranger);

    const judged = Object.entries(answers).filter(([name]) => / (?:read|write|mirror)$/.test(name));
    expect(judged).toHaveLength(12);
    for (const [name, answer] of judged) {
      if (!name.endsWith("read")) expect(answer).toMatchObject({ state: "failed" });
      else expect([name, JSON.stringify(answer)]).toEqual([name, expect.stringMatching(said)]);
    }
    expect(answers).toMatchObject({ memory: false, deviceId: "fresh" });
    expect(answers).toMatchObject({ offered: ["kimi.com", "kimi.ai"], listAtStart: [] });
    for (const name of ["models", "key", "figures"]) expect(answers[name]).toBeUndefined();
    expect(answers).toMatchObject({ waited: false });
    expect(answers.publish).toMatch(/ cannot be written \([a-zA-Z ]+\);/);
    expect(answers.doctor).toContainEqual(
      expect.stringMatching(/^(?:✗|–) Lock .*refresh\.lock: |^– Quota: /),
    );
    expect(grown).toBeLessThan(150_000_000);
    expect(FILES.map(identity)).toEqual(before);
    expect(readdirSync(home, { recursive: true }).sort()).toEqual(listed);
  });
});

test("a FIFO in place of owner.json holds up nobody who lets go of opencode's lock", async () => {
  const folder = join(temporaryDirectory(), "lock");
  const lock = await lockOwnerFile(folder, 120_000, { timeout: 1_000 });
  if (lock.state !== "held") throw new Error("it is free");
  const owner = join(folder, "owner.json");
  rmSync(owner);
  execFileSync("mkfifo", [owner]);
  await lock.release();
  // Whoever put it there holds the lock now.
  expect(lstatSync(owner).isFIFO()).toBe(true);
});
