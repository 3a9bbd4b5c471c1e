/** What another user of this machine can do; only root can ask. */
import { spawnSync } from "node:child_process";

/** Whether the user can read the file, which takes every folder above it as well: a checkout may be root's alone. */
export function canRead(user: number, path: string): boolean {
  return spawnSync("test", ["-r", path], { uid: user, gid: user }).status === 0;
}
