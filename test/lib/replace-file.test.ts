import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, test } from "vitest";
import { readSmallFileSync, systemCode } from "../../extensions/lib/json.ts";
import { type Draft, draftFile, keepJson, replaceFile } from "../../extensions/lib/replace-file.ts";
import { listing, modeOf, put, temporaryDirectory } from "../credentials/support/homes.ts";
import { startNode, startPeer } from "../credentials/support/processes.ts";

const WRITTEN = { state: "written" };
const write = (path: string, text: string, directoryMode?: number) =>
  replaceFile(path, text, { mode: 0o600, ...(directoryMode === undefined ? {} : { directoryMode }) });

// What it says of all that is no file, or no text: test/credentials/bad-input.test.ts.
describe("reading a small file", () => {
  it("gives the text of a regular file, also through a symlink and without its byte order mark", () => {
    const home = temporaryDirectory();
    put(join(home, "file"), "\ufeffgrüße");
    symlinkSync("file", join(home, "link"));
    expect(readSmallFileSync(join(home, "link"))).toEqual({ state: "read", text: "grüße" });
  });

  it("reads up to its limit and not a byte more, and leaves nothing open", () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "x".repeat(40_000));
    const open = () => readdirSync("/dev/fd").length;
    const before = open();
    expect(readSmallFileSync(path, { limit: 40_000 })).toMatchObject({ state: "read" });
    expect(readSmallFileSync(path, { limit: 39_999 })).toEqual({ state: "too-large" });
    for (const other of [home, "/dev/zero", join(home, "none")]) readSmallFileSync(other);
    expect(open()).toBe(before);
  });
});

describe("replacing a file", () => {
  it("happens where a chain of symlinks leads, and leaves the links", () => {
    const home = temporaryDirectory();
    put(join(home, "real", "deep", "file"), "old");
    symlinkSync("real/deep", join(home, "folder"));
    symlinkSync("../deep/file", join(home, "real", "deep", "second"));
    symlinkSync("folder/second", join(home, "first"));
    expect(write(join(home, "first"), "new")).toEqual(WRITTEN);
    expect(readFileSync(join(home, "real", "deep", "file"), "utf8")).toBe("new");
    expect(readlinkSync(join(home, "first"))).toBe("folder/second");
    expect(readlinkSync(join(home, "real", "deep", "second"))).toBe("../deep/file");
  });

  it("creates the file that a chain of dangling symlinks names", () => {
    const home = temporaryDirectory();
    mkdirSync(join(home, "elsewhere"));
    symlinkSync("second", join(home, "first"));
    symlinkSync("elsewhere/file", join(home, "second"));
    expect(write(join(home, "first"), "new")).toEqual(WRITTEN);
    expect(readlinkSync(join(home, "first"))).toBe("second");
    expect(readFileSync(join(home, "elsewhere", "file"), "utf8")).toBe("new");
  });

  it.each([0o000, 0o277])("gives exactly the mode asked for under umask %o", (umask) => {
    const home = temporaryDirectory();
    put(join(home, "old"), "old", 0o644);
    const before = process.umask(umask);
    onTestFinished(() => void process.umask(before));
    for (const name of ["old", "new"]) {
      expect(write(join(home, name), "text")).toEqual(WRITTEN);
      expect(modeOf(join(home, name))).toBe(0o600);
    }
    expect(listing(home)).toEqual(["new", "old"]);
  });

  it("creates directories only when told their mode", () => {
    const home = temporaryDirectory();
    const path = join(home, "a", "b", "file");
    expect(write(path, "x")).toEqual({ state: "failed", code: "ENOENT" });
    expect(listing(home)).toEqual([]);
    expect(write(path, "x", 0o700)).toEqual(WRITTEN);
    expect([modeOf(join(home, "a")), modeOf(join(home, "a", "b"))]).toEqual([0o700, 0o700]);
  });

  it("is refused for directories, FIFOs and loops", () => {
    const home = temporaryDirectory();
    mkdirSync(join(home, "directory"));
    spawnSync("mkfifo", [join(home, "fifo")]);
    symlinkSync("loop", join(home, "loop"));
    for (const [name, code] of Object.entries({ directory: "EISDIR", fifo: "EFTYPE", loop: "ELOOP" })) {
      expect(write(join(home, name), "x")).toEqual({ state: "failed", code });
    }
    expect(listing(home)).toEqual(["directory", "fifo", "loop"]);
  });

  it("by JSON of our own makes it the user's alone, in a folder for the user alone", () => {
    const path = join(temporaryDirectory(), "a", "file.json");
    expect(keepJson(path, { a: 1 })).toEqual(WRITTEN);
    expect(readFileSync(path, "utf8")).toBe('{\n  "a": 1\n}\n');
    expect([modeOf(path), modeOf(dirname(path))]).toEqual([0o600, 0o700]);
  });
});

