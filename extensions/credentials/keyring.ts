/**
 * Logins that are in the system's keyring, where no other program can share them. kimi-cli kept its own there until
 * 1.4 and moves it into its file at its next start (kimi-cli#810); kimi-code's settings know the same value. Loaded
 * where no login is found: it explains why.
 */
import { join } from "node:path";
import { readSmallFileSync } from "../lib/json.ts";
import type { Owner } from "./store.ts";

/** As both write it into `config.toml`, for a provider: in a table of its own or in braces. */
const SETTING = /^[^#\n]*\bstorage\s*=\s*["']keyring["']/m;

/** Whose `config.toml` says so; undefined where none does. Never throws. */
export function keyringOwner(folders: {
  readonly kimiShare: string;
  readonly kimiCodeHome: string;
}): Owner | undefined {
  const says = (folder: string) => {
    const file = readSmallFileSync(join(folder, "config.toml"));
    return file.state === "read" && SETTING.test(file.text);
  };
  if (says(folders.kimiCodeHome)) return "kimi-code";
  return says(folders.kimiShare) ? "kimi-cli" : undefined;
}

/** Completes "… no login found: ", and what to do about it. */
export function sayKeyring(owner: Owner): { readonly says: string; readonly fix: string } {
  const says = `${owner} keeps its login in the system's keyring, where pi cannot share it`;
  const login = "type /login kimi-coder in pi";
  return {
    says,
    fix: owner === "kimi-cli" ? `start kimi-cli once, which moves it into a file, or ${login}` : login,
  };
}
