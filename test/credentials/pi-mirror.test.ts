import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { type Memory, recallSync, rememberSync, sighting } from "../../extensions/credentials/memory.ts";
import { type PiAuth, type PiEntry, piAuth } from "../../extensions/credentials/pi-auth.ts";
import { createPiMirror, type MirrorEvent, type ToMirror } from "../../extensions/credentials/pi-mirror.ts";
import type { CredentialStore, StoredLogin } from "../../extensions/credentials/store.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { FIRST, put, SECOND, temporaryDirectory } from "./support/homes.ts";

const SOURCE = "/home/someone/.kimi/credentials/kimi-code.json";
const ENTRY = {
  type: "oauth",
  access: FIRST.accessToken,
  refresh: FIRST.refreshToken,
  expires: FIRST.expiresAt,
  owner: "kimi-cli",
  source: SOURCE,
};
const NEXT = {
  ...ENTRY,
  access: SECOND.accessToken,
  refresh: SECOND.refreshToken,
  expires: Math.floor(SECOND.expiresAt),
};
const KNOWN: Memory = { seeded: true, seen: { [SOURCE]: sighting(FIRST) } };
const BLANK: Memory = { seeded: false, seen: {} };
const OF_IT: PiEntry = { state: "oauth", token: FIRST, owner: "kimi-cli", source: SOURCE };

let authPath: string;
let memoryPath: string;
let events: MirrorEvent[];
let asked: number;
beforeEach(() => {
  const home = temporaryDirectory();
  authPath = join(home, "auth.json");
  memoryPath = join(home, "kimi-coder.json");
  events = [];
  asked = 0;
});

const NEVER = () => Promise.reject(new Error("a mirror must not touch the store's file"));

function store(read: () => StoredLogin): CredentialStore {
  return {
    owner: "kimi-cli",
    region: "kimi.com",
    path: SOURCE,
    ownerLockLimit: undefined,
    locks: [],
    read: async () => read(),
    replace: NEVER,
    rehearse: NEVER,
    lockAmongPi: NEVER,
    lockOfOwner: NEVER,
  };
}

const holding = (token: Token) => store(() => ({ state: "present", token }));

/** Mirrors `token`, which the store holds too unless another is given, and counts how often pi's lock was taken. */
async function follow(token: Token, more: Partial<ToMirror> = {}, update?: PiAuth["update"]): Promise<void> {
  const real = piAuth({ path: authPath });
  const counted: PiAuth = {
    read: real.read,
    update(change) {
      asked += 1;
      return update ? update(change) : real.update(change);
    },
  };
  const mirror = createPiMirror({ piAuth: counted, memoryPath, listener: (event) => events.push(event) });
  const usual = { token, store: holding(token), seen: OF_IT, seed: undefined, replaces: undefined };
  await mirror({ ...usual, ...more });
}

const entry = (): unknown => JSON.parse(readFileSync(authPath, "utf8"))["kimi-coder"];
const write = (value: unknown) => put(authPath, JSON.stringify({ "kimi-coder": value }));

describe("pi's lock is left alone", () => {
  it("when the entry and the memory are right", async () => {
    write(ENTRY);
    rememberSync(memoryPath, KNOWN);
    await follow(FIRST);
    expect(asked).toBe(0);
    expect(events).toEqual([]);
  });

  it("when pi has no entry, and is to get none", async () => {
    await follow(FIRST);
    expect(asked).toBe(0);
    expect(existsSync(dirname(authPath))).toBe(true);
    expect(existsSync(authPath)).toBe(false);
  });
});

