import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createIdentity,
  deviceModel,
  identityHeaders,
  type Machine,
  piHeaders,
  printable,
  readDeviceId,
  thisMachine,
  userAgent,
} from "../extensions/identity.ts";

const VERSIONS = { extension: "0.1.0", pi: "0.73.1" };
const LINUX: Machine = {
  platform: "linux",
  arch: "x64",
  release: "6.8.0-45-generic",
  version: "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024",
  hostname: "workstation",
  macVersion: undefined,
};
const MAC: Machine = {
  platform: "darwin",
  arch: "arm64",
  release: "24.5.0",
  version: "Darwin Kernel Version 24.5.0: Tue Apr 22 19:54:49 PDT 2025",
  hostname: "macbook.local",
  macVersion: "15.5",
};
const WINDOWS: Machine = {
  platform: "win32",
  arch: "x64",
  release: "10.0.22631",
  version: "Windows 11 Pro",
  hostname: "DESKTOP-1",
  macVersion: undefined,
};
const HEX = /^[0-9a-f]{32}$/;

describe("the headers", () => {
  it("are kimi-cli's, with our own name in the User-Agent", () => {
    expect(identityHeaders(LINUX, "0123456789abcdef0123456789abcdef", VERSIONS)).toEqual({
      "User-Agent": "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
      "X-Msh-Platform": "kimi_cli",
      "X-Msh-Version": "1.5",
      "X-Msh-Device-Name": "workstation",
      "X-Msh-Device-Model": "Linux 6.8.0-45-generic x86_64",
      "X-Msh-Os-Version": "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024",
      "X-Msh-Device-Id": "0123456789abcdef0123456789abcdef",
    });
    expect(userAgent(VERSIONS)).toMatch(/^KimiCLI\//);
  });

  it.each<[Machine, string]>([
    [LINUX, "Linux 6.8.0-45-generic x86_64"],
    [{ ...LINUX, arch: "arm64" }, "Linux 6.8.0-45-generic aarch64"],
    [{ ...LINUX, arch: "arm" }, "Linux 6.8.0-45-generic armv7l"],
    [MAC, "macOS 15.5 arm64"],
    [{ ...MAC, macVersion: undefined }, "macOS 24.5.0 arm64"],
    [{ ...WINDOWS, release: "10.0.22000" }, "Windows 11 AMD64"],
    [{ ...WINDOWS, release: "10.0.21999" }, "Windows 10 AMD64"],
    [{ ...WINDOWS, release: "10.0.19045", arch: "arm64" }, "Windows 10 ARM64"],
  ])("name the machine as kimi-cli does: %#", (machine, model) => {
    expect(deviceModel(machine)).toBe(model);
  });

  it.each([
    ["Jürgens-MacBook", "Jrgens-MacBook"],
    ["张三的电脑", "unknown"],
    ["  spaced  ", "spaced"],
    ["a\r\nX-Evil: 1", "aX-Evil: 1"],
    ["a\0b\u007f", "ab"],
    [" \t\n", "unknown"],
  ])("carry the host name %j as %j (kimi-cli#773)", (hostname, name) => {
    expect(identityHeaders({ ...LINUX, hostname }, "id", VERSIONS)["X-Msh-Device-Name"]).toBe(name);
  });

  it("fit into a request whatever the machine is called", () => {
    const name = fc.string({ unit: "binary" });
    const machine = fc.record({
      platform: fc.constantFrom<NodeJS.Platform>("linux", "darwin", "win32", "freebsd"),
      arch: name,
      release: name,
      version: name,
      hostname: name,
      macVersion: fc.oneof(name, fc.constant(undefined)),
    });
    fc.assert(
      fc.property(machine, name, name, (machine, id, version) => {
        const headers = identityHeaders(machine, id, { extension: version, pi: version });
        for (const value of Object.values(headers))
          expect(value).toMatch(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/);
        expect([...new Headers(headers).keys()]).toHaveLength(7);
        expect(printable(printable(id))).toBe(printable(id));
      }),
    );
  });

  it("describe this machine", async () => {
    const machine = await thisMachine();
    expect(machine).toMatchObject({ platform: process.platform, arch: process.arch });
    if (process.platform === "linux") {
      const uname = (option: string) => execFileSync("uname", [option], { encoding: "utf8" }).trim();
      expect(deviceModel(machine)).toBe(`Linux ${uname("-r")} ${uname("-m")}`);
      expect(machine.version).toBe(uname("-v"));
    }
  });
});

describe("the headers of pi's own identity", () => {
  it("name pi and this extension, and nothing else", () => {
    expect(piHeaders(VERSIONS)).toEqual({
      "User-Agent": "pi/0.73.1 (pi-kimi-coder/0.1.0)",
      "X-Msh-Platform": "pi",
      "X-Msh-Version": "0.73.1",
    });
  });
});

describe("the device id", () => {
  let home: string;
  let share: string;
  let file: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "kimi-identity-"));
    share = join(home, ".kimi");
    file = join(share, "device_id");
  });
  afterEach(async () => {
    await chmod(home, 0o700);
    await rm(home, { recursive: true, force: true });
  });

  it("is made once, for the user's eyes alone, in a folder that may not exist yet", async () => {
    const id = await readDeviceId(share, true);
    expect(id).toMatch(HEX);
    expect(await readFile(file, "utf8")).toBe(id);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readDeviceId(share, true)).toBe(id);
    expect(await readDeviceId(share, false)).toBe(id);
    expect(await readdir(share)).toEqual(["device_id"]);
  });

  it("is the one kimi-cli made, whatever its shape, and that file stays as it is", async () => {
    await mkdir(share);
    for (const content of ["0123456789abcdef0123456789abcdef", "550e8400-e29b-41d4-a716-446655440000\n"]) {
      await writeFile(file, content, { mode: 0o644 });
      expect(await readDeviceId(share, true)).toBe(content.trim());
      expect(await readFile(file, "utf8")).toBe(content);
    }
  });

  it("is not written when nothing may be kept", async () => {
    expect(await readDeviceId(share, false)).toMatch(HEX);
    expect(await readdir(home)).toEqual([]);
  });

  it.each([
    ["blank", " \n"],
    ["huge", "a".repeat(3_000_000)],
    ["too long for a header", "a".repeat(1_000)],
    ["more than a line", "a\nb"],
    ["no text", Buffer.from([0xff, 0xfe, 0x00])],
  ])("is made up, and the file left alone, where that is %s", async (_name, content) => {
    await mkdir(share);
    await writeFile(file, content);
    expect(await readDeviceId(share, true)).toMatch(HEX);
    expect(Buffer.compare(await readFile(file), Buffer.from(content))).toBe(0);
    expect(await readdir(share)).toEqual(["device_id"]);
  });

  it("is made up where a file is in the folder's place", async () => {
    await writeFile(share, "");
    expect(await readDeviceId(share, true)).toMatch(HEX);
    expect(await readFile(share, "utf8")).toBe("");
  });

  it("does not wait for a FIFO in its place", async () => {
    await mkdir(share);
    execFileSync("mkfifo", [file]);
    const id = readDeviceId(share, true);
    const late = new Promise((resolve) => setTimeout(resolve, 2_000, "late").unref());
    try {
      expect(await Promise.race([id, late])).toMatch(HEX);
    } finally {
      // Frees the reader that waits, should there be one.
      execFileSync("sh", ["-c", 'echo x 1<>"$1"', "sh", file]);
    }
  });

  it("follows a link that leads nowhere without replacing it", async () => {
    await mkdir(share);
    await symlink(join(home, "nowhere"), file);
    expect(await readDeviceId(share, true)).toMatch(HEX);
    expect(await readdir(share)).toEqual(["device_id"]);
  });

  it("lives as long as the process where it cannot be kept", async () => {
    await writeFile(share, "");
    const identity = createIdentity(share, VERSIONS);
    const ids = await Promise.all([identity(true), identity(false), identity(true)]);
    expect(new Set(ids.map((headers) => headers["X-Msh-Device-Id"])).size).toBe(1);
  });

  it("is one and the same for many processes that ask at once", async () => {
    const module = new URL("../extensions/identity.ts", import.meta.url).href;
    const script = join(home, "ask.mjs");
    const rounds = 25;
    await writeFile(
      script,
      `import { readDeviceId } from ${JSON.stringify(module)};
      process.on("message", async (folder) => process.send(await readDeviceId(folder, true)));
      process.send("ready");`,
    );
    const jiti = fileURLToPath(new URL("../node_modules/jiti/lib/jiti-cli.mjs", import.meta.url));
    const processes = Array.from({ length: 4 }, () => fork(jiti, [script], { stdio: "inherit" }));
    try {
      await Promise.all(processes.map((one) => once(one, "message")));
      for (let round = 0; round < rounds; round++) {
        const folder = join(home, String(round));
        const answers = processes.map((one) => once(one, "message"));
        for (const one of processes) one.send(folder);
        expect(new Set((await Promise.all(answers)).map(([id]) => id)).size).toBe(1);
      }
    } finally {
      for (const one of processes) one.kill();
    }
  });

  it("is neither read nor made for pi's own identity", async () => {
    const identity = createIdentity(share, VERSIONS, "pi");
    expect(await identity(true)).toEqual(piHeaders(VERSIONS));
    expect(await identity(false)).toEqual(piHeaders(VERSIONS));
    expect(await readdir(home)).toEqual([]);
  });

  it("travels with both kinds of request once it is known", async () => {
    const identity = createIdentity(share, VERSIONS);
    const unkept = (await identity(false))["X-Msh-Device-Id"];
    expect(await readdir(home)).toEqual([]);
    const kept = (await identity(true))["X-Msh-Device-Id"];
    expect(await readFile(file, "utf8")).toBe(kept);
    expect(kept).toBe(unkept);
  });
});
