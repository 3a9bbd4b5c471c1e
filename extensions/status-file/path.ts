/** Where the status file is. */
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
      "Kimi Coder: CAO_TERMINAL_ID is no plain name, so no status file is written; name one in KIMI_CODER_STATUS_FILE.",
  };
}