describe("a temporary file", () => {
  it("is gone when the process exits before it is put in place", async () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    expect(await startNode("write-and-exit.ts", [path]).rest()).toEqual(["2 files"]);
    expect(listing(home)).toEqual(["file"]);
    expect(readFileSync(path, "utf8")).toBe("old");
  });

  it("stays after a SIGKILL, until somebody writes there more than an hour later", async () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const peer = startNode("write-and-exit.ts", [path, "SIGKILL"]);
    expect(await peer.says()).toBe("2 files");
    await expect(peer.rest()).rejects.toThrow();
    const [left = ""] = listing(home).filter((name) => name !== "file");
    expect(modeOf(join(home, left))).toBe(0o600);
    const others = [left.replace(/^file/, "other"), "file.bak"].map((name) => put(join(home, name), ""));
    const silentFor = (minutes: number) => {
      const at = new Date(Date.now() - minutes * 60_000);
      for (const file of [join(home, left), ...others, path]) utimesSync(file, at, at);
    };
    silentFor(59);
    write(path, "new");
    expect(listing(home)).toHaveLength(4);
    silentFor(61);
    write(path, "newer");
    expect(listing(home)).toEqual(["file", ...others.map((other) => basename(other))].sort());
  });

  it("leaves no listener on the process", () => {
    const home = temporaryDirectory();
    const before = process.listenerCount("exit");
    const more = () => process.listenerCount("exit") - before;
    const drafts = ["first", "second"].map((name) => draft(join(home, name)));
    const counts = [more()];
    for (const { discard } of drafts) {
      discard();
      counts.push(more());
    }
    expect(counts).toEqual([1, 1, 0]);
  });
});

function draft(path: string): Draft {
  const drafting = draftFile(path, { mode: 0o600 });
  if (drafting.state === "failed") throw new Error(drafting.code);
  return drafting.draft;
}

describe("a draft", () => {
  it("keeps the room of what it was filled with first, and puts what it was filled with last", () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const { fill, put: putInPlace, discard } = draft(path);
    expect(fill(" ".repeat(50_000))).toEqual(WRITTEN);
    const [reserved = ""] = listing(home).filter((name) => name !== "file");
    expect(statSync(join(home, reserved)).blocks * 512).toBeGreaterThanOrEqual(50_000);
    expect(modeOf(join(home, reserved))).toBe(0o600);
    expect(fill("new")).toEqual(WRITTEN);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(putInPlace()).toEqual(WRITTEN);
    discard();
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(listing(home)).toEqual(["file"]);
  });

  it("can be put once more after it could not be, with what it held", () => {
    const home = temporaryDirectory();
    const { fill, put: putInPlace, discard } = draft(join(home, "file"));
    fill("new");
    mkdirSync(join(home, "file", "in the way"), { recursive: true });
    expect(putInPlace()).toMatchObject({ state: "failed" });
    rmSync(join(home, "file"), { recursive: true });
    expect(putInPlace()).toEqual(WRITTEN);
    discard();
    expect(readFileSync(join(home, "file"), "utf8")).toBe("new");
  });

  it("leaves nothing, open or in the folder, when it is discarded, which may be done twice", () => {
    const home = temporaryDirectory();
    const open = () => readdirSync("/dev/fd").length;
    const before = open();
    const { fill, discard } = draft(join(home, "file"));
    fill("new");
    discard();
    discard();
    expect([open(), listing(home)]).toEqual([before, []]);
    expect(fill("more")).toMatchObject({ state: "failed", code: "EBADF" });
  });
});

test("the system's name for what went wrong is the error's code, if it has one", () => {
  expect(systemCode(Object.assign(new Error("full"), { code: "ENOSPC" }))).toBe("ENOSPC");
  for (const error of [new Error("ENOSPC"), Object.assign(new Error("full"), { code: 28 }), undefined]) {
    expect(systemCode(error)).toBe("EUNKNOWN");
  }
});

