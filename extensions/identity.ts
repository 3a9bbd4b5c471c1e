/**
 * Who is calling: the User-Agent and the `X-Msh-*` headers, in the shapes of kimi-cli or as pi itself.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, open, readFile, rm } from "node:fs/promises";
import { hostname, version as osVersion, release } from "node:os";
import { dirname, join } from "node:path";
import type { IdentityName } from "./configuration.ts";
import { readSmallFile } from "./lib/json.ts";
import { giveToFolderOwner, makeFolder } from "./lib/owner.ts";

/** The version of kimi-cli's protocol that we follow. */
const KIMI_CLI_VERSION = "1.5";

export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Kernel release, `os.release()`. */
  readonly release: string;
  /** Kernel build string, `os.version()`. */
  readonly version: string;
  readonly hostname: string;
  /** macOS's own version ("15.5"), which Node does not know. */
  readonly macVersion: string | undefined;
}

export interface Versions {
  readonly extension: string;
  readonly pi: string;
}

export function userAgent(versions: Versions): string {
  return printable(`KimiCLI/${KIMI_CLI_VERSION} (pi-kimi-coder/${versions.extension}; pi/${versions.pi})`);
}

/** All headers of kimi-cli's set; every value is printable ASCII (kimi-cli#773: others break the request). */
export function identityHeaders(
  machine: Machine,
  deviceId: string,
  versions: Versions,
): Record<string, string> {
  return {
    "User-Agent": userAgent(versions),
    "X-Msh-Platform": "kimi_cli",
    "X-Msh-Version": KIMI_CLI_VERSION,
    "X-Msh-Device-Name": printable(machine.hostname),
    "X-Msh-Device-Model": printable(deviceModel(machine)),
    "X-Msh-Os-Version": printable(machine.version),
    "X-Msh-Device-Id": printable(deviceId),
  };
}

/**
 * pi's own identity, which Kimi admits since August 2026 (kimi-code#2185): its name and versions. Nothing of the machine,
 * and no id: pi's own Kimi login sends none either.
 */
export function piHeaders(versions: Versions): Record<string, string> {
  return {
    "User-Agent": printable(`pi/${versions.pi} (pi-kimi-coder/${versions.extension})`),
    "X-Msh-Platform": "pi",
    "X-Msh-Version": printable(versions.pi),
  };
}

/** `Linux <release> <uname -m>`, `macOS <version> <arch>` or `Windows 10|11 <arch>`, as kimi-cli writes it. */
export function deviceModel({ platform, arch, release, macVersion }: Machine): string {
  switch (platform) {
    case "darwin":
      return `macOS ${macVersion ?? release} ${arch === "x64" ? "x86_64" : arch}`;
    case "win32": {
      // Windows 11 kept the number 10.0 and is told by its build.
      const build = Number(release.split(".")[2]);
      return `Windows ${build >= 22_000 ? 11 : 10} ${arch === "x64" ? "AMD64" : arch.toUpperCase()}`;
    }
    default:
      return `Linux ${release} ${unameMachine(arch)}`;
  }
}

function unameMachine(arch: string): string {
  switch (arch) {
    case "x64":
      return "x86_64";
    case "arm64":
      return "aarch64";
    case "ia32":
      return "i686";
    case "arm":
      return "armv7l";
    default:
      return arch;
  }
}

/** Printable ASCII, trimmed; `unknown` when nothing is left. */
export function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, "").trim() || "unknown";
}

/** The headers for this machine, gathered when first asked for. `keep`: the device id may be made and kept. */
export type Identity = (keep: boolean) => Promise<Record<string, string>>;

/** Under the name of pi nothing of the machine is looked at. */
export function createIdentity(
  kimiShare: string,
  versions: Versions,
  name: IdentityName = "kimi-cli",
): Identity {
  if (name === "pi") return async () => piHeaders(versions);
  let machine: Promise<Machine> | undefined;
  const fresh = newId();
  const ids = new Map<boolean, Promise<string>>();
  return async (keep) => {
    machine ??= thisMachine();
    const id = ids.get(keep) ?? readDeviceId(kimiShare, keep, fresh);
    ids.set(keep, id);
    return identityHeaders(await machine, await id, versions);
  };
}

/** Reads what Node knows of this machine. Never throws. */
export async function thisMachine(): Promise<Machine> {
  return {
    platform: process.platform,
    arch: process.arch,
    release: release(),
    version: osVersion(),
    hostname: hostname(),
    macVersion: process.platform === "darwin" ? await readMacVersion() : undefined,
  };
}

async function readMacVersion(): Promise<string | undefined> {
  try {
    const plist = await readFile("/System/Library/CoreServices/SystemVersion.plist", "utf8");
    return /<key>ProductVersion<\/key>\s*<string>([\d.]+)<\/string>/.exec(plist)?.[1];
  } catch {
    return undefined;
  }
}

/**
 * The id kimi-cli gave this machine (`device_id` in its folder, 32 hex digits), shared and never regenerated.
 * When there is none, `create` makes and keeps one as kimi-cli does (0600); otherwise, or where that fails, or where
 * the file holds nothing that fits into a header, `fresh` is the id for as long as the process lives. Never throws.
 */
export async function readDeviceId(kimiShare: string, create: boolean, fresh = newId()): Promise<string> {
  const path = deviceIdPath(kimiShare);
  const file = await readSmallFile(path);
  if (file.state === "absent" && create) {
    await keepDeviceId(path, fresh);
    return readDeviceId(kimiShare, false, fresh); // another process may have been first
  }
  const id = file.state === "read" ? file.text.trim() : "";
  return /^[\x21-\x7e]{1,128}$/.test(id) ? id : fresh;
}

/** kimi-cli's file. */
export function deviceIdPath(kimiShare: string): string {
  return join(kimiShare, "device_id");
}

function newId(): string {
  return randomBytes(16).toString("hex");
}

/** Puts `id` there unless something is there already: by a link, so that the file is never seen half-written. */
async function keepDeviceId(path: string, id: string): Promise<void> {
  const temporary = `${path}.${id}.tmp`;
  try {
    makeFolder(dirname(path), 0o777);
    const file = await open(temporary, "wx", 0o600);
    try {
      giveToFolderOwner(file.fd, temporary);
      await file.writeFile(id);
    } finally {
      await file.close();
    }
    // Some file systems have no links.
    await link(temporary, path).catch(() => copyFile(temporary, path, constants.COPYFILE_EXCL));
  } catch {
    // Another process was first, or the folder cannot be written.
  } finally {
    await rm(temporary, { force: true }).catch(() => {});
  }
}
