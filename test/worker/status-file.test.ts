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
import { claim, OWNER_VARIABLE, statusPath } from "../../extensions/worker/place.ts";
import { openStatusFile, type StatusFileParts, sayUnwritable } from "../../extensions/worker/publish.ts";
import { BEGINNING, contentOf, type Life } from "../../extensions/worker/record.ts";
import { temporaryDirectory } from "../credentials/support/homes.ts";
import { complaints } from "./schema.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder, "s.json");
});

const done: Life = { ...BEGINNING, sessionId: "s", turn: 1, rest: { state: "completed" } };
const mode = (name: string) => (statSync(name).mode & 0o777).toString(8);

function open(said: string[] = [], other: Partial<StatusFileParts> = {}) {
  return openStatusFile({
    path,
    message: undefined,
    now: () => 1_000,
    warn: (sentence) => said.push(sentence),
    ...other,
  });
}

/** What is said where two states are written; the second one is no second warning. */
function refusal(other: Partial<StatusFileParts> = {}): string[] {
  const said: string[] = [];
  const publish = open(said, other);
  publish(contentOf(BEGINNING, 7));
  publish(contentOf(done, 7));
  return said;
}

describe("the path", () => {
  const surroundings = { home: "/home/a", cwd: "/project", agentDir: "/home/a/.pi/agent" };

  test.each([
    [{}, undefined],
    [{ KIMI_CODER_STATUS_FILE: " " }, undefined],
    [{ KIMI_CODER_STATUS_FILE: "/run/a.json", CAO_TERMINAL_ID: "ab" }, "/run/a.json"],
    [{ KIMI_CODER_STATUS_FILE: "a.json" }, "/project/a.json"],
    [{ KIMI_CODER_STATUS_FILE: "~/a.json" }, "/home/a/a.json"],
    [{ CAO_TERMINAL_ID: "ab12-cd.3" }, "/home/a/.pi/agent/kimi-coder-status/ab12-cd.3.json"],
  ])("for %j is %s", (env, expected) => {
    expect(statusPath(env, surroundings)).toEqual(expected && { state: "asked", path: expected });
    expect(asksForStatus(env)).toBe(expected !== undefined);
  });

  test.each(["../x", "..", ".x", "a/b", "a\\b", "a\0b", "a b", "x".repeat(200)])(
    "for the id %j is none",
    (id) => {
      expect(statusPath({ CAO_TERMINAL_ID: id }, surroundings)).toMatchObject({ state: "refused" });
    },
  );
});

test("a login is refused where nobody is there", () => {
  expect(loginRefusal({}, ["node", "pi"])).toBeUndefined();
  expect(loginRefusal({}, ["node", "pi", "--mode", "interactive"])).toBeUndefined();
  for (const words of [["-p"], ["--print"], ["--mode", "json"], ["--mode", "rpc"]])
    expect(loginRefusal({}, ["node", "pi", ...words])).toContain("start pi in a terminal");
  expect(loginRefusal({ CAO_TERMINAL_ID: "a" }, [])).toContain("status file");
});

test("the file belongs to the first of a family of processes, as long as it lives", () => {
  const alive = () => true;
  const parent: Record<string, string | undefined> = {};
  expect(claim(parent, 10, "/a", alive)).toBe(true);
  expect(claim(parent, 10, "/a", alive)).toBe(true);
  expect(claim({ ...parent }, 11, "/a", alive)).toBe(false);
  expect(claim({ ...parent }, 11, "/a", () => false)).toBe(true);
  const own = { ...parent };
  expect(claim(own, 11, "/b", alive)).toBe(true);
  expect(own[OWNER_VARIABLE]).toBe("11:/b");
});

