/** Opens the status file that the environment asks for, unless a pi above this one has it already. */
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import type { Environment } from "../configuration.ts";
import { followStatus, type StatusFile } from "./follow.ts";
import { claim, isClaimedBy, isProcessAlive } from "./owner.ts";
import { type Surroundings, statusPath } from "./path.ts";

export type { StatusFile } from "./follow.ts";

/** undefined where nothing is written. */
export function offerStatusFile(
  pi: ExtensionAPI,
  env: Record<string, string | undefined> & Environment,
  surroundings: Surroundings,
  piVersion: string,
): StatusFile | undefined {
  const asked = statusPath(env, surroundings);
  if (!asked) return undefined;
  if (asked.state === "refused") {
    let said = false;
    pi.on("session_start", ({ reason }, { hasUI, ui }) => {
      if (said || reason !== "startup") return;
      said = true;
      if (hasUI) ui.notify(asked.sentence, "warning");
      else console.error(asked.sentence);
    });
    return undefined;
  }
  const { path } = asked;
  const goesOn = isClaimedBy(env, process.pid, path);
  if (!claim(env, process.pid, path, isProcessAlive)) return undefined;
  return followStatus(pi, { path, goesOn, agentDir: surroundings.agentDir, piVersion, now: Date.now });
}
