import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint } from "../../extensions/credentials/fingerprint.ts";
import { isNewLogin, type Memory, sighting } from "../../extensions/credentials/memory.ts";
import type { PiEntry } from "../../extensions/credentials/pi-auth.ts";
import { chooseLogin, type Look } from "../../extensions/credentials/selection.ts";
import type { CredentialStore, Owner, StoredLogin } from "../../extensions/credentials/store.ts";
import type { Token } from "../../extensions/oauth/token.ts";

const NOW = Date.UTC(2026, 10, 20);
const NEVER = () => Promise.reject(new Error("choosing must not touch a store"));

function store(owner: Owner, path = `/home/someone/${owner}.json`): CredentialStore {
  return {
    owner,
    region: "kimi.com",
    path,
    ownerLockLimit: undefined,
    locks: [],
    read: NEVER,
    replace: NEVER,
    rehearse: NEVER,
    lockAmongPi: NEVER,
    lockOfOwner: NEVER,
  };
}

function token(name: string, left = 600_000): Token {
  return {
    accessToken: `access-${name}`,
    refreshToken: `refresh-${name}`,
    expiresAt: NOW + left,
    lifetime: 900_000,
    scope: undefined,
    tokenType: undefined,
  };
}

const cli = store("kimi-cli");
const code = store("kimi-code");
const here = (it: Token): StoredLogin => ({ state: "present", token: it });
const gone: StoredLogin = { state: "absent" };
const signedOut: StoredLogin = { state: "signed-out" };
const unreadable: StoredLogin = { state: "unreadable", code: "EACCES" };
const malformed: StoredLogin = { state: "malformed", reason: "is not JSON" };

const looks = (inCli: StoredLogin, inCode: StoredLogin): Look[] => [
  { store: cli, found: inCli },
  { store: code, found: inCode },
];
const FIRST: Memory = { seeded: false, seen: {} };
const none: PiEntry = { state: "absent" };
const entryOf = (
  of: Pick<CredentialStore, "owner" | "path">,
  it = token("mirror"),
  replaces?: string,
): PiEntry => ({
  state: "oauth",
  token: it,
  owner: of.owner,
  source: of.path,
  replaces,
});
const noLogin = (kind: string) => ({ state: "none", reason: { kind } });
const problem = (of: CredentialStore, found: StoredLogin) => ({
  state: "none",
  reason: { kind: "problem", problem: { store: of, found } },
});

describe("the first time", () => {
  const first = (inCli: StoredLogin, inCode: StoredLogin) =>
    chooseLogin(none, looks(inCli, inCode), FIRST, NOW);
  const [a, b] = [token("a", 500_000), token("b", 500_001)];

  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["the only login", gone, here(b), { state: "use", store: code, token: b, seed: true }],
    ["the one that is valid longest", here(a), here(b), { state: "use", store: code, token: b, seed: true }],
    ["the preferred one of two alike", here(a), here(a), { state: "use", store: cli, token: a, seed: true }],
    [
      "an expired one, to be renewed",
      here(token("x", -1)),
      gone,
      { state: "use", store: cli, token: token("x", -1), seed: true },
    ],
    [
      "a good one beside a damaged one",
      malformed,
      here(b),
      { state: "use", store: code, token: b, seed: true },
    ],
    ["none where there is none", gone, gone, noLogin("no-login")],
    ["none where one has logged out", gone, signedOut, problem(code, signedOut)],
    ["the first problem", unreadable, malformed, problem(cli, unreadable)],
    ["the problem behind an absent store", gone, malformed, problem(code, malformed)],
  ])("takes %s", (_name, inCli, inCode, choice) => {
    expect(first(inCli, inCode)).toEqual(choice);
  });
});

