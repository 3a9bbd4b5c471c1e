import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  createIdentity,
  deviceModel,
  identityHeaders,
  type Machine,
  readDeviceId,
  thisMachine,
} from "../extensions/identity.ts";
import { temporaryDirectory } from "./credentials/support/homes.ts";

const VERSIONS = { extension: "0.1.0", pi: "0.73.1" };
const LINUX: Machine = {
  platform: "linux",
  machine: "x86_64",
  release: "6.8.0-45-generic",
  version: "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024",
  hostname: "workstation",
  macVersion: undefined,
};
const MAC: Machine = { ...LINUX, platform: "darwin", machine: "arm64", release: "24.5.0" };
const WINDOWS: Machine = { ...LINUX, platform: "win32", release: "10.0.22000" };

describe("kimi-cli's headers", () => {
  it("have our own name in the User-Agent", () => {
    expect(identityHeaders(LINUX, "0123456789abcdef0123456789abcdef", VERSIONS)).toEqual({
      "User-Agent": "KimiCLI/1.5 (pi-kimi-coder/0.1.0; pi/0.73.1)",
      "X-Msh-Platform": "kimi_cli",
      "X-Msh-Version": "1.5",
      "X-Msh-Device-Name": "workstation",
      "X-Msh-Device-Model": "Linux 6.8.0-45-generic x86_64",
      "X-Msh-Os-Version": "#45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024",
      "X-Msh-Device-Id": "0123456789abcdef0123456789abcdef",
    });
  });

  it.each<[Machine, string]>([
    [{ ...MAC, macVersion: "15.5" }, "macOS 15.5 arm64"],
    [MAC, "macOS 24.5.0 arm64"],
    [WINDOWS, "Windows 11 AMD64"],
    [{ ...WINDOWS, release: "10.0.21999", machine: "arm64" }, "Windows 10 ARM64"],
  ])("name the machine as kimi-cli does: %#", (machine, model) => {
    expect(deviceModel(machine)).toBe(model);
  });

  it("describe this machine", () => {
    if (process.platform !== "linux") return;
    const uname = (option: string) => execFileSync("uname", [option], { encoding: "utf8" }).trim();
    expect(deviceModel(thisMachine())).toBe(`Linux ${uname("-r")} ${uname("-m")}`);
  });

  it("fit into a request whatever the machine is called (kimi-cli#773)", () => {
    const named = (hostname: string) => identityHeaders({ ...LINUX, hostname }, "id", VERSIONS);
    expect(named("Jürgens-MacBook\r\nX-Evil: 1")["X-Msh-Device-Name"]).toBe("Jrgens-MacBookX-Evil: 1");
    expect(named("张三的电脑")["X-Msh-Device-Name"]).toBe("unknown");
    const name = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(name, name, name, (name, id, version) => {
        const machine = { ...LINUX, machine: name, release: name, version: name, hostname: name };
        const headers = identityHeaders(machine, id, { extension: version, pi: version });
        for (const value of Object.values(headers))
          expect(value).toMatch(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/);
        expect([...new Headers(headers).keys()]).toHaveLength(7);
      }),
      { numRuns: 30 },
    );
  });
});

describe("the device id", () => {
  let home: string;
  let share: string;
  let file: string;
  beforeEach(() => {
    home = temporaryDirectory();
    share = join(home, ".kimi");
    file = join(share, "device_id");
  });

  it("is the one that another program makes in the same moment", async () => {
    const ours = readDeviceId(share, true, "ours");
    mkdirSync(share);
    writeFileSync(file, "theirs");
    expect(await ours).toBe("theirs");
    expect(readFileSync(file, "utf8")).toBe("theirs");
  });

  it("is the one kimi-cli made, and that file stays as it is", async () => {
    mkdirSync(share);
    writeFileSync(file, "550e8400-e29b-41d4-a716-446655440000\n", { mode: 0o644 });
    expect(await readDeviceId(share, true, "fresh")).toBe("550e8400-e29b-41d4-a716-446655440000");
    expect(statSync(file).mode & 0o777).toBe(0o644);
  });

  it.each([
    ["blank", " \n"],
    ["too long for a header", "a".repeat(1_000)],
    ["more than a line", "a\nb"],
  ])("is made up, and the file left alone, where that is %s", async (_name, content) => {
    mkdirSync(share);
    writeFileSync(file, content);
    expect(await readDeviceId(share, true, "fresh")).toBe("fresh");
    expect(readFileSync(file, "utf8")).toBe(content);
  });

  it("lives as long as the process where it cannot be kept", async () => {
    writeFileSync(share, "");
    const identity = createIdentity(share, VERSIONS, "kimi-cli");
    const ids = await Promise.all([identity(true), identity(false), identity(true)]);
    expect(new Set(ids.map((headers) => headers["X-Msh-Device-Id"])).size).toBe(1);
    expect(readFileSync(share, "utf8")).toBe("");
  });

  it("travels with both kinds of request once it is known", async () => {
    const identity = createIdentity(share, VERSIONS, "kimi-cli");
    const unkept = (await identity(false))["X-Msh-Device-Id"];
    expect(unkept).toMatch(/^[0-9a-f]{32}$/);
    expect(readdirSync(home)).toEqual([]);
    expect((await identity(true))["X-Msh-Device-Id"]).toBe(unkept);
    expect(readFileSync(file, "utf8")).toBe(unkept);
  });
});
