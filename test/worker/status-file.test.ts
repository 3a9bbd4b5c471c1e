/** Where the status file is, whose it is, and how it is written. */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { asksForStatus, loginRefusal } from "../../extensions/configuration.ts";
import { BEGINNING, contentOf, type Life } from "../../extensions/worker/record.ts";
import { claim, OWNER_VARIABLE, openStatusFile, statusPath } from "../../extensions/worker/status-file.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder, "s.json");
});

const done: Life = { ...BEGINNING, sessionId: "s", turn: 1, rest: { state: "completed" } };
const files = () => readdirSync(folder).sort();

test.each([
  [{}, undefined],
  [{ KIMI_CODER_STATUS_FILE: " " }, undefined],
  [{ KIMI_CODER_STATUS_FILE: "/run/a.json", CAO_TERMINAL_ID: "ab" }, "/run/a.json"],
  [{ KIMI_CODER_STATUS_FILE: "a.json" }, "/project/a.json"],
  [{ KIMI_CODER_STATUS_FILE: "~/a.json" }, "/home/a/a.json"],
  [{ CAO_TERMINAL_ID: "ab12-cd.3" }, "/home/a/.pi/agent/kimi-coder-status/ab12-cd.3.json"],
  [{ CAO_TERMINAL_ID: "../../evil" }, "/home/a/.pi/agent/kimi-coder-status/evil.json"],
  [{ CAO_TERMINAL_ID: ".." }, "/home/a/.pi/agent/kimi-coder-status/...json"],
])("the path for %j is %s", (env, expected) => {
  const surroundings = { home: "/home/a", cwd: "/project", agentDir: "/home/a/.pi/agent" };
  expect(statusPath(env, surroundings)).toBe(expected);
  expect(asksForStatus(env)).toBe(expected !== undefined);
});

test("a login is refused where nobody is there", () => {
  // In a terminal pi has a screen in text mode too.
  for (const words of [[], ["--mode", "text"]]) expect(loginRefusal({}, words, true)).toBeUndefined();
  for (const words of [["-p"], ["--print"], ["--mode", "json"], ["--mode", "rpc"]])
    expect(loginRefusal({}, words, true)).toContain("start pi in a terminal");
  expect(loginRefusal({}, [], false)).toContain("start pi in a terminal");
  expect(loginRefusal({ CAO_TERMINAL_ID: "a" }, [], true)).toContain("status file");
});

test("the file belongs to the first of a family of processes, as long as it lives", () => {
  const own = `${process.pid}:/a`;
  const above = `${process.ppid}:/a`;
  const claimed = (mark: string | undefined, path = "/a") => {
    const env = { [OWNER_VARIABLE]: mark };
    return { is: claim(env, path), mark: env[OWNER_VARIABLE] };
  };
  expect(claimed(undefined)).toEqual({ is: true, mark: own });
  expect(claimed(own)).toEqual({ is: true, mark: own });
  expect(claimed(above)).toEqual({ is: false, mark: above });
  expect(claimed("2147483647:/a")).toEqual({ is: true, mark: own });
  expect(claimed(above, "/b")).toEqual({ is: true, mark: `${process.pid}:/b` });
});

describe("writing", () => {
  test("removes the long message of a pi that was killed", () => {
    const life = { ...done, message: "x".repeat(9_000) };
    openStatusFile(path)(contentOf(life, 6));
    expect(files()).toEqual(["s.json", "s.json.message.txt"]);
    openStatusFile(path)(contentOf(BEGINNING, 7));
    expect(files()).toEqual(["s.json"]);
  });

  test("an empty file, as mktemp makes it, is there to be written", () => {
    writeFileSync(path, "");
    expect(openStatusFile(path)(contentOf(done, 7))).toBeUndefined();
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ state: "completed" });
  });

  test("keeps the beginning of a long message whose own file cannot be written", () => {
    mkdirSync(`${path}.message.txt`);
    const complaint = openStatusFile(path)(contentOf({ ...done, message: "€".repeat(5_000) }, 7));
    expect(complaint).toContain("(EISDIR)");
    const record = JSON.parse(readFileSync(path, "utf8"));
    expect(record).toMatchObject({ state: "completed", messageFile: null });
    expect(record.message).toMatch(/^€+…$/);
    const length = Buffer.byteLength(record.message);
    expect(length).toBeLessThanOrEqual(8_192);
    expect(length).toBeGreaterThan(8_192 - 4);
    expect(files()).toEqual(["s.json", "s.json.message.txt"]);
  });
});

describe("what another user could have planted is left alone:", () => {
  const write = (at = path, uid?: number) => openStatusFile(at, uid)(contentOf(BEGINNING, 7));

  test("a link, to a status file or to nothing yet", () => {
    const target = join(folder, "target");
    symlinkSync(target, path);
    expect(write()).toContain("(it is a link); name another");
    expect(files()).toEqual(["s.json"]);
    write(target);
    const before = readFileSync(target, "utf8");
    expect(write()).toContain("(it is a link); name another");
    expect(readFileSync(target, "utf8")).toBe(before);
  });

  test("a file of another user, even an empty one", () => {
    writeFileSync(path, "");
    expect(write(path, statSync(path).uid + 1)).toContain("(it belongs to another user); name another");
    expect(readFileSync(path, "utf8")).toBe("");
  });

  test.each([
    ["0777", true],
    ["1777", false],
    ["0775", false],
  ])("nothing is written into a folder of mode %s: %s", (folderMode, isRefused) => {
    chmodSync(folder, Number.parseInt(folderMode, 8));
    const open = expect.stringContaining("(every user can replace it in this folder); name another");
    for (const name of ["s.json", "new/s.json"])
      expect(write(join(folder, name))).toEqual(isRefused ? open : undefined);
    expect(files()).toEqual(isRefused ? [] : ["new", "s.json"]);
  });

  test("nor into a sticky folder of another user, who can replace it there", () => {
    chmodSync(folder, 0o1777);
    const { uid } = statSync(folder);
    // Root's, as /tmp is, is nobody's.
    const said = uid === 0 ? undefined : expect.stringContaining("every user can replace it");
    expect(write(path, uid + 1)).toEqual(said);
  });
});
