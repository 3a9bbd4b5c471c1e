/** Every store, with the login FIRST in its file. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { piStore } from "../../../extensions/credentials/pi-entry.ts";
import type { CredentialStore, Owner } from "../../../extensions/credentials/store.ts";
import {
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiAuthStore,
  opencodeKimiFullStore,
} from "../../../extensions/credentials/stores.ts";
import { put, temporaryDirectory, USUAL_HOSTS } from "./homes.ts";

export type OpenStore = (home: string) => CredentialStore;

export const openKimiCode: OpenStore = (home) => kimiCodeStore(home, USUAL_HOSTS);

export const STORES: Readonly<Record<Owner, OpenStore>> = {
  "kimi-cli": (home) => kimiCliStore(home),
  "kimi-code": openKimiCode,
  "opencode-kimi-auth": opencodeKimiAuthStore,
  "opencode-kimi-full": opencodeKimiFullStore,
  pi: (home) => piStore(join(home, "auth.json"), "kimi.com"),
};

export const WIRE = { access_token: "access-1", refresh_token: "refresh-1", expires_at: 1_800_000_000 };
export const ENTRY = { type: "oauth", access: "access-1", refresh: "refresh-1", expires: 1_800_000_000_000 };

function loginOf(owner: Owner): object {
  if (owner === "pi") return { "kimi-coder": ENTRY };
  return owner === "opencode-kimi-full" ? { "kimi-for-coding-oauth": ENTRY } : WIRE;
}

/** A home in which the store's program has a login, with `more` beside it in the file. */
export function homeWith(open: OpenStore, more: object = {}) {
  const home = temporaryDirectory();
  const store = open(home);
  const login = loginOf(store.owner);
  put(store.path, JSON.stringify({ ...login, ...more }));
  return { home, store, login, content: () => readFileSync(store.path, "utf8") };
}
