/**
 * Who is calling: the User-Agent and the `X-Msh-*` headers, in the shapes of kimi-cli or as pi itself.
 */
import { randomBytes } from "node:crypto";
import { hostname, machine, version as osVersion, release } from "node:os";
import { join } from "node:path";
import type { IdentityName } from "./configuration.ts";
import { readSmallFileSync } from "./lib/json.ts";
import { inTurn } from "./lib/lazy.ts";

/** The version of kimi-cli's protocol that we follow. */
const KIMI_CLI_VERSION = "1.5";

export interface Machine {
  readonly platform: NodeJS.Platform;
  /** As `uname -m` says it, also on Windows: x86_64, arm64. */
  readonly machine: string;
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

/** All headers of kimi-cli's set; every value is printable ASCII (kimi-cli#773: others break the request). */
export function identityHeaders(
  machine: Machine,
  deviceId: string,
  { extension, pi }: Versions,
): Record<string, string> {
  return allPrintable({
    "User-Agent": `KimiCLI/${KIMI_CLI_VERSION} (pi-kimi-coder/${extension}; pi/${pi})`,
    "X-Msh-Platform": "kimi_cli",
    "X-Msh-Version": KIMI_CLI_VERSION,
    "X-Msh-Device-Name": machine.hostname,
    "X-Msh-Device-Model": deviceModel(machine),
    "X-Msh-Os-Version": machine.version,
    "X-Msh-Device-Id": deviceId,
  });
}

/**
 * pi's own identity, which Kimi admits since August 2026 (kimi-code#2185): its name and versions. Nothing of the machine,
 * and no id: pi's own Kimi login sends none either.
 */
function piHeaders({ extension, pi }: Versions): Record<string, string> {
  return allPrintable({
    "User-Agent": `pi/${pi} (pi-kimi-coder/${extension})`,
    "X-Msh-Platform": "pi",
    "X-Msh-Version": pi,
  });
}

/** `Linux <release> <machine>`, `macOS <version> <machine>` or `Windows 10|11 AMD64|ARM64`, as kimi-cli writes it. */
export function deviceModel({ platform, machine, release, macVersion }: Machine): string {
  switch (platform) {
    case "darwin":
      return `macOS ${macVersion ?? release} ${machine}`;
    case "win32": {
      // Windows 11 kept the number 10.0 and is told by its build.
      const build = Number(release.split(".")[2]);
      return `Windows ${build >= 22_000 ? 11 : 10} ${machine === "x86_64" ? "AMD64" : machine.toUpperCase()}`;
    }
    default:
      return `Linux ${release} ${machine}`;
  }
}

function allPrintable(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, printable(value)]));
}

/** Printable ASCII, trimmed; `unknown` when nothing is left. */
export function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, "").trim() || "unknown";
}

/** The headers for this machine. `keep`: a device id may be made and kept where there is none. */
export type Identity = (keep: boolean) => Promise<Record<string, string>>;

/** Under the name of pi nothing of the machine is looked at. */
export function createIdentity(kimiShare: string, versions: Versions, name: IdentityName): Identity {
  if (name === "pi") return async () => piHeaders(versions);
  const fresh = randomBytes(16).toString("hex");
  return async (keep) => identityHeaders(thisMachine(), await readDeviceId(kimiShare, keep, fresh), versions);
}

/** Reads what Node knows of this machine. Never throws. */
export function thisMachine(): Machine {
  return {
    platform: process.platform,
    machine: machine(),
    release: release(),
    version: osVersion(),
    hostname: hostname(),
    macVersion: process.platform === "darwin" ? readMacVersion() : undefined,
  };
}

function readMacVersion(): string | undefined {
  const file = readSmallFileSync("/System/Library/CoreServices/SystemVersion.plist");
  const text = file.state === "read" ? file.text : "";
  return /<key>ProductVersion<\/key>\s*<string>([\d.]+)<\/string>/.exec(text)?.[1];
}

/**
 * The id kimi-cli gave this machine (`device_id` in its folder, 32 hex digits), shared and never regenerated. Where there
 * is none, `create` keeps `fresh` as kimi-cli would (0600). Where that fails, or the file holds nothing that fits into a
 * header, `fresh` is the id, and the file stays as it is. Never throws.
 */
export async function readDeviceId(kimiShare: string, create: boolean, fresh: string): Promise<string> {
  const path = deviceIdPath(kimiShare);
  const file = readSmallFileSync(path);
  if (file.state === "absent" && create) {
    await inTurn(() => import("./lib/replace-file.ts")) // nearly always there is one
      .then(({ replaceFile }) => {
        // Loading takes its time: another program may have been first.
        if (readSmallFileSync(path).state === "absent")
          replaceFile(path, fresh, { mode: 0o600, directoryMode: 0o777 });
      })
      .catch(() => {});
    return readDeviceId(kimiShare, false, fresh);
  }
  const id = file.state === "read" ? file.text.trim() : "";
  return /^[\x21-\x7e]{1,128}$/.test(id) ? id : fresh;
}

/** kimi-cli's file. */
export function deviceIdPath(kimiShare: string): string {
  return join(kimiShare, "device_id");
}
