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
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { slotName } from "../../extensions/credentials/kimi-code.ts";
import { REGIONS } from "../../extensions/region.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";

const RUN = fileURLToPath(new URL("../credentials/support/run.mjs", import.meta.url));
const SCRIPT = fileURLToPath(new URL("support/read-places.ts", import.meta.url));
/** ms for the whole process, in which jiti translates some forty modules. */
const HANGS = 30_000;

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
  ".kimi/device_id",
  ".kimi-code/region",
];

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
  "a link to the terminal": { make: (path) => symlinkSync("/dev/tty", path), said: /EFTYPE|ENXIO/ },
  // Left behind by its owner, as after a crash.
  "a dead socket": {
    make: (path) => {
      const listen = `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))`;
      spawnSync(process.execPath, ["-e", listen, basename(path)], { cwd: dirname(path) });
    },
    said: /ENXIO|EOPNOTSUPP|EFTYPE/,
  },
  "a sparse file of 1 GB": {
    make: (path) => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 30);
    },
    said: /far too large/,
  },
  "a file of zeros": {
    make: (path) => writeFileSync(path, Buffer.alloc(4_096)),
    said: /is not a JSON object/,
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
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [RUN, SCRIPT, home], {
    encoding: "utf8",
    timeout: HANGS,
    killSignal: "SIGKILL",
    env: { PATH: process.env.PATH, HOME: home },
    ...(stranger && isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: "" });
  expect(performance.now() - started).toBeLessThan(HANGS);
  const report: { answers: Record<string, unknown>; ms: number; grown: number } = JSON.parse(stdout);
  return report;
}

describe.each(Object.entries(PLACES))("%s in place of every file", (_, { make, said, stranger = false }) => {
  test("is named or passed over, and left alone", () => {
    const home = temporaryDirectory();
    if (stranger && isRoot) chmodSync(home, 0o755);
    for (const name of FILES) {
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

    const { answers, ms, grown } = readAll(home, stranger);

    const judged = Object.entries(answers).filter(([name]) => / (?:read|replace|update)$/.test(name));
    expect(judged).toHaveLength(12);
    for (const [name, answer] of judged) {
      if (!name.endsWith("read")) expect(answer).toMatchObject({ state: "failed" });
      else expect([name, JSON.stringify(answer)]).toEqual([name, expect.stringMatching(said)]);
    }
    expect(answers).toMatchObject({ memory: { seeded: false, seen: {} }, deviceId: "fresh" });
    expect(answers).toMatchObject({ region: ["kimi.com", "kimi.ai"] });
    for (const name of ["account", "models", "key"]) expect(answers[name]).toBeUndefined();
    expect(ms).toBeLessThan(5_000);
    expect(grown).toBeLessThan(150_000_000);
    expect(FILES.map(identity)).toEqual(before);
    expect(readdirSync(home, { recursive: true }).sort()).toEqual(listed);
  });
});
