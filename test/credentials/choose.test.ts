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
const use = (of: CredentialStore, it: Token) => ({ state: "use", store: of, token: it });
const noLogin = (kind: string) => ({ state: "none", reason: { kind } });
const problem = (of: CredentialStore, found: StoredLogin) => ({
  state: "none",
  reason: { kind: "problem", problem: { store: of, found } },
});
const [a, b] = [token("a", 1), token("b", 2)];

describe("the first time", () => {
  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["the one that is valid longest", here(a), here(b), use(code, b)],
    ["the preferred one of two alike", here(a), here(a), use(cli, a)],
    ["a good one beside a damaged one", malformed, here(b), use(code, b)],
    ["none where there is none", gone, gone, noLogin("no-login")],
    ["the first problem", unreadable, malformed, problem(cli, unreadable)],
    ["the problem behind an absent store", gone, signedOut, problem(code, signedOut)],
  ])("takes %s", (_name, inCli, inCode, choice) => {
    expect(choose(none, looks(inCli, inCode))).toEqual(choice);
  });
});

describe("with an entry in pi", () => {
  const mirror = token("mirror", 1);
  const copy = (of: CredentialStore, found: StoredLogin) => ({
    state: "mirror",
    token: mirror,
    problem: { store: of, found },
  });
  const elsewhere = (owner: Owner, path: string) => entryOf({ owner, path }, mirror);
  const ofCli = entryOf(cli, mirror);
  const alone = entryOf(undefined, mirror);

  it.each<[string, PiEntry, StoredLogin, StoredLogin, object]>([
    ["stays with the login it was seeded from", ofCli, here(a), here(b), use(cli, a)],
    ["takes another where its own is gone", ofCli, gone, here(b), use(code, b)],
    ["takes a real login for an entry that others have written", alone, here(a), here(b), use(code, b)],
    ["does not confuse homes of an owner", elsewhere("kimi-cli", "/x"), here(a), here(b), use(code, b)],
    ["nor owners of a file", elsewhere("opencode-kimi-full", cli.path), here(a), here(b), use(code, b)],
    ["ends with its owner's logout: file gone", ofCli, gone, gone, problem(cli, gone)],
    ["ends with its owner's logout: tombstone", ofCli, signedOut, gone, problem(cli, signedOut)],
    ["lives on its mirror while the file cannot be read", ofCli, unreadable, gone, copy(cli, unreadable)],
    ["lives on its mirror while the file is damaged", ofCli, malformed, gone, copy(cli, malformed)],
    ["not longer than it is valid", entryOf(cli, token("m", 0)), malformed, gone, problem(cli, malformed)],
    ["lives on its mirror where any file is damaged", alone, gone, malformed, copy(code, malformed)],
    [
      "does not use its mirror for the file of another region",
      { state: "oauth", token: mirror, mirrored: undefined, region: "kimi.ai" },
      malformed,
      gone,
      problem(cli, malformed),
    ],
    ["is a login where it names no owner, also beside a logout", alone, gone, signedOut, use(own, mirror)],
    ["ends with another's logout", elsewhere("kimi-cli", "/x"), gone, signedOut, problem(code, signedOut)],
    ["is none where its owner is unknown here", elsewhere("kimi-cli", "/x"), gone, gone, noLogin("no-login")],
  ])("%s", (_name, entry, inCli, inCode, choice) => {
    expect(choose(entry, looks(inCli, inCode))).toEqual(choice);
  });

  it("leaves the user's own key alone", () => {
    expect(choose({ state: "api-key" }, looks(here(a), here(b)))).toEqual(noLogin("own-key"));
  });

  it.each<PiEntry>([
    { state: "unreadable", code: "EACCES" },
    { state: "malformed", reason: "is not JSON" },
  ])("uses a login without touching an auth.json that is $state", (entry) => {
    expect(choose(entry, looks(here(a), gone))).toEqual(use(cli, a));
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

test("an entry that a peer seeds during the look is not taken for one that a logout has removed", async () => {
  const folder = temporaryDirectory();
  const [authPath, memoryPath] = [join(folder, "auth.json"), join(folder, "memory.json")];
  const stores = [{ ...cli, read: async () => here(a) }];
  const looking = lookForLogin({ stores, authPath, memoryPath }, () => NOW);
  put(memoryPath, '{"seeded": true}');
  expect((await looking).choice).toMatchObject({ state: "use", token: a });
});

describe("after a logout in pi", () => {
  it.each<[string, StoredLogin, StoredLogin, object]>([
    ["any login, whoever made it", here(a), here(b), noLogin("logged-out")],
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
