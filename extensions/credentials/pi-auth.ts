/**
 * Our entry in pi's auth.json: a mirror of the owner's login, read and written by pi's rules and under pi's lock.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Token } from "../oauth/token.ts";
import { parseRegion, type Region, USUAL_REGION } from "../region.ts";
import { properLockfile } from "./directory-lock.ts";
import { readSmallFileSync, systemCode, writeFileAtomicallySync } from "./file.ts";
import { indented, type Members, memberValue, parseMembers } from "./json.ts";
import type { Owner } from "./store.ts";
import { malformed, parseStored } from "./stored-token.ts";

/** What stands in auth.json for us. */
export type PiEntry =
  | {
      readonly state: "oauth";
      readonly token: Token;
      /** Whose login this mirrors, and the file it came from; undefined in an entry that others have written. */
      readonly owner: Owner | undefined;
      readonly source: string | undefined;
      /** Where the token may go; undefined = kimi.com, as in entries from before there was another. */
      readonly region?: Region | undefined;
      readonly replaces?: string | undefined;
    }
  | { readonly state: "api-key" }
  | { readonly state: "absent" }
  /** auth.json itself cannot be read; `code` is the system's. */
  | { readonly state: "unreadable"; readonly code: string }
  /** `reason` completes the sentence "auth.json …". */
  | { readonly state: "malformed"; readonly reason: string };

/** What our entry is to say. */
export interface Mirror {
  readonly token: Token;
  readonly owner: Owner;
  readonly source: string;
  /** undefined = kimi.com. */
  readonly region?: Region;
  /**
   * The fingerprint of the refresh token that `source` still holds, where the token could not be written there: it is
   * used up, and the file is to get this token instead.
   */
  readonly replaces?: string | undefined;
}

export type PiWrite =
  | { readonly state: "written" }
  /** The entry was right already, or is not ours to change. */
  | { readonly state: "left" }
  /** The file is as it was. ELOCKED: pi held its lock all the time; EBADMSG: the file is damaged. */
  | { readonly state: "failed"; readonly code: string };

export interface PiAuth {
  /** Reads without pi's lock. pi writes in place, so a file that looks damaged is looked at again. Never throws. */
  read(): Promise<PiEntry>;
  /**
   * Reads, asks `change`, writes: in one step under pi's lock, during which nothing else in this process runs.
   * Never throws.
   */
  update(change: (entry: PiEntry) => Mirror | "leave"): Promise<PiWrite>;
}

export interface PiAuthPlace {
  /** `<agent dir>/auth.json`. */
  readonly path: string;
  /** The provider's name in it. */
  readonly provider?: string;
  /** How long to wait for pi's lock, ms. */
  readonly timeout?: number;
}

const OWNERS: readonly string[] = ["kimi-cli", "kimi-code", "opencode-kimi-auth", "opencode-kimi-full"];
/** pi's own asynchronous holders give a sign of life only every 15 s, so nothing shorter may count as dead. */
const STALE = 30_000;
/** Between two tries for a lock that is held, ms. */
const PAUSE = 25;
/** Somebody who writes in place is done after this many ms. */
const TORN_PAUSE = 30;

export function piAuth({ path, provider = "kimi-coder", timeout = 5_000 }: PiAuthPlace): PiAuth {
  async function read(): Promise<PiEntry> {
    for (let looks = 1; ; looks++) {
      const { entry } = look(path, provider);
      if (entry.state !== "malformed" || looks === 4) return entry;
      await sleep(TORN_PAUSE);
    }
  }

  async function update(change: (entry: PiEntry) => Mirror | "leave"): Promise<PiWrite> {
    const giveUpAt = performance.now() + timeout;
    for (;;) {
      const outcome = tryUpdate(path, provider, change);
      if (outcome.state !== "failed" || outcome.code !== "ELOCKED") return outcome;
      if (performance.now() >= giveUpAt) return outcome;
      await sleep(PAUSE * (0.5 + Math.random()));
    }
  }

  return {
    read,
    update,
  };
}

/**
 * One try, all of it synchronous: pi takes the same lock synchronously, and would stop this process for 200 ms and
 * then go on without credentials if it found the lock held by ourselves.
 */
