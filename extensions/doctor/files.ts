/** Files and folders: what stands there, whose it is, who may read it, whether it can be replaced. */
import { access, constants, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemCode } from "../credentials/file.ts";
import { bad, type Check, knownCode, none, ok } from "./check.ts";
import type { NamePath } from "./places.ts";

/** What the system says of a path; links are followed. */
export type FileLook =
  | { readonly state: "absent" }
  | { readonly state: "failed"; readonly code: string }
  | {
      readonly state: "there";
      readonly kind: "file" | "folder" | "other";
      /** Permission bits; undefined where the system has none (Windows). */
      readonly mode: number | undefined;
      /** Whether it belongs to this user; true where nobody can tell. */
      readonly own: boolean;
      readonly readable: boolean;
      readonly writable: boolean;
    };

export interface FileProbes {
  readonly look: (path: string) => Promise<FileLook>;
}

/** Whether a file that holds a login, or a copy of one, is there, readable, and nobody else's to read. */
export async function checkFile(probes: FileProbes, called: NamePath, path: string, what: string) {
  const name = `${what}: file`;
  const shown = called(path);
  const seen = await probes.look(path);
  if (seen.state === "absent") return none(name, `${shown} is not there`);
  if (seen.state === "failed") {
    return bad(
      name,
      `${shown} cannot be looked at (${knownCode(seen.code)})`,
      "make its folders open to you",
    );
  }
  if (seen.kind !== "file") {
    const is = seen.kind === "folder" ? "a folder" : "no regular file";
    return bad(name, `${shown} is ${is}`, "move it away and log in again");
  }
  if (!seen.own) {
    return bad(name, `${shown} belongs to another user`, `make it yours: chown "$USER" ${shown}`);
  }
  if (!seen.readable) return bad(name, `${shown} cannot be read`, `chmod 600 ${shown}`);
  if (seen.mode !== undefined && (seen.mode & 0o077) !== 0) {
    const mode = seen.mode.toString(8).padStart(4, "0");
    return bad(name, `${shown} has mode ${mode}: others on this machine may get at it`, `chmod 600 ${shown}`);
  }
  return ok(name, `${shown} can be read by you alone`);
}

/** Whether the folder of `path` lets a file be replaced in it, and a lock be made. */
export async function checkFolder(
  probes: FileProbes,
  called: NamePath,
  path: string,
  what: string,
): Promise<Check> {
  const name = `${what}: folder`;
  const folder = dirname(path);
  const shown = called(folder);
  const seen = await probes.look(folder);
  switch (seen.state) {
    case "absent":
      return none(name, `${shown} is not there`);
    case "failed":
      return bad(name, `${shown} cannot be looked at (${knownCode(seen.code)})`, "make it open to you");
    case "there":
      if (seen.kind !== "folder") return bad(name, `${shown} is no folder`, "move it away");
      return seen.writable
        ? ok(name, `${shown} can be written`)
        : bad(name, `${shown} cannot be written: a renewed login could not be saved`, `chmod u+rwx ${shown}`);
  }
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
    const [readable, writable] = await Promise.all([
      may(constants.R_OK),
      may(found.isDirectory() ? constants.W_OK | constants.X_OK : constants.W_OK),
    ]);
    const user = process.getuid?.();
    return {
      state: "there",
      kind: found.isFile() ? "file" : found.isDirectory() ? "folder" : "other",
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