describe("when the file system fails", () => {
  const CODES = ["ENOSPC", "EIO"];
  const OLD_ONE = { missed: 0, text: "old", files: ["file"] };
  const NEW_ONE = { outcome: WRITTEN, missed: 0, text: "new", files: ["file"] };

  interface Fault {
    readonly call: string;
    readonly code: string;
    readonly skip?: number;
  }
  interface Case {
    readonly faults: readonly Fault[];
    readonly old?: string;
    readonly owner?: number;
  }

  async function overwriteUnder(cases: readonly Case[]) {
    const path = put(join(temporaryDirectory(), "file"), "old");
    const preload = "failing-fs.cjs";
    const peer = startNode("write-under-faults.ts", [path, JSON.stringify(cases)], { preload });
    const lines = await peer.rest();
    return lines.map((line) => JSON.parse(line));
  }

  /** One case for each call and code; of opening and closing, not the first, which only asks about the mount. */
  function each(calls: readonly string[], codes = CODES): Case[] {
    const skip = (call: string) => (call === "openSync" || call === "closeSync" ? 1 : 0);
    return calls.flatMap((call) => codes.map((code) => ({ faults: [{ call, code, skip: skip(call) }] })));
  }

  it("keeps the old file whole, tidies up and names the code, whichever call it is", async () => {
    const calls = ["lstatSync", "openSync", "writeSync", "fchmodSync", "fsyncSync", "renameSync"];
    const cases = each(calls);
    expect(await overwriteUnder(cases)).toEqual(
      cases.map(({ faults: [fault] }) => ({ outcome: { state: "failed", code: fault?.code }, ...OLD_ONE })),
    );
  });

  it("does without what it only would like to have", async () => {
    const cases: Case[] = [
      ...each(["fchownSync", "readdirSync", "closeSync"]),
      // The folder's, once the rename has happened.
      { faults: [{ call: "fsyncSync", code: "EIO", skip: 1 }] },
      // A group, and then an owner, that this user namespace does not know.
      { faults: ["EINVAL", "EINVAL"].map((code) => ({ call: "fchownSync", code })) },
      ...each(["fchmodSync"], ["EPERM", "EINVAL", "ENOSYS", "ENOTSUP"]),
    ];
    expect(await overwriteUnder(cases)).toEqual(cases.map(() => NEW_ONE));
  });

  it.skipIf(process.getuid?.() !== 0)("lets a file stay its owner's whose group cannot be kept", async () => {
    const faults = [{ call: "fchownSync", code: "EINVAL" }];
    expect(await overwriteUnder([{ faults, owner: 1234 }])).toMatchObject([
      { outcome: WRITTEN, missed: 0, uid: 1234, gid: process.getgid?.() },
    ]);
  });

  describe("where the file is mounted by itself", () => {
    const busy = { call: "renameSync", code: "EBUSY" };

    it("writes in place, whatever the length", async () => {
      const cases = ["", "old", "much older"].map((old) => ({ faults: [busy], old }));
      expect(await overwriteUnder(cases)).toEqual(cases.map(() => NEW_ONE));
    });

    it("puts the old content back when the new one cannot be written whole", async () => {
      const faults = [
        { call: "openSync", code: "EROFS", skip: 2 },
        { call: "fchmodSync", code: "EIO", skip: 1 },
        { call: "writeSync", code: "ENOSPC", skip: 1 },
        { call: "ftruncateSync", code: "EIO", skip: 1 },
        { call: "fsyncSync", code: "EIO", skip: 1 },
      ];
      const cases = faults.flatMap((fault) =>
        ["o", "much older"].map((old) => ({ faults: [busy, fault], old })),
      );
      expect(await overwriteUnder(cases)).toEqual(
        cases.map(({ faults: [, fault], old }) => ({
          outcome: { state: "failed", code: fault?.code },
          ...OLD_ONE,
          text: old,
        })),
      );
    });

    it("names the first error when even that fails", async () => {
      const inPlace = { call: "writeSync", code: "ENOSPC", skip: 1 };
      const faults = [busy, inPlace, { call: "writeSync", code: "EIO" }];
      const [result] = await overwriteUnder([{ faults }]);
      expect(result).toMatchObject({ outcome: { state: "failed", code: "ENOSPC" }, missed: 0 });
    });
  });

  it("does not take a file that was cut off for a whole one", async () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const [run, script] = ["run.mjs", "write-large.ts"].map((name) =>
      fileURLToPath(new URL(`../credentials/support/${name}`, import.meta.url)),
    );
    const limited = startPeer("bash", [
      "-c",
      `ulimit -f 8; exec "$0" "$@"`,
      process.execPath,
      `${run}`,
      `${script}`,
      path,
    ]);
    expect(await limited.rest()).toEqual(['{"state":"failed","code":"EFBIG"}']);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(listing(home)).toEqual(["file"]);
  });
});