describe("pi's entry is written", () => {
  it.each([
    ["another access token", { access: "another" }],
    ["another refresh token", { refresh: "another" }],
    ["another region", { region: "kimi.ai" }],
    ["what it replaced", { replaces: "0123456789abcdef" }],
  ])("where it says %s", async (_name, member) => {
    write({ ...ENTRY, ...member });
    rememberSync(memoryPath, KNOWN);
    await follow(FIRST);
    expect(entry()).toEqual(ENTRY);
    expect(events).toEqual([{ kind: "mirrored" }]);
  });

  it("where another login had been chosen from, with the new one's owner and file", async () => {
    write({ ...ENTRY, owner: "kimi-code", source: "/elsewhere" });
    const seen: PiEntry = { state: "oauth", token: FIRST, owner: "kimi-code", source: "/elsewhere" };
    await follow(FIRST, { seen });
    expect(entry()).toEqual(ENTRY);
  });

  it("with what the store holds by then", async () => {
    write(ENTRY);
    await follow(FIRST, { store: holding(SECOND) });
    expect(entry()).toEqual(NEXT);
    expect(recallSync(memoryPath).seen).toEqual({ [SOURCE]: sighting(SECOND) });
  });

  it("once more when the store has changed meanwhile", async () => {
    write({ ...ENTRY, access: "older" });
    let looks = 0;
    const token = () => (++looks === 1 ? FIRST : SECOND);
    await follow(FIRST, { store: store(() => ({ state: "present", token: token() })) });
    expect(entry()).toEqual(NEXT);
    expect(asked).toBe(2);
    expect(events).toEqual([{ kind: "mirrored" }]);
  });

  it("with a token that the store does not hold, and what that replaces", async () => {
    write(ENTRY);
    await follow(SECOND, { store: holding(FIRST), replaces: "0123456789abcdef" });
    expect(entry()).toEqual({ ...NEXT, replaces: "0123456789abcdef" });
    expect(asked).toBe(1);
  });

  it("with the token it was given, where the store's file cannot be read by then", async () => {
    write(ENTRY);
    await follow(SECOND, { store: store(() => ({ state: "unreadable", code: "EACCES" })) });
    expect(entry()).toEqual(NEXT);
  });
});

describe("the memory", () => {
  it.each<[string, Memory]>([
    ["was never told of an entry", { ...KNOWN, seeded: false }],
    ["has seen another login there", { seeded: true, seen: { [SOURCE]: sighting(SECOND) } }],
  ])("is put right where it %s, and of the entry nothing is said", async (_name, memory) => {
    write(ENTRY);
    rememberSync(memoryPath, { ...memory, seen: { ...memory.seen, "/elsewhere": "gone" } });
    await follow(FIRST);
    expect(recallSync(memoryPath)).toEqual({ seeded: true, seen: { ...KNOWN.seen, "/elsewhere": "gone" } });
    expect(events).toEqual([]);
  });

  it("knows of a first entry after it is there, not before", async () => {
    const real = piAuth({ path: authPath });
    let then: Memory | undefined;
    await follow(FIRST, { seen: { state: "absent" }, seed: BLANK }, async (change) => {
      const outcome = await real.update(change);
      then = recallSync(memoryPath);
      return outcome;
    });
    expect(entry()).toEqual(ENTRY);
    expect(then).toEqual(BLANK);
    expect(recallSync(memoryPath)).toEqual(KNOWN);
  });

  it("stays as it is where the entry could not be made", async () => {
    await follow(FIRST, { seen: { state: "absent" }, seed: BLANK }, async () => ({
      state: "failed",
      code: "EROFS",
    }));
    expect(recallSync(memoryPath)).toEqual(BLANK);
    expect(events).toEqual([{ kind: "unmirrored", code: "EROFS" }]);
  });
});

describe("nothing is written", () => {
  it("for a first entry, when the memory has changed since", async () => {
    rememberSync(memoryPath, KNOWN);
    await follow(FIRST, { seen: { state: "absent" }, seed: BLANK });
    expect(existsSync(authPath)).toBe(false);
    expect(recallSync(memoryPath)).toEqual(KNOWN);
  });

  it.each<[string, object, PiEntry]>([
    ["a key", { type: "api_key", key: "k" }, OF_IT],
    ["a damaged entry", { ...ENTRY, access: 1 }, OF_IT],
    ["another login than the one that was there", { ...NEXT, source: "/elsewhere" }, OF_IT],
    ["another owner's login than the one that was there", { ...NEXT, owner: "kimi-code" }, OF_IT],
    ["a login where there was none", { ...NEXT, source: "/elsewhere" }, { state: "absent" }],
  ])("over %s", async (_name, value, seen) => {
    write(value);
    const before = readFileSync(authPath, "utf8");
    await follow(FIRST, { seen, seed: BLANK });
    expect(readFileSync(authPath, "utf8")).toBe(before);
    expect(recallSync(memoryPath)).toEqual(BLANK);
    expect(events).toEqual([]);
  });
});
