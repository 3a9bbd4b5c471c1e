/** Files and folders: what stands there, whose it is, who may read it, whether it can be replaced. */
import { access, constants, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type Configuration, ownFiles, requestsFolder } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import { deviceIdPath } from "../identity.ts";
import { systemCode } from "../lib/json.ts";
import { type DisplayPath, displayCode, storeName } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

/** What the system says of a path; links are followed. */
export type FileLook =
  | { readonly state: "absent" }
  | { readonly state: "failed"; readonly code: string }
  | {
      readonly state: "there";
      readonly kind: "file" | "folder" | "other";
      /** Permission bits; undefined where the system has none (Windows). */
      readonly mode: number | undefined;
      /** Whether it belongs to this user; true where the system does not say. */
      readonly own: boolean;
      readonly readable: boolean;
      readonly writable: boolean;
    };

export interface FileProbes {
  readonly look: (path: string) => Promise<FileLook>;
}

/** How a path is used. */
export interface Use {
  readonly path: string;
  readonly kind: "file" | "folder";
  readonly must: "be readable" | "be writable";
  /** Whether other users are kept out. */
  readonly private?: true;
  /** What comes of a fault. */
  readonly lost?: string;
}

export interface FileParts {
  /** Those in which there is something. */
  readonly stores: readonly CredentialStore[];
  readonly authPath: string;
  readonly configuration: Pick<Configuration, "agentDir" | "home" | "kimiShare" | "identity">;
}

export function fileChecks(
  { stores, authPath, configuration }: FileParts,
  { look }: FileProbes,
  displayPath: DisplayPath,
): readonly Check[] {
  const check = (name: string, use: Use): Check => ({ name, check: () => checkUse(use, look, displayPath) });
  const logins = [
    ...stores
      .filter(({ path }) => path !== authPath)
      .map((store) => ({ whose: storeName(store), path: store.path })),
    { whose: "pi", path: authPath },
  ];
  // Files of our own are replaced, not written in place.
  const { memory, models, usage, settings } = ownFiles(configuration.agentDir);
  const ownFile = (path: string, lost: string) =>
    check(`Own file ${basename(path)}`, { path, kind: "file", must: "be readable", lost });
  return [
    ...logins.flatMap(({ whose, path }) => [
      check(`${whose}: file`, { path, kind: "file", must: "be readable", private: true }),
      check(`${whose}: folder`, {
        path: dirname(path),
        kind: "folder",
        must: "be writable",
        lost: "a renewed login could not be saved",
      }),
    ]),
    ownFile(memory, "a logout in pi may be undone at the next start"),
    ownFile(models, "each session asks for the list of models anew"),
    ownFile(usage, "the last figures of the quota are forgotten"),
    ownFile(settings, "what /kimi tools switched is not known"),
    check("Own folder kimi-coder-requests", {
      path: requestsFolder(configuration.home),
      kind: "folder",
      must: "be writable",
      lost: "requests are sent without taking turns",
    }),
    ...(configuration.identity === "pi"
      ? []
      : [
          check("Device id", {
            path: deviceIdPath(configuration.kimiShare),
            kind: "file",
            must: "be readable",
            lost: "each pi makes up one of its own",
          }),
        ]),
  ];
}

async function checkUse(use: Use, look: FileProbes["look"], displayPath: DisplayPath): Promise<Finding> {
  const seen = await look(use.path);
  const shown = displayPath(use.path);
  if (seen.state === "absent") return none(`${shown} is not there`);
  const fine = use.must === "be readable" ? "can be read" : "can be written";
  return faultOf(seen, use, shown) ?? ok(`${shown} ${fine}${use.private ? " by you alone" : ""}`);
}

/** What is wrong with a path for its use; undefined for what fits, or is not there. */
export function faultOf(seen: FileLook, use: Use, shown: string): Finding | undefined {
  const wrong = (says: string, fix: string) =>
    bad(`${shown} ${says}${use.lost === undefined ? "" : `: ${use.lost}`}`, fix);
  if (seen.state === "absent") return undefined;
  if (seen.state === "failed") {
    return wrong(`cannot be looked at (${displayCode(seen.code)})`, "make its folders open to you");
  }
  const { kind, own, readable, writable, mode } = seen;
  if (kind !== use.kind)
    return wrong(kind === "folder" ? "is a folder" : `is no ${use.kind}`, "move it away");
  const isOpen = use.must === "be readable" ? readable : writable;
  if (!own && (use.private || !isOpen)) {
    return wrong("belongs to another user", `make it yours: chown "$USER" ${shown}`);
  }
  if (!isOpen) {
    const says = use.must === "be readable" ? "cannot be read" : "cannot be written";
    return wrong(says, `chmod ${use.kind === "folder" ? "u+rwx" : "u+rw"} ${shown}`);
  }
  if (use.private && mode !== undefined && (mode & 0o077) !== 0) {
    const octal = mode.toString(8).padStart(4, "0");
    return wrong(`has mode ${octal}: others on this machine may get at it`, `chmod 600 ${shown}`);
  }
  return undefined;
}

/** The real look. Never throws. */
export async function lookAtFile(path: string): Promise<FileLook> {
  try {
    const found = await stat(path);
    const may = async (mode: number) =>
      access(path, mode).then(
        () => true,
        () => false,
      );
    const folder = found.isDirectory();
    const [readable, writable] = await Promise.all([
      may(constants.R_OK),
      may(folder ? constants.W_OK | constants.X_OK : constants.W_OK),
    ]);
    const user = process.getuid?.();
    return {
      state: "there",
      kind: found.isFile() ? "file" : folder ? "folder" : "other",
      mode: process.platform === "win32" ? undefined : found.mode & 0o777,
      own: user === undefined || user === 0 || found.uid === user,
      readable,
      writable,
    };
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? { state: "absent" } : { state: "failed", code };
  }
}
