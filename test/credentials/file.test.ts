import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readSmallFile, systemCode } from "../../extensions/credentials/file.ts";
import { listing, modeOf, put, temporaryDirectory } from "./support/homes.ts";
import { startNode, startPeer } from "./support/processes.ts";
import { WRITERS } from "./support/writers.ts";

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
  const PRELOAD = fileURLToPath(new URL("support/failing-fs.cjs", import.meta.url));

  async function overwriteUnder(faults: readonly { call: string; code: string; sync: boolean }[]) {
    const path = put(join(temporaryDirectory(), "file"), "old");
    const env = { ...process.env, NODE_OPTIONS: `--require=${PRELOAD}` };
    const lines = await startNode("write-under-faults.ts", [path, JSON.stringify(faults)], { env }).rest();
    return lines.map((line) => JSON.parse(line));
  }

  function combine(calls: readonly string[], sync: boolean) {
    return calls.flatMap((call) => CODES.map((code) => ({ call, code, sync })));
  }

  it.each([
    [
      "asynchronously",
      false,
      [
        "mkdirSync",
        "readlinkSync",
        "lstatSync",
        "open",
        "writeFileSync",
        "fsync",
        "close",
        "chown",
        "chmod",
        "rename",
      ],
    ],
    [
      "synchronously",
      true,
      [
        "mkdirSync",
        "readlinkSync",
        "lstatSync",
        "openSync",
        "writeFileSync",
        "fsyncSync",
        "closeSync",
        "chownSync",
        "chmodSync",
        "renameSync",
      ],
    ],
  ])(
    "keeps the old file whole, tidies up and names the code, whichever call it is (%s)",
    async (_, sync, calls) => {
      const faults = combine(calls, sync);
      const results = await overwriteUnder(faults);
      expect(results).toEqual(
        faults.map(({ code }) => ({
          outcome: { state: "failed", code },
          missed: false,
          text: "old",
          files: ["file"],
        })),
      );
    },
  );

  it("does without what it only would like to know", async () => {
    const faults = [...combine(["realpath", "stat"], false), ...combine(["realpathSync", "statSync"], true)];
    const results = await overwriteUnder(faults);
    expect(results).toEqual(
      faults.map(() => ({ outcome: { state: "written" }, missed: false, text: "new", files: ["file"] })),
    );
  });

  it.each(["async", "sync"])("does not take a file that was cut off for a whole one (%s)", async (how) => {
    const home = temporaryDirectory();
    const path = put(join(home, "file"), "old");
    const support = (name: string) => fileURLToPath(new URL(`support/${name}`, import.meta.url));
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
