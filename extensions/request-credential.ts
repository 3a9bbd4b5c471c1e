/**
 * What a request to Kimi is sent with, for those who tell of it: pi's own order (`--api-key`, a key in auth.json, a
 * login), and then that of service.ts, where a configured key wins over a login.
 */
import type { ConfiguredKey } from "./configuration.ts";
import type { Choice } from "./credentials/selection.ts";
import type { CredentialStore } from "./credentials/store.ts";
import type { Region, RegionsInUse } from "./region.ts";

export type RequestCredential =
  | {
      readonly kind: "key";
      /** The argument and the entry in auth.json are pi's to read. */
      readonly given: "argument" | "entry" | "configuration";
      /** `--api-key`, a variable, or the path of a file; never the key. */
      readonly source: string;
    }
  | { readonly kind: "login"; readonly choice: Choice };

export interface Given {
  /** Whether the selected model is asked with `--api-key`. */
  readonly keyArgument: boolean;
  /** What the login search finds; it says too whether auth.json holds a key. */
  readonly choice: Choice;
  readonly configured: ConfiguredKey | undefined;
  readonly authPath: string;
}

export function requestCredential({ keyArgument, choice, configured, authPath }: Given): RequestCredential {
  if (keyArgument) return { kind: "key", given: "argument", source: "--api-key" };
  if (choice.state === "none" && choice.reason.kind === "own-key") {
    return { kind: "key", given: "entry", source: authPath };
  }
  if (configured) return { kind: "key", given: "configuration", source: configured.source };
  return { kind: "login", choice };
}

/** Whose login it is; undefined for a key, and where there is none. */
export function storeInUse(credential: RequestCredential): CredentialStore | undefined {
  if (credential.kind === "key") return undefined;
  const { choice } = credential;
  switch (choice.state) {
    case "use":
      return choice.store;
    case "mirror":
      return choice.problem.store;
    case "none":
      return undefined;
  }
}

/** The region it goes to: a login's own; a key is the first one's, see service.ts. */
export function regionInUse(credential: RequestCredential, [{ region: first }]: RegionsInUse): Region {
  return storeInUse(credential)?.region ?? first;
}