describe("with an entry in pi", () => {
  const mirror = token("mirror", 1);
  const choose = (entry: PiEntry, inCli: StoredLogin, inCode: StoredLogin) =>
    chooseLogin(entry, looks(inCli, inCode), FIRST, NOW);

  it.each<[string, PiEntry, StoredLogin, StoredLogin, object]>([
    [
      "stays with the login it was seeded from",
      entryOf(cli),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: cli, token: token("a", 1), seed: false },
    ],
    [
      "takes its own copy where that has replaced what the file still holds",
      entryOf(cli, token("mirror"), fingerprint("refresh-a")),
      here(token("a", 900_000)),
      gone,
      { state: "use", store: cli, token: token("mirror"), seed: false, replaces: fingerprint("refresh-a") },
    ],
    [
      "takes the file again where that holds another login by now",
      entryOf(cli, token("mirror"), fingerprint("refresh-a")),
      here(token("b", 1)),
      gone,
      { state: "use", store: cli, token: token("b", 1), seed: false },
    ],
    [
      "takes another where its own is gone",
      entryOf(cli),
      gone,
      here(token("b")),
      { state: "use", store: code, token: token("b"), seed: false },
    ],
    [
      "takes a real login for an entry that others have written",
      { state: "oauth", token: mirror, owner: undefined, source: undefined },
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: code, token: token("b", 2), seed: false },
    ],
    [
      "does not confuse homes of one owner",
      entryOf({ owner: "kimi-cli", path: "/elsewhere" }),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: code, token: token("b", 2), seed: false },
    ],
    ["ends with its owner's logout: file gone", entryOf(cli, mirror), gone, gone, problem(cli, gone)],
    [
      "ends with its owner's logout: tombstone",
      entryOf(cli, mirror),
      signedOut,
      gone,
      problem(cli, signedOut),
    ],
    [
      "lives on its mirror while the file cannot be read",
      entryOf(cli, mirror),
      unreadable,
      gone,
      { state: "mirror", token: mirror, problem: { store: cli, found: unreadable } },
    ],
    [
      "lives on its mirror while the file is damaged",
      entryOf(cli, mirror),
      malformed,
      gone,
      { state: "mirror", token: mirror, problem: { store: cli, found: malformed } },
    ],
    [
      "not longer than the mirror is valid",
      entryOf(cli, token("m", 0)),
      malformed,
      gone,
      problem(cli, malformed),
    ],
    [
      "does not confuse owners who share a file",
      entryOf({ owner: "opencode-kimi-full", path: cli.path }),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: code, token: token("b", 2), seed: false },
    ],
    [
      "lives on its mirror where its store is unknown and a file is damaged",
      { state: "oauth", token: mirror, owner: undefined, source: undefined },
      gone,
      malformed,
      { state: "mirror", token: mirror, problem: { store: code, found: malformed } },
    ],
    [
      "ends where its store is unknown and a program has logged out",
      { state: "oauth", token: mirror, owner: undefined, source: undefined },
      gone,
      signedOut,
      problem(code, signedOut),
    ],
    [
      "does not use its mirror for the file of another region",
      { state: "oauth", token: mirror, owner: undefined, source: undefined, region: "kimi.ai" },
      malformed,
      gone,
      problem(cli, malformed),
    ],
    [
      "knows of no login where its store is unknown and no other is there",
      { state: "oauth", token: mirror, owner: undefined, source: undefined },
      gone,
      gone,
      noLogin("no-login"),
    ],
  ])("%s", (_name, entry, inCli, inCode, choice) => {
    expect(choose(entry, inCli, inCode)).toEqual(choice);
  });

  it("leaves the user's own key alone", () => {
    expect(choose({ state: "api-key" }, here(token("a")), here(token("b")))).toEqual(noLogin("own-key"));
  });

  it.each<PiEntry>([
    { state: "unreadable", code: "EACCES" },
    { state: "malformed", reason: "is not JSON" },
  ])("uses a login without touching an auth.json that is $state", (entry) => {
    expect(choose(entry, here(token("a")), gone)).toEqual({
      state: "use",
      store: cli,
      token: token("a"),
      seed: false,
    });
    expect(choose(entry, malformed, gone)).toEqual(problem(cli, malformed));
    expect(choose(entry, gone, gone)).toEqual(noLogin("no-login"));
  });
});

