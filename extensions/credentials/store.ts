/**
 * What a credential store is: the one file in which a login's current token is kept by the program that owns it.
 * A chain of rotating refresh tokens belongs to exactly one store. pi's auth.json mirrors it, and is the store itself
 * for a login that stands in no other program's file.
 */
import type { Members } from "../lib/json.ts";
import type { Token } from "../oauth/token.ts";
import type { Region } from "../region.ts";

/** The programs whose logins we share. */
export type Owner = "kimi-cli" | "kimi-code" | "opencode-kimi-auth" | "opencode-kimi-full" | "pi";

/** What a look at the file found; each needs another sentence for the user. */
export type StoredLogin =
  | { readonly state: "present"; readonly token: Token }
  | { readonly state: "absent" }
  /** The owner wrote empty tokens: logged out on purpose. Never refreshed, never adopted. */
  | { readonly state: "signed-out" }
  /** `code` is the system's (EACCES, EISDIR, …). */
  | { readonly state: "unreadable"; readonly code: string }
  /** `reason` completes the sentence "the file …", without anything that stands in the file. */
  | { readonly state: "malformed"; readonly reason: string };

/** How a program keeps its login in the members of a JSON object. */
export interface TokenFormat {
  readonly parse: (members: Members) => StoredLogin;
  /** The members with the token in them; everything else stays as it was. */
  readonly update: (members: Members, token: Token) => Members;
  /** The file's text, as the program itself writes it. */
  readonly render: (members: Members) => string;
  /** Whether the program overwrites its file in place, so that a reader may find half of it for a moment. */
  readonly writtenInPlace?: boolean;
}

/** A lock that is taken to renew the login. */
export type StoreLock =
  /** flock(2) on the file, which is made where it is missing, and never removed. */
  | { readonly kind: "flock"; readonly path: string; readonly whose: "ours" | "owner's" }
  /** proper-lockfile on the empty file `sentinel`, which is made where it is missing. `stale` in ms. */
  | { readonly kind: "folder"; readonly path: string; readonly sentinel: string; readonly stale: number }
  /** A folder with an `owner.json` that its holder rewrites as a sign of life. `stale` in ms. */
  | { readonly kind: "owner-file"; readonly path: string; readonly stale: number };

export interface CredentialStore {
  readonly owner: Owner;
  /** Whose tokens are in it: they go to the hosts of this region and to no others. */
  readonly region: Region;
  /** The file, for sentences shown to the user and for `auth.json`'s memory of where the login came from. */
  readonly path: string;
  readonly format: TokenFormat;
  /** The mode of the folder, where it has to be made for a login. */
  readonly folderMode: number;
  /** In the order in which they are taken: first the one among pi processes, then the owner's as the owner takes it. */
  readonly locks: readonly StoreLock[];
  /** Reads and parses the file. Bounded in size and time; never throws. */
  read(): Promise<StoredLogin>;
}

/** Lets go of a lock; never throws, and may be called twice. */
export type Release = () => Promise<void>;

export type LockOutcome =
  | { readonly state: "held"; readonly release: Release }
  /** Somebody else holds it and did not let go within the time given. */
  | { readonly state: "busy" }
  /** The lock cannot be taken here (read-only directory, say). ENOTSUP: never, on this machine. */
  | { readonly state: "failed"; readonly code: string };

/** How long a lock is waited for. */
export interface Patience {
  /** ms awake. */
  readonly timeout: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
}

export type LockFailure =
  /** Another program held a lock all the time we were ready to wait. */
  | { readonly kind: "busy" }
  /** The lock at `path` cannot be taken; `code` is the system's. */
  | { readonly kind: "lock"; readonly code: string; readonly path: string };
