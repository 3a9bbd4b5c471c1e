/** Files and folders: what stands there, whose it is, who may read it, whether it can be replaced. */
import { access, constants, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type Configuration, ownFiles, requestsFolder } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import { deviceIdPath, readDeviceId } from "../identity.ts";
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

export interface FileParts {
  /** Those in which there is something, or should be. */
  readonly stores: readonly CredentialStore[];
  readonly authPath: string;
  readonly configuration: Pick<Configuration, "agentDir" | "home" | "kimiShare" | "identity">;
}

/** What the user loses while one of our own files cannot be used; no other place says so. */
const LOST = {
  memory: "a logout in pi may be undone at the next start",
  models: "each session asks for the list of models anew",
  usage: "the last figures of the quota are forgotten",
};

export function fileChecks(
  { stores, authPath, configuration }: FileParts,
  { look }: FileProbes,
  displayPath: DisplayPath,
): readonly Check[] {
  /** `fine` is said of what is there; nothing but a fault of what is not, where it says nothing. */
  const check = (name: string, path: string, needs: Needs, fine?: string): Check => ({
    name,
    async check() {
      const seen = await look(path);
      const shown = displayPath(path);
      const fault = faultOf(seen, shown, needs);
      if (fault) return fault;
      return seen.state === "absent"
        ? none(`${shown} is not there`)
        : ok(`${shown} ${fine ?? "can be used"}`);
    },
  });
  const logins = [
    ...stores.map((store) => ({ what: storeName(store), path: store.path })),
    { what: "pi", path: authPath },
  ];
  const files = ownFiles(configuration.agentDir);
  return [
    ...logins.flatMap(({ what, path }) => [
      check(
        `${what}: file`,
        path,
        { kind: "file", readable: true, private: true, instead: "move it away and log in again" },
        "can be read by you alone",
      ),
      check(
        `${what}: folder`,
        dirname(path),
        { kind: "folder", writable: true, lost: "a renewed login could not be saved" },
        "can be written",
      ),
    ]),
    ...stores.flatMap((store) => {
      const paths = lockFiles(store);
      const name = `${storeName(store)}: lock file`;
      return paths.length === 0
        ? []
        : [{ name, check: () => checkLockFiles(paths, store, look, displayPath) }];
    }),
    ...(["memory", "models", "usage"] as const).map((which) =>
      // They are replaced, not written in place, so that only their folder must be writable.
      check(`Own file ${basename(files[which])}`, files[which], {
        kind: "file",
        readable: true,
        lost: LOST[which],
      }),
    ),
    check("Own folder kimi-coder-requests", requestsFolder(configuration.home), {
      kind: "folder",
      writable: true,
      lost: "requests are sent without taking turns",
    }),
    ...(configuration.identity === "pi"
      ? []
      : [{ name: "Device id", check: () => checkDeviceId(configuration.kimiShare, look, displayPath) }]),
  ];
}

interface Needs {
  readonly kind: "file" | "folder";
  readonly readable?: true;
  readonly writable?: true;
  /** Whether other users are kept out. */
  readonly private?: true;
  /** What comes of a fault. */
  readonly lost?: string;
  /** What to do with something else in its place. */
  readonly instead?: string;
}

/** What is wrong with it for its use; undefined for what fits, or is not there. */
function faultOf(seen: FileLook, shown: string, needs: Needs): Finding | undefined {
  const wrong = (says: string, fix: string) =>
    bad(`${shown} ${says}${needs.lost === undefined ? "" : `: ${needs.lost}`}`, fix);
  if (seen.state === "absent") return undefined;
  if (seen.state === "failed") {
    return wrong(`cannot be looked at (${displayCode(seen.code)})`, "make its folders open to you");
  }
  const { kind, own, readable, writable, mode } = seen;
  if (kind !== needs.kind) {
    const is = kind === "folder" ? "is a folder" : `is no ${needs.kind}`;
    return wrong(is, needs.instead ?? "move it away");
  }
  const closed = (needs.readable && !readable) || (needs.writable && !writable);
  if (!own && (closed || needs.private)) {
    return wrong("belongs to another user", `make it yours: chown "$USER" ${shown}`);
  }
  const folder = kind === "folder";
  if (needs.readable && !readable)
    return wrong("cannot be read", `chmod ${folder ? "u+rx" : "600"} ${shown}`);
  if (needs.writable && !writable) {
    return wrong("cannot be written", `chmod ${folder ? "u+rwx" : "u+rw"} ${shown}`);
  }
  if (needs.private && mode !== undefined && (mode & 0o077) !== 0) {
    const octal = mode.toString(8).padStart(4, "0");
    return wrong(`has mode ${octal}: others on this machine may get at it`, `chmod 600 ${shown}`);
  }
  return undefined;
}

/** The files that are locked to renew the store's login, or hold its lock. */
function lockFiles({ locks }: CredentialStore): readonly string[] {
  return locks.flatMap((lock) => {
    if (lock.kind === "flock") return [lock.path];
    return lock.kind === "folder" ? [lock.sentinel] : [];
  });
}

/** Whether they can be written, and made where they are missing. The folder of the login has a check of its own. */
async function checkLockFiles(
  paths: readonly string[],
  store: CredentialStore,
  look: FileProbes["look"],
  displayPath: DisplayPath,
): Promise<Finding> {
  const use = { writable: true, lost: "the login cannot be renewed" } as const;
  for (const path of paths) {
    const folder = dirname(path);
    if (folder !== dirname(store.path)) {
      // Where the folder is missing too, it is made in the one around it.
      const around = (await look(folder)).state === "absent" ? dirname(folder) : folder;
      const fault = faultOf(await look(around), displayPath(around), { kind: "folder", ...use });
      if (fault) return fault;
    }
    const fault = faultOf(await look(path), displayPath(path), { kind: "file", ...use });
    if (fault) return fault;
  }
  return ok("can be written");
}

/** kimi-cli's id of this machine. Its mode does not matter: it opens nothing. */
async function checkDeviceId(
  kimiShare: string,
  look: FileProbes["look"],
  displayPath: DisplayPath,
): Promise<Finding> {
  const path = deviceIdPath(kimiShare);
  const shown = displayPath(path);
  if ((await look(path)).state === "absent") return none(`${shown} is not there yet`);
  if ((await readDeviceId(kimiShare, false, "")) !== "") return ok(`${shown} can be read`);
  return bad(
    `${shown} holds no id that can be read: each pi makes up one of its own`,
    "make it readable for you, or move it away",
  );
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