describe("after a logout in pi", () => {
  const seen: Memory = { seeded: true, seen: { [cli.path]: sighting(token("a")), [code.path]: "gone" } };
  const choose = (inCli: StoredLogin, inCode: StoredLogin, memory = seen) =>
    chooseLogin(none, looks(inCli, inCode), memory, NOW);
  const rotated = { ...token("rotated"), expiresAt: token("a").expiresAt + 500_000 };
  const another = { ...token("another"), expiresAt: token("a").expiresAt + 60_000 };

  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["the login that was left", here(token("a")), gone, noLogin("logged-out")],
    ["its rotation by its owner", here(rotated), gone, noLogin("logged-out")],
    ["nothing", gone, gone, noLogin("no-login")],
    ["a logout of its owner too", signedOut, gone, problem(cli, signedOut)],
  ])("stays logged out: %s", (_name, inCli, inCode, choice) => {
    expect(choose(inCli, inCode)).toEqual(choice);
  });

  it.each<[string, StoredLogin, StoredLogin, CredentialStore, Token]>([
    ["a new login in the same program", here(another), gone, cli, another],
    ["a new login in another program", here(token("a")), here(token("b", 1)), code, token("b", 1)],
  ])("sees %s", (_name, inCli, inCode, from, it) => {
    expect(choose(inCli, inCode)).toEqual({ state: "use", store: from, token: it, seed: true });
  });

  it("does not take a store that it never looked into for a new login", () => {
    expect(choose(here(token("a")), here(token("b")), { seeded: true, seen: {} })).toEqual(
      noLogin("logged-out"),
    );
  });
});

describe("whatever the world looks like", () => {
  const stores = [cli, code, store("opencode-kimi-full"), store("opencode-kimi-auth")];
  const names = fc.constantFrom("a", "b", "c", "d");
  const tokens = fc
    .tuple(names, fc.integer({ min: -2_000_000, max: 2_000_000 }))
    .map(([name, left]) => token(name, left));
  const found: fc.Arbitrary<StoredLogin> = fc.oneof(
    tokens.map(here),
    fc.constantFrom(gone, signedOut, unreadable, malformed),
  );
  const anyLooks = fc.tuple(found, found, found, found).map((all) =>
    all.flatMap((one, index): Look[] => {
      const at = stores[index];
      return at ? [{ store: at, found: one }] : [];
    }),
  );
  const anyMemory: fc.Arbitrary<Memory> = fc.record({
    seeded: fc.boolean(),
    seen: fc
      .array(
        fc.tuple(
          fc.constantFrom(...stores.map(({ path }) => path)),
          fc.oneof(tokens.map(sighting), fc.constant("gone" as const)),
        ),
      )
      .map((pairs) => Object.fromEntries(pairs)),
  });
  const anyEntry: fc.Arbitrary<PiEntry> = fc.oneof(
    fc.constantFrom<PiEntry>(
      none,
      { state: "api-key" },
      { state: "unreadable", code: "EACCES" },
      { state: "malformed", reason: "is not JSON" },
    ),
    fc
      .tuple(tokens, fc.constantFrom(...stores, undefined))
      .map(([it, of]): PiEntry => ({ state: "oauth", token: it, owner: of?.owner, source: of?.path })),
  );

  it("never uses what is not there, seeds only an empty place, and never undoes a logout", () => {
    fc.assert(
      fc.property(anyEntry, anyLooks, anyMemory, (entry, all, memory) => {
        const choice = chooseLogin(entry, all, memory, NOW);
        if (choice.state === "use") {
          const look = all.find((one) => one.store === choice.store);
          expect(look?.found).toEqual(here(choice.token));
          expect(choice.seed).toBe(entry.state === "absent");
          expect(entry.state).not.toBe("api-key");
          if (entry.state === "absent" && memory.seeded && look) {
            const before = memory.seen[look.store.path];
            expect(isNewLogin(before, look.found)).toBe(true);
            expect(before).not.toEqual(sighting(choice.token));
          }
          const own =
            entry.state === "oauth" ? all.find((one) => one.store.path === entry.source) : undefined;
          if (own?.found.state === "present") expect(choice.store).toBe(own.store);
          return;
        }
        if (choice.state === "mirror") {
          expect(entry).toMatchObject({ state: "oauth", token: choice.token });
          expect(choice.token.expiresAt).toBeGreaterThan(NOW);
          expect(["unreadable", "malformed"]).toContain(choice.problem.found.state);
          expect(all.some(({ found }) => found.state === "present")).toBe(false);
          return;
        }
        const { reason } = choice;
        const present = all.some(({ found }) => found.state === "present");
        if (reason.kind === "problem") {
          const { store: of, found: it } = reason.problem;
          expect(all).toContainEqual({ store: of, found: it });
        }
        if (reason.kind === "own-key") expect(entry.state).toBe("api-key");
        if (reason.kind === "logged-out")
          expect([entry.state, memory.seeded, present]).toEqual(["absent", true, true]);
        // A login is left unused only by the user's word.
        if (present) expect(["own-key", "logged-out"]).toContain(reason.kind);
      }),
      { numRuns: 2_000 },
    );
  });
});