function tryUpdate(path: string, provider: string, change: (entry: PiEntry) => Mirror | "leave"): PiWrite {
  const releases: (() => void)[] = [];
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 }); // as pi does
    for (const name of lockNames(path)) {
      releases.unshift(
        properLockfile().lockSync(name, { stale: STALE, realpath: false, onCompromised: () => {} }),
      );
    }
    const { entry, file, own } = look(path, provider);
    const next = change(entry);
    if (!file) return { state: "failed", code: entry.state === "unreadable" ? entry.code : "EBADMSG" };
    if (next === "leave" || isMirrorOf(entry, next)) return { state: "left" };
    const members = new Map([...file, [provider, indented(withMirror(own, next), 1)]]);
    return writeFileAtomicallySync(path, indented(members), { mode: 0o600 });
  } catch (error) {
    return { state: "failed", code: systemCode(error) };
  } finally {
    for (const release of releases) letGo(release);
  }
}

function letGo(release: () => void): void {
  try {
    release();
  } catch {
    // Somebody has removed it already.
  }
}

/**
 * The names under which auth.json is locked: pi's synchronous lock takes the path as it is, the asynchronous one of
 * 0.73 what it leads to. Always in this order, so that no two of us wait for one another.
 */
function lockNames(path: string): readonly string[] {
  const named = join(realpathSync(dirname(path)), basename(path));
  try {
    const real = realpathSync(path);
    return real === named ? [named] : [named, real];
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [named];
    throw error;
  }
}

interface Look {
  readonly entry: PiEntry;
  /** All members of the file; undefined when there is no telling. */
  readonly file: Members | undefined;
  /** The members of our entry. */
  readonly own: Members;
}

const NOTHING: Members = new Map();

function look(path: string, provider: string): Look {
  const text = readSmallFileSync(path);
  switch (text.state) {
    case "absent":
      return { entry: { state: "absent" }, file: NOTHING, own: NOTHING };
    case "unreadable":
      return { entry: text, file: undefined, own: NOTHING };
    case "too-large":
      return { entry: malformed("is far too large"), file: undefined, own: NOTHING };
    case "not-text":
      return { entry: malformed("is not text"), file: undefined, own: NOTHING };
  }
  const file = text.text === "" ? NOTHING : parseMembers(text.text); // pi takes an empty file for no credentials
  if (!file) return { entry: malformed("is not a JSON object"), file, own: NOTHING };
  const ours = file.get(provider);
  if (ours === undefined) return { entry: { state: "absent" }, file, own: NOTHING };
  const own = parseMembers(ours);
  if (!own) return { entry: malformed("holds a damaged entry"), file, own: NOTHING };
  return { entry: parseEntry(own), file, own };
}

function parseEntry(own: Members): PiEntry {
  const type = memberValue(own, "type");
  if (type === "api_key") return { state: "api-key" };
  if (type !== "oauth") return malformed("holds a damaged entry");
  const login = parseStored({
    access: memberValue(own, "access"),
    refresh: memberValue(own, "refresh"),
    expiresAt: memberValue(own, "expires"),
    unit: 1,
  });
  if (login.state !== "present") return malformed("holds a damaged entry");
  const owner = memberValue(own, "owner");
  const source = memberValue(own, "source");
  const replaces = memberValue(own, "replaces");
  return {
    state: "oauth",
    token: login.token,
    owner: isOwner(owner) ? owner : undefined,
    source: typeof source === "string" ? source : undefined,
    region: parseRegion(memberValue(own, "region")),
    replaces: typeof replaces === "string" ? replaces : undefined,
  };
}

function isOwner(value: unknown): value is Owner {
  return typeof value === "string" && OWNERS.includes(value);
}

/** Whether the entry says all of this already. */
export function isMirrorOf(entry: PiEntry, { token, owner, source, region, replaces }: Mirror): boolean {
  return (
    entry.state === "oauth" &&
    entry.owner === owner &&
    entry.source === source &&
    (entry.region ?? USUAL_REGION) === (region ?? USUAL_REGION) &&
    entry.replaces === replaces &&
    entry.token.accessToken === token.accessToken &&
    entry.token.refreshToken === token.refreshToken &&
    entry.token.expiresAt === Math.floor(token.expiresAt)
  );
}

function withMirror(own: Members, mirror: Mirror): Members {
  const { token, owner, source, region = USUAL_REGION, replaces } = mirror;
  const members = new Map([
    ...own,
    ["type", '"oauth"'],
    ["access", JSON.stringify(token.accessToken)],
    ["refresh", JSON.stringify(token.refreshToken)],
    ["expires", String(Math.floor(token.expiresAt))],
    ["owner", JSON.stringify(owner)],
    ["source", JSON.stringify(source)],
    ["region", JSON.stringify(region)],
    ["replaces", JSON.stringify(replaces ?? null)],
  ]);
  if (region === USUAL_REGION) members.delete("region");
  if (replaces === undefined) members.delete("replaces");
  return members;
}
