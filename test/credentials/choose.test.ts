import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { type Choice, chooseLogin, type Look, lookForLogin } from "../../extensions/credentials/choose.ts";
import { type PiEntry, piStore } from "../../extensions/credentials/pi-entry.ts";
import type { CredentialStore, Owner, StoredLogin } from "../../extensions/credentials/store.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { count } from "../support/counts.ts";
import { put, temporaryDirectory } from "./support/homes.ts";

const NOW = Date.UTC(2026, 10, 20);
function store(owner: Owner, path = `/home/someone/${owner}.json`): CredentialStore {
  return {
    owner,
    region: "kimi.com",
    path,
    format: { parse: () => ({ state: "absent" }), update: (members) => members, render: () => "" },
    folderMode: 0o700,
    locks: [],
    read: () => Promise.reject(new Error("choosing must not touch a store")),
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
const own = piStore("/home/someone/.pi/agent/auth.json", "kimi.com");
const none: PiEntry = { state: "absent" };
const entryOf = (of: Pick<CredentialStore, "owner" | "path"> | undefined, it = token("mirror")): PiEntry => ({
  state: "oauth",
  token: it,
  mirrored: of && { owner: of.owner, source: of.path },
  region: "kimi.com",
});
const choose = (entry: PiEntry, all: readonly Look[], hadEntry = false): Choice =>
  chooseLogin({ entry, looks: all, hadEntry, own, now: NOW });
const noLogin = (kind: string) => ({ state: "none", reason: { kind } });
const problem = (of: CredentialStore, found: StoredLogin) => ({
  state: "none",
  reason: { kind: "problem", problem: { store: of, found } },
});

describe("the first time", () => {
  const first = (inCli: StoredLogin, inCode: StoredLogin) => choose(none, looks(inCli, inCode));
  const [a, b] = [token("a", 500_000), token("b", 500_001)];

  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["the only login", gone, here(b), { state: "use", store: code, token: b }],
    ["the one that is valid longest", here(a), here(b), { state: "use", store: code, token: b }],
    ["the preferred one of two alike", here(a), here(a), { state: "use", store: cli, token: a }],
    [
      "an expired one, to be renewed",
      here(token("x", -1)),
      gone,
      { state: "use", store: cli, token: token("x", -1) },
    ],
    ["a good one beside a damaged one", malformed, here(b), { state: "use", store: code, token: b }],
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

  it.each<[string, PiEntry, StoredLogin, StoredLogin, object]>([
    [
      "stays with the login it was seeded from",
      entryOf(cli),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: cli, token: token("a", 1) },
    ],
    [
      "takes another where its own is gone",
      entryOf(cli),
      gone,
      here(token("b")),
      { state: "use", store: code, token: token("b") },
    ],
    [
      "takes a real login for an entry that others have written",
      entryOf(undefined, mirror),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: code, token: token("b", 2) },
    ],
    [
      "does not confuse homes of one owner",
      entryOf({ owner: "kimi-cli", path: "/elsewhere" }),
      here(token("a", 1)),
      here(token("b", 2)),
      { state: "use", store: code, token: token("b", 2) },
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
      { state: "use", store: code, token: token("b", 2) },
    ],
    [
      "lives on its mirror where its store is unknown and a file is damaged",
      entryOf(undefined, mirror),
      gone,
      malformed,
      { state: "mirror", token: mirror, problem: { store: code, found: malformed } },
    ],
    [
      "is a login itself where it names no owner, although a program has logged out of another",
      entryOf(undefined, mirror),
      gone,
      signedOut,
      { state: "use", store: own, token: mirror },
    ],
    [
      "does not use its mirror for the file of another region",
      { state: "oauth", token: mirror, mirrored: undefined, region: "kimi.ai" },
      malformed,
      gone,
      problem(cli, malformed),
    ],
    [
      "is a login itself where it names no owner and no other is there, also when it is to be renewed",
      entryOf(undefined, token("m", -1)),
      gone,
      gone,
      { state: "use", store: own, token: token("m", -1) },
    ],
    [
      "ends with another program's logout where its owner is not among those looked at",
      entryOf({ owner: "kimi-cli", path: "/elsewhere" }, mirror),
      gone,
      signedOut,
      problem(code, signedOut),
    ],
    [
      "knows of no login where its owner is not among those looked at, and no other is there",
      entryOf({ owner: "kimi-cli", path: "/elsewhere" }, mirror),
      gone,
      gone,
      noLogin("no-login"),
    ],
  ])("%s", (_name, entry, inCli, inCode, choice) => {
    expect(choose(entry, looks(inCli, inCode))).toEqual(choice);
  });

  it("leaves the user's own key alone", () => {
    expect(choose({ state: "api-key" }, looks(here(token("a")), here(token("b"))))).toEqual(
      noLogin("own-key"),
    );
  });

  it.each<PiEntry>([
    { state: "unreadable", code: "EACCES" },
    { state: "malformed", reason: "is not JSON" },
  ])("uses a login without touching an auth.json that is $state", (entry) => {
    expect(choose(entry, looks(here(token("a")), gone))).toEqual({
      state: "use",
      store: cli,
      token: token("a"),
    });
    expect(choose(entry, looks(malformed, gone))).toEqual(problem(cli, malformed));
    expect(choose(entry, looks(gone, gone))).toEqual(noLogin("no-login"));
  });
});

