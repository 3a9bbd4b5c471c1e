import { spawnSync } from "node:child_process";
import {
  chmodSync,
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
import { describe, expect, it, onTestFinished } from "vitest";
import { readSmallFile, systemCode } from "../../extensions/lib/json.ts";
import {
  type Draft,
  draftFile,
  keepJson,
  keepJsonSync,
  replaceFile,
} from "../../extensions/lib/replace-file.ts";
import { listing, modeOf, put, temporaryDirectory } from "../credentials/support/homes.ts";
import { startNode, startPeer } from "../credentials/support/processes.ts";
import { WRITERS } from "../credentials/support/writers.ts";

describe("reading a small file", () => {
  it("gives the text of a regular file, also through a symlink and without its byte order mark", async () => {
    const home = temporaryDirectory();
    put(join(home, "file"), "\ufeffgrüße");
    symlinkSync("file", join(home, "link"));
    expect(await readSmallFile(join(home, "link"))).toEqual({ state: "read", text: "grüße" });
  });

  it("takes a missing file, and one below a file, for absent", async () => {
    const home = temporaryDirectory();
    put(join(home, "file"), "");
    expect(await readSmallFile(join(home, "none"))).toEqual({ state: "absent" });
    expect(await readSmallFile(join(home, "file", "below"))).toEqual({ state: "absent" });
    expect(await readSmallFile(join(home, "file"))).toEqual({ state: "read", text: "" });
  });

  it("does not wait for the writer of a FIFO, and names directories, devices and loops", async () => {
    const home = temporaryDirectory();
    spawnSync("mkfifo", [join(home, "fifo")]);
    symlinkSync("loop", join(home, "loop"));
    expect(await readSmallFile(join(home, "fifo"))).toEqual({ state: "unreadable", code: "EFTYPE" });
    expect(await readSmallFile("/dev/zero")).toEqual({ state: "unreadable", code: "EFTYPE" });
    expect(await readSmallFile(home)).toEqual({ state: "unreadable", code: "EISDIR" });
    expect(await readSmallFile(join(home, "loop"))).toEqual({ state: "unreadable", code: "ELOOP" });
  });

  it("reads up to its limit and not a byte more", async () => {
    const path = put(join(temporaryDirectory(), "file"), "x".repeat(40_000));
    expect(await readSmallFile(path, { limit: 40_000 })).toMatchObject({ state: "read" });
    expect(await readSmallFile(path, { limit: 39_999 })).toEqual({ state: "too-large" });
    expect(await readSmallFile(path, { limit: 1 })).toEqual({ state: "too-large" });
  });

  it("leaves nothing open, whatever it finds", async () => {
    const home = temporaryDirectory();
    put(join(home, "file"), "text");
    const open = () => readdirSync("/dev/fd").length;
    const before = open();
    for (const path of [join(home, "file"), home, "/dev/zero"]) await readSmallFile(path);
    await readSmallFile(join(home, "file"), { limit: 1 });
    expect(open()).toBe(before);
  });

  it("refuses what is not UTF-8", async () => {
    const path = put(join(temporaryDirectory(), "file"), Buffer.from([0x7b, 0xff, 0x7d]));
    expect(await readSmallFile(path)).toEqual({ state: "not-text" });
  });
});

describe.each(WRITERS)("%s", (_, write) => {
  it("writes where a chain of symlinks leads, and leaves the links", async () => {
    const home = temporaryDirectory();
    put(join(home, "real", "deep", "file"), "old");
    symlinkSync("real/deep", join(home, "folder"));
    symlinkSync("../deep/file", join(home, "real", "deep", "second"));
    symlinkSync("folder/second", join(home, "first"));
    expect(await write(join(home, "first"), "new", { mode: 0o600 })).toEqual({ state: "written" });
    expect(readFileSync(join(home, "real", "deep", "file"), "utf8")).toBe("new");
    expect(readlinkSync(join(home, "first"))).toBe("folder/second");
    expect(readlinkSync(join(home, "real", "deep", "second"))).toBe("../deep/file");
  });

  it("follows as long a chain of symlinks as Linux does, and no longer one", async () => {
    const home = temporaryDirectory();
    put(join(home, "link0"), "old");
    for (let i = 1; i <= 41; i++) symlinkSync(`link${i - 1}`, join(home, `link${i}`));
    expect(await write(join(home, "link40"), "new", { mode: 0o600 })).toEqual({ state: "written" });
    expect(readFileSync(join(home, "link0"), "utf8")).toBe("new");
    expect(await write(join(home, "link41"), "newer", { mode: 0o600 })).toEqual({
      state: "failed",
      code: "ELOOP",
    });
    expect(readFileSync(join(home, "link0"), "utf8")).toBe("new");
  });

  it("creates the file that a dangling symlink names", async () => {
    const home = temporaryDirectory();
    mkdirSync(join(home, "elsewhere"));
    symlinkSync("elsewhere/file", join(home, "link"));
    expect(await write(join(home, "link"), "new", { mode: 0o600 })).toEqual({ state: "written" });
    expect(readlinkSync(join(home, "link"))).toBe("elsewhere/file");
    expect(readFileSync(join(home, "elsewhere", "file"), "utf8")).toBe("new");
  });

  it.each([0o000, 0o022, 0o277])("gives exactly the mode asked for under umask %o", async (umask) => {
    const home = temporaryDirectory();
    const old = put(join(home, "old"), "old", 0o644);
    chmodSync(old, 0o644);
    const before = process.umask(umask);
    onTestFinished(() => void process.umask(before));
    for (const name of ["old", "new"]) {
      expect(await write(join(home, name), "text", { mode: 0o600 })).toEqual({ state: "written" });
      expect(modeOf(join(home, name))).toBe(0o600);
    }
    process.umask(before);
    expect(readFileSync(old, "utf8")).toBe("text");
    expect(listing(home)).toEqual(["new", "old"]);
  });

  it("creates directories only when told their mode", async () => {
    const home = temporaryDirectory();
    const path = join(home, "a", "b", "file");
    expect(await write(path, "x", { mode: 0o600 })).toEqual({ state: "failed", code: "ENOENT" });
    expect(listing(home)).toEqual([]);
    expect(await write(path, "x", { mode: 0o600, directoryMode: 0o700 })).toEqual({ state: "written" });
    expect([modeOf(join(home, "a")), modeOf(join(home, "a", "b"))]).toEqual([0o700, 0o700]);
  });

  it("replaces neither directories nor FIFOs nor loops", async () => {
    const home = temporaryDirectory();
    mkdirSync(join(home, "directory"));
    spawnSync("mkfifo", [join(home, "fifo")]);
    symlinkSync("loop", join(home, "loop"));
    const outcomes = ["directory", "fifo", "loop"].map((name) =>
      write(join(home, name), "x", { mode: 0o600 }),
    );
    const codes = ["EISDIR", "EFTYPE", "ELOOP"];
    expect(await Promise.all(outcomes)).toEqual(codes.map((code) => ({ state: "failed", code })));
    expect(listing(home)).toEqual(["directory", "fifo", "loop"]);
  });
});

describe("several writes to one file", () => {
  it("take effect in the order of the calls, none of them in part", async () => {
    const home = temporaryDirectory();
    const path = join(home, "file");
    const texts = Array.from({ length: 40 }, (_, i) => String(i).repeat(((i * 7919) % 41) * 500));
    const outcomes = texts.map((text) => replaceFile(path, text, { mode: 0o600 }));
    expect(new Set((await Promise.all(outcomes)).map(({ state }) => state))).toEqual(new Set(["written"]));
    expect(readFileSync(path, "utf8")).toBe(texts.at(-1));
    expect(listing(home)).toEqual(["file"]);
  });

  it("take effect in that order also where some are done already", async () => {
    const path = join(temporaryDirectory(), "file");
    const write = (text: string) => replaceFile(path, text, { mode: 0o600 });
    const [first, ...others] = Array.from({ length: 10 }, (_, i) => write(String(i)));
    await first;
    await Promise.all([...others, write("last")]);
    expect(readFileSync(path, "utf8")).toBe("last");
  });

  it("go on after one that failed", async () => {
    const home = temporaryDirectory();
    const path = join(home, "a", "file");
    const failing = replaceFile(path, "first", { mode: 0o600 });
    const next = replaceFile(path, "second", { mode: 0o600, directoryMode: 0o700 });
    expect(await failing).toEqual({ state: "failed", code: "ENOENT" });
    expect(await next).toEqual({ state: "written" });
    expect(readFileSync(path, "utf8")).toBe("second");
  });
});

describe("a temporary file", () => {
  it("is gone when the process exits in the middle of writing", async () => {
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
    await replaceFile(path, "new", { mode: 0o600 });
    expect(listing(home)).toHaveLength(4);
    silentFor(61);
    await replaceFile(path, "newer", { mode: 0o600 });
    expect(listing(home)).toEqual(["file", ...others.map((other) => basename(other))].sort());
  });

  it("leaves no listener on the process", async () => {
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
  const WRITTEN = { state: "written" };

  it("keeps the room of what it was filled with first, and puts what it was filled with last", async () => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const { fill, put: putInPlace, discard } = draft(path);
    expect(await fill(" ".repeat(50_000))).toEqual(WRITTEN);
    const [reserved = ""] = listing(home).filter((name) => name !== "file");
    expect(statSync(join(home, reserved)).blocks * 512).toBeGreaterThanOrEqual(50_000);
    expect(modeOf(join(home, reserved))).toBe(0o600);
    expect(await fill("new")).toEqual(WRITTEN);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(putInPlace()).toEqual(WRITTEN);
    discard();
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(listing(home)).toEqual(["file"]);
  });

  it("can be put once more after it could not be, with what it held", async () => {
    const home = temporaryDirectory();
    const { fill, put: putInPlace, discard } = draft(join(home, "file"));
    await fill("new");
    mkdirSync(join(home, "file", "in the way"), { recursive: true });
    expect(putInPlace()).toMatchObject({ state: "failed" });
    rmSync(join(home, "file"), { recursive: true });
    expect(putInPlace()).toEqual(WRITTEN);
    discard();
    expect(readFileSync(join(home, "file"), "utf8")).toBe("new");
  });

  it("leaves nothing, open or in the folder, when it is discarded, which may be done twice", async () => {
    const home = temporaryDirectory();
    const open = () => readdirSync("/dev/fd").length;
    const before = open();
    const { fill, discard } = draft(join(home, "file"));
    await fill("new");
    discard();
    discard();
    expect([open(), listing(home)]).toEqual([before, []]);
    expect(await fill("more")).toMatchObject({ state: "failed", code: "EBADF" });
  });
});

describe("a file of our own", () => {
  it.each([
    ["at once", keepJsonSync],
    ["by and by", keepJson],
  ])("is JSON for the user alone, in a folder for the user alone: written %s", async (_, keep) => {
    const path = join(temporaryDirectory(), "a", "file.json");
    expect(await keep(path, { a: 1 })).toEqual({ state: "written" });
    expect(readFileSync(path, "utf8")).toBe('{\n  "a": 1\n}\n');
    expect([modeOf(path), modeOf(dirname(path))]).toEqual([0o600, 0o700]);
  });
});

describe("the system's name for what went wrong", () => {
  it.each([
    ["is the error's code", Object.assign(new Error("full"), { code: "ENOSPC" }), "ENOSPC"],
    ["is EUNKNOWN for an error without one", new Error("ENOSPC"), "EUNKNOWN"],
    ["is EUNKNOWN for a number", Object.assign(new Error("full"), { code: 28 }), "EUNKNOWN"],
    ["is EUNKNOWN for what is no error", { code: "ENOSPC" }, "EUNKNOWN"],
    ["is EUNKNOWN for nothing", undefined, "EUNKNOWN"],
  ])("%s", (_, error, code) => {
    expect(systemCode(error)).toBe(code);
  });
});

describe("when the file system fails", () => {
  const CODES = ["ENOSPC", "EACCES", "EROFS", "EIO"];

  interface Case {
    readonly how: "async" | "sync";
    readonly faults: readonly { readonly call: string; readonly code: string; readonly skip?: number }[];
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
  function each(how: Case["how"], calls: readonly string[], codes = CODES): Case[] {
    const skip = (call: string) => (call === "openSync" || call === "closeSync" ? 1 : 0);
    return calls.flatMap((call) =>
      codes.map((code) => ({ how, faults: [{ call, code, skip: skip(call) }] })),
    );
  }

  const OF_BOTH = ["readlinkSync", "lstatSync", "openSync", "writeSync", "fchmodSync"];
  it.each([
    ["async", [...OF_BOTH, "fsync", "renameSync"]],
    ["sync", [...OF_BOTH, "fsyncSync", "renameSync"]],
  ] as const)(
    "keeps the old file whole, tidies up and names the code, whichever call it is (%s)",
    async (how, calls) => {
      const cases = each(how, calls);
      expect(await overwriteUnder(cases)).toEqual(
        cases.map(({ faults: [fault] }) => ({
          outcome: { state: "failed", code: fault?.code },
          missed: 0,
          text: "old",
          files: ["file"],
        })),
      );
    },
  );

  it.each(["async", "sync"] as const)("does without what it only would like to have (%s)", async (how) => {
    const cases: Case[] = [
      ...each(how, ["fchownSync", "readdirSync", "closeSync"]),
      // The folder's, once the rename has happened.
      { how, faults: [{ call: "fsyncSync", code: "EIO", skip: how === "sync" ? 1 : 0 }] },
      // A group, and then an owner, that this user namespace does not know.
      { how, faults: ["EINVAL", "EINVAL"].map((code) => ({ call: "fchownSync", code })) },
      ...each(how, ["fchmodSync"], ["EPERM", "EINVAL", "ENOSYS", "ENOTSUP"]),
    ];
    expect(await overwriteUnder(cases)).toEqual(
      cases.map(() => ({ outcome: { state: "written" }, missed: 0, text: "new", files: ["file"] })),
    );
  });

  it.skipIf(process.getuid?.() !== 0)("lets a file stay its owner's whose group cannot be kept", async () => {
    const faults = [{ call: "fchownSync", code: "EINVAL" }];
    expect(await overwriteUnder([{ how: "async", faults, owner: 1234 }])).toMatchObject([
      { outcome: { state: "written" }, missed: 0, uid: 1234, gid: process.getgid?.() },
    ]);
  });

  describe.each(["async", "sync"] as const)("where the file is mounted by itself (%s)", (how) => {
    const busy = { call: "renameSync", code: "EBUSY" };

    it("writes in place, whatever the length", async () => {
      const cases = ["", "o", "old", "much older"].map((old) => ({ how, faults: [busy], old }));
      expect(await overwriteUnder(cases)).toEqual(
        cases.map(() => ({ outcome: { state: "written" }, missed: 0, text: "new", files: ["file"] })),
      );
    });

    it("puts the old content back when the new one cannot be written whole", async () => {
      const faults = [
        { call: "openSync", code: "EROFS", skip: 2 },
        { call: "fchmodSync", code: "EIO", skip: 1 },
        { call: "writeSync", code: "ENOSPC", skip: 1 },
        { call: "ftruncateSync", code: "EIO", skip: 1 },
        { call: "fsyncSync", code: "EIO", skip: how === "sync" ? 1 : 0 },
      ];
      const cases = faults.flatMap((fault) =>
        ["o", "much older"].map((old) => ({ how, faults: [busy, fault], old })),
      );
      expect(await overwriteUnder(cases)).toEqual(
        cases.map(({ faults: [, fault], old }) => ({
          outcome: { state: "failed", code: fault?.code },
          missed: 0,
          text: old,
          files: ["file"],
        })),
      );
    });

    it("names the first error when even that fails", async () => {
      const inPlace = { call: "writeSync", code: "ENOSPC", skip: 1 };
      const faults = [busy, inPlace, { call: "writeSync", code: "EIO" }];
      const [result] = await overwriteUnder([{ how, faults }]);
      expect(result).toMatchObject({ outcome: { state: "failed", code: "ENOSPC" }, missed: 0 });
    });
  });

  it.each(["async", "sync"])("does not take a file that was cut off for a whole one (%s)", async (how) => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const support = (name: string) =>
      fileURLToPath(new URL(`../credentials/support/${name}`, import.meta.url));
    const limited = startPeer("bash", [
      "-c",
      'ulimit -f 8; exec "$@"',
      "bash",
      process.execPath,
      support("run.mjs"),
      support("write-large.ts"),
      path,
      how,
    ]);
    expect(await limited.rest()).toEqual(['{"state":"failed","code":"EFBIG"}']);
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(listing(home)).toEqual(["file"]);
  });
});
