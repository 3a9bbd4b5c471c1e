/**
 * What a credential store is: the one file in which a login's current token is kept by the program that owns it.
 * A chain of rotating refresh tokens belongs to exactly one store; pi's auth.json is only a mirror of it.
 */
import type { Token } from "../oauth/token.ts";
import type { Region } from "../region.ts";
import type { Rehearsal } from "./file.ts";

/** The programs whose logins we share. */
export type Owner = "kimi-cli" | "kimi-code" | "opencode-kimi-auth" | "opencode-kimi-full";

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

export type WriteOutcome =
  | { readonly state: "written" }
  /** The file no longer holds `replaces`: its owner rotated, logged out or logged in meanwhile. Nothing was written. */
  | { readonly state: "superseded"; readonly found: StoredLogin }
  /** The old file is whole. */
  | { readonly state: "failed"; readonly code: string };

/** Lets go of a lock; never throws, and may be called twice. */
export type Release = () => Promise<void>;

export type LockOutcome =
  | { readonly state: "held"; readonly release: Release }
  /** Somebody else holds it and did not let go within the time given. */
  | { readonly state: "busy" }
  /** The lock cannot be taken here at all (read-only directory, say); `code` is the system's. */
  | { readonly state: "failed"; readonly code: string };

/** A lock that is taken to renew the login, for those who look at it. */
export type StoreLock =
  /** flock(2) on the file, which is made where it is missing. */
  | { readonly kind: "flock"; readonly path: string }
  | {
      /** A folder that is there while it is held. */
      readonly kind: "folder";
      readonly path: string;
      /** After how many ms without a sign of life its holder counts as dead. */
      readonly stale: number;
      /** The file it locks, where that is one of its own; it is made where it is missing. */
      readonly sentinel?: string;
    };

export interface CredentialStore {
  readonly owner: Owner;
  /** Whose tokens are in it: they go to the hosts of this region and to no others. */
  readonly region: Region;
  /** The file, for sentences shown to the user and for `auth.json`'s memory of where the login came from. */
  readonly path: string;
  /** Reads and parses the file. Bounded in size and time; never throws. */
  read(): Promise<StoredLogin>;
  /**
   * Puts `token` in the place of the login whose refresh token is `replaces`, keeping unknown fields.
   * Atomic: temporary file in the same directory, 0600, fsync, a last look whether it still is that login, rename,
   * through symlinks; in place where the file is mounted by itself (EBUSY). Never throws.
   */
  replace(replaces: string, token: Token): Promise<WriteOutcome>;
  /**
   * Whether `replace` could write its file now: does all of it but the fsync and the rename, with as much as a login
   * can need. For the moment before a refresh token is presented. Never throws, leaves nothing behind.
   */
  rehearse(): Promise<Rehearsal>;
  /**
   * Excludes every other pi process for as long as a refresh takes (tens of seconds at worst; a heartbeat keeps it
   * fresh and a crashed holder frees it). Waits up to `timeout` ms.
   */
  lockAmongPi(timeout: number): Promise<LockOutcome>;
  /**
   * Takes the owner's own lock as the owner takes it, waiting up to `timeout` ms. Taken inside `lockAmongPi`.
   * `limit` is how long, in ms, the owner tolerates it being held; undefined = as long as needed.
   */
  lockOfOwner(timeout: number): Promise<LockOutcome>;
  readonly ownerLockLimit: number | undefined;
  /** All that `lockAmongPi` and `lockOfOwner` take. */
  readonly locks: readonly StoreLock[];
}

/** A store into which a login made in pi may be written (kimi-cli's, kimi-code's). */
export interface LoginStore extends CredentialStore {
  /** Saves a new login over whatever is there, creating file (0600) and directory (as the owner does) when absent. */
  save(token: Token): Promise<WriteOutcome>;
  /** Whether `save` could do so now. Never throws, leaves nothing behind. */
  rehearseSave(): Promise<Rehearsal>;
}