test("a login that is in auth.json alone belongs to the region that its entry names", async () => {
  const folder = temporaryDirectory();
  const authPath = join(folder, "auth.json");
  const entry = { type: "oauth", access: "a", refresh: "r", expires: NOW, region: "kimi.ai" };
  put(authPath, JSON.stringify({ "kimi-coder": entry }));
  const places = { stores: [], authPath, memoryPath: join(folder, "memory.json") };
  expect(await lookForLogin(places, () => NOW)).toMatchObject({
    choice: { state: "use", store: { owner: "pi", path: authPath, region: "kimi.ai" } },
    entry: { state: "oauth", mirrored: undefined },
    looks: [],
  });
});

describe("after a logout in pi", () => {
  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["the login that was left", here(token("a")), gone, noLogin("logged-out")],
    ["any other, whoever made it", here(token("a")), here(token("b")), noLogin("logged-out")],
    ["nothing", gone, gone, noLogin("no-login")],
    ["a logout of its owner too", signedOut, gone, problem(cli, signedOut)],
  ])("stays logged out: %s", (_name, inCli, inCode, choice) => {
    expect(choose(none, looks(inCli, inCode), true)).toEqual(choice);
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
  const anyEntry: fc.Arbitrary<PiEntry> = fc.oneof(
    fc.constantFrom<PiEntry>(
      none,
      { state: "api-key" },
      { state: "unreadable", code: "EACCES" },
      { state: "malformed", reason: "is not JSON" },
    ),
    fc.tuple(tokens, fc.constantFrom(...stores, undefined)).map(([it, of]) => entryOf(of, it)),
  );

  it("never uses what is not there, never undoes a logout, and leaves a login unused only at the user's word", () => {
    fc.assert(
      fc.property(anyEntry, anyLooks, fc.boolean(), (entry, all, hadEntry) => {
        const choice = choose(entry, all, hadEntry);
        const present = all.some(({ found }) => found.state === "present");
        if (choice.state === "use") {
          expect(entry.state).not.toBe("api-key");
          if (entry.state === "absent") expect(hadEntry).toBe(false);
          if (choice.store === own) {
            expect(entry).toMatchObject({ state: "oauth", token: choice.token, mirrored: undefined });
            expect(present).toBe(false);
            return;
          }
          expect(all.find((one) => one.store === choice.store)?.found).toEqual(here(choice.token));
          const mirrored = entry.state === "oauth" ? entry.mirrored : undefined;
          const source = all.find((one) => one.store.path === mirrored?.source);
          if (source?.found.state === "present") expect(choice.store).toBe(source.store);
          return;
        }
        if (choice.state === "mirror") {
          expect(entry).toMatchObject({ state: "oauth", token: choice.token });
          expect(choice.token.expiresAt).toBeGreaterThan(NOW);
          expect(["unreadable", "malformed"]).toContain(choice.problem.found.state);
          expect(present).toBe(false);
          return;
        }
        const { reason } = choice;
        if (reason.kind === "problem") {
          const { store: of, found: it } = reason.problem;
          expect(all).toContainEqual({ store: of, found: it });
        }
        if (reason.kind === "own-key") expect(entry.state).toBe("api-key");
        if (reason.kind === "logged-out")
          expect([entry.state, hadEntry, present]).toEqual(["absent", true, true]);
        if (present) expect(["own-key", "logged-out"]).toContain(reason.kind);
      }),
      { numRuns: count(200, 2_000) },
    );
  });
});
