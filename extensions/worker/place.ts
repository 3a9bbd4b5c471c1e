/** Where the status file is, and whose it is. */
import { resolve } from "node:path";
import { type Environment, expandHome } from "../configuration.ts";

export type StatusPath =
  | { readonly state: "asked"; readonly path: string }
  /** One sentence why nothing is written. */
  | { readonly state: "refused"; readonly sentence: string };

export interface Surroundings {
  readonly home: string;
  /** What a relative path begins at. */
  readonly cwd: string;
  readonly agentDir: string;
}

/** A file name of its own: no separators, no leading dot. CAO's are 8 hex digits. */
const SAFE_ID = /^[A-Za-z0-9][\w.-]{0,127}$/;

/** `KIMI_CODER_STATUS_FILE`, else the default path for `CAO_TERMINAL_ID`; undefined where neither is set. */
export function statusPath(env: Environment, { home, cwd, agentDir }: Surroundings): StatusPath | undefined {
  const path = env.KIMI_CODER_STATUS_FILE?.trim();
  if (path) return { state: "asked", path: resolve(cwd, expandHome(path, home)) };
  const id = env.CAO_TERMINAL_ID?.trim();
  if (!id) return undefined;
  if (SAFE_ID.test(id)) {
    return { state: "asked", path: resolve(cwd, agentDir, "kimi-coder-status", `${id}.json`) };
  }
  return {
    state: "refused",
    sentence:
      "Kimi Coder: CAO_TERMINAL_ID is not a plain file name, so no status file is written; name one in KIMI_CODER_STATUS_FILE.",
  };
}

/** `<process id>:<path>`; nothing secret. */
export const OWNER_VARIABLE = "KIMI_CODER_STATUS_OWNER";

/**
 * Claims `path` for the process `pid`, and says so in `env`, which every program that it starts inherits: a pi among them
 * (a subagent) must not write over the file of the pi above it. False where a living process above has claimed it.
 */
export function claim(
  env: Record<string, string | undefined>,
  pid: number,
  path: string,
  isAlive: (pid: number) => boolean,
): boolean {
  const [, owner, claimed] = /^([1-9]\d{0,9}):(.*)$/s.exec(env[OWNER_VARIABLE] ?? "") ?? [];
  if (claimed === path && Number(owner) !== pid && isAlive(Number(owner))) return false;
  env[OWNER_VARIABLE] = `${pid}:${path}`;
  return true;
}

/** Whether there is such a process, of any user. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
