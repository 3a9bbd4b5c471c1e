/**
 * Who is calling: the User-Agent and the `X-Msh-*` headers, in the shapes of kimi-cli.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile } from "node:fs/promises";
import { hostname, version as osVersion, release } from "node:os";
import { dirname, join } from "node:path";

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

/** The headers for this machine, gathered when first asked for. `keep` as in `readDeviceId`. */
export function createIdentity(
  kimiShare: string,
  versions: Versions,
): (keep: boolean) => Promise<Record<string, string>> {
  let machine: Promise<Machine> | undefined;
  const ids = new Map<boolean, Promise<string>>();
  return async (keep) => {
    machine ??= thisMachine();
    const id = ids.get(keep) ?? readDeviceId(kimiShare, keep);
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
 * When there is none, `create` makes and keeps one as kimi-cli does (0600); otherwise, or where that fails, the id
 * lives as long as the process. Never throws.
 */
export async function readDeviceId(kimiShare: string, create: boolean): Promise<string> {
  const path = join(kimiShare, "device_id");
  const fresh = randomBytes(16).toString("hex");
  try {
    return (await readFile(path, "utf8")).trim() || fresh;
  } catch (error) {
    if (!create || !(error instanceof Error && "code" in error && error.code === "ENOENT")) return fresh;
  }
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(fresh);
    } finally {
      await file.close();
    }
    return fresh;
  } catch {
    // Another process was first, or the folder cannot be written.
    return readFile(path, "utf8").then(
      (id) => id.trim() || fresh,
      () => fresh,
    );
  }
}
