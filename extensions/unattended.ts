/** Whether a person can be asked anything by this process. */
import type { Environment } from "./configuration.ts";

export const NOBODY_THERE =
  "Kimi Coder: start pi in a terminal and type /login kimi-coder there; a login needs a person.";
const DRIVEN =
  "Kimi Coder: a login needs a person, and this pi is driven through its status file; start pi in a terminal without KIMI_CODER_STATUS_FILE and CAO_TERMINAL_ID and type /login kimi-coder there.";

/** Whether a program reads this process's state from a file; see status-file/. */
export function asksForStatus(env: Environment): boolean {
  return Boolean(env.KIMI_CODER_STATUS_FILE?.trim() || env.CAO_TERMINAL_ID?.trim());
}

/** One sentence why nobody is asked to log in: a program reads the status file, or pi has no screen. */
export function loginRefusal(env: Environment, arguments_: readonly string[]): string | undefined {
  if (asksForStatus(env)) return DRIVEN;
  const hasNoScreen = (word: string, index: number) =>
    word === "-p" ||
    word === "--print" ||
    (word === "--mode" && /^(?:text|json|rpc)$/.test(arguments_[index + 1] ?? ""));
  return arguments_.some(hasNoScreen) ? NOBODY_THERE : undefined;
}
