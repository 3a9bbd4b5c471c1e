/**
 * Whose the status file is. The programs that an agent starts inherit its environment, and a pi among them (a subagent)
 * must not write over the file of the pi that started it: the owner leaves a mark in the environment it hands down.
 */

/** `<process id>:<path>`; nothing secret. */
export const OWNER_VARIABLE = "KIMI_CODER_STATUS_OWNER";

/**
 * Claims `path` for the process `pid`, and says so in `env`, which every program that it starts inherits. False where a
 * living process above this one has claimed it.
 */
export function claim(
  env: Record<string, string | undefined>,
  pid: number,
  path: string,
  isAlive: (pid: number) => boolean,
): boolean {
  const owner = ownerOf(env, path);
  if (owner !== undefined && owner !== pid && isAlive(owner)) return false;
  env[OWNER_VARIABLE] = `${pid}:${path}`;
  return true;
}

/**
 * Whether the process `pid` has claimed `path` before, as it has after /new and /reload. That its id stands in the file
 * does not say so: in a container each pi may have the id of the one before it.
 */
export function isClaimedBy(env: Record<string, string | undefined>, pid: number, path: string): boolean {
  return ownerOf(env, path) === pid;
}

function ownerOf(env: Record<string, string | undefined>, path: string): number | undefined {
  const [, owner, claimed] = /^([1-9]\d{0,9}):(.*)$/s.exec(env[OWNER_VARIABLE] ?? "") ?? [];
  return claimed === path ? Number(owner) : undefined;
}

/** Whether there is such a process, whoever's it is. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