describe("writing", () => {
  test("keeps to the schema, and a long message in its file, which is removed with the next turn", () => {
    const life: Life = { ...done, message: "x".repeat(9_000), model: "kimi-coder/k3" };
    open()(contentOf(life, 7));
    expect(complaints(JSON.parse(readFileSync(path, "utf8")))).toEqual([]);
    expect(mode(path)).toBe("600");
    const files = readdirSync(folder);
    expect(files).toHaveLength(2);
    // As after a /reload.
    const again = open([], { message: life.message, now: () => 2_000 });
    again(contentOf({ ...life, model: "kimi-coder/k2" }, 7));
    expect(readdirSync(folder)).toEqual(files);
    again(contentOf({ ...life, running: true }, 7));
    expect(readdirSync(folder)).toEqual(["s.json"]);
  });

  test("removes the long message of a pi that was killed, and no other file", () => {
    const other = join(folder, "precious.txt");
    const old = `${path}.message-1.txt`;
    for (const messageFile of [old, other]) {
      writeFileSync(messageFile, "text");
      writeFileSync(path, JSON.stringify({ version: 1, pid: 6, messageFile }));
      open()(contentOf(BEGINNING, 7));
    }
    expect(readdirSync(folder).sort()).toEqual(["precious.txt", "s.json"]);
  });

  test("warns once where something else is in the file, and leaves it", () => {
    for (const text of ["dear diary", "{}", "[1]", '{"version":1}']) {
      writeFileSync(path, text);
      expect(refusal()).toEqual([expect.stringContaining("(something else is in it); name another")]);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    mkdirSync(join(folder, "d"));
    expect(refusal({ path: join(folder, "d") })).toEqual([
      expect.stringContaining("cannot be written (it is no file); name another in KIMI_CODER_STATUS_FILE."),
    ]);
  });

  test("an empty file, as mktemp makes it, is there to be written", () => {
    writeFileSync(path, "");
    expect(refusal()).toEqual([]);
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ state: "completed" });
  });

  test.each([
    ["ENOSPC", "free the disk, or name"],
    ["EACCES", "make it writable, or name"],
    ["ENOTDIR", "name"],
    ["something else is in it", "name"],
  ])("that fails with %s says: %s another", (why, action) => {
    expect(sayUnwritable("/s.json", why)).toBe(
      `Kimi Coder: the status file /s.json cannot be written (${why}); ${action} another in KIMI_CODER_STATUS_FILE.`,
    );
  });

  test("keeps the beginning of a long message whose own file cannot be written", () => {
    const said: string[] = [];
    mkdirSync(`${path}.message-1000.txt`);
    open(said)(contentOf({ ...done, message: "€".repeat(5_000) }, 7));
    const record = JSON.parse(readFileSync(path, "utf8"));
    expect(record).toMatchObject({ state: "completed", messageFile: null });
    expect(record.message).toMatch(/^€+…$/);
    const length = Buffer.byteLength(record.message);
    expect(length).toBeLessThanOrEqual(8_192);
    expect(length).toBeGreaterThan(8_192 - 4);
    expect(said).toEqual([expect.stringContaining("(EISDIR)")]);
    expect(readdirSync(folder).sort()).toEqual(["s.json", "s.json.message-1000.txt"]);
  });
});

describe("what another user could have planted is left alone:", () => {
  const record = JSON.stringify({ version: 1, pid: 6, messageFile: null });

  test("a link, to a status file or to nothing yet", () => {
    const target = join(folder, "target");
    symlinkSync(target, path);
    expect(refusal()).toEqual([expect.stringContaining("(it is a link); name another")]);
    expect(readdirSync(folder)).toEqual(["s.json"]);
    writeFileSync(target, record);
    expect(refusal()).toEqual([expect.stringContaining("(it is a link); name another")]);
    expect(readFileSync(target, "utf8")).toBe(record);
  });

  test.each(["", record])("a file of another user, with %j in it", (text) => {
    writeFileSync(path, text);
    const uid = statSync(path).uid + 1;
    expect(refusal({ uid })).toEqual([expect.stringContaining("(it belongs to another user); name another")]);
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  test.each([
    ["0777", true],
    ["1777", false],
    ["0775", false],
  ])("nothing is written into a folder of mode %s: %s", (folderMode, isRefused) => {
    chmodSync(folder, Number.parseInt(folderMode, 8));
    const open = [expect.stringContaining("(every user can replace it in this folder); name another")];
    for (const name of ["s.json", "new/s.json"])
      expect(refusal({ path: join(folder, name) })).toEqual(isRefused ? open : []);
    expect(readdirSync(folder).sort()).toEqual(isRefused ? [] : ["new", "s.json"]);
  });

  test("nor into a sticky folder of another user, who can replace it there", () => {
    chmodSync(folder, 0o1777);
    const { uid } = statSync(folder);
    const sticky = refusal({ uid: uid + 1 });
    // Root's, as /tmp is, is nobody's.
    expect(sticky).toEqual(uid === 0 ? [] : [expect.stringContaining("every user can replace it")]);
  });
});
