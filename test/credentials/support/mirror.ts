/** What the core does to pi's entry in the end: brings it in line with a login, and only with `seed` where there is none. */
import type { PiAuth, PiWrite } from "../../../extensions/credentials/pi-auth.ts";
import type { CredentialStore } from "../../../extensions/credentials/store.ts";
import type { Token } from "../../../extensions/oauth/token.ts";

export function mirrorInto(
  auth: PiAuth,
  token: Token,
  { owner, path: source }: Pick<CredentialStore, "owner" | "path">,
  seed: boolean,
): Promise<PiWrite> {
  return auth.update((entry) =>
    entry.state === "oauth" || (entry.state === "absent" && seed) ? { token, owner, source } : "leave",
  );
}
