import { statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { searchLogin } from "../../extensions/credentials/login-search.ts";
import { type Memory, recallSync, rememberSync, sighting } from "../../extensions/credentials/memory.ts";
import type { PiEntry } from "../../extensions/credentials/pi-auth.ts";
import type { CredentialStore, Owner, StoredLogin } from "../../extensions/credentials/store.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "./support/homes.ts";

const clock = createFakeClock();
const SINCE = clock.now();

function token(name: string, issuedAt = SINCE): Token {
  const lifetime = 900_000;
  return {
    accessToken: `access-${name}`,
    refreshToken: `refresh-${name}`,
    expiresAt: issuedAt + lifetime,
    lifetime,
    scope: undefined,
    tokenType: undefined,
  };
}

const NEVER = () => Promise.reject(new Error("a search must change nothing"));

function store(owner: Owner, found: StoredLogin): CredentialStore {
  return {
    owner,
    region: "kimi.com",
    path: `/home/someone/${owner}.json`,
    ownerLockLimit: undefined,
    locks: [],
    read: async () => found,
    replace: NEVER,
    rehearse: NEVER,
    lockAmongPi: NEVER,
    lockOfOwner: NEVER,
  };
}

let memoryPath: string;
beforeEach(() => {
  memoryPath = join(temporaryDirectory(), "kimi-coder.json");
});

const [CLI, CODE] = ["/home/someone/kimi-cli.json", "/home/someone/kimi-code.json"];

function search(entry: PiEntry, inCli: StoredLogin, inCode: StoredLogin) {
  const piAuth = { read: async () => entry, update: NEVER };
  const stores = [store("kimi-cli", inCli), store("kimi-code", inCode)];
  return searchLogin({ stores, piAuth, memoryPath, clock });
}

const absent = { state: "absent" } as const;
const old = sighting(token("old"));
const rotated = token("rotated", SINCE + 800_000);

it.each<[string, StoredLogin, StoredLogin, Memory["seen"]]>([
  ["a rotation", { state: "present", token: rotated }, absent, { [CLI]: sighting(rotated), [CODE]: "gone" }],
  ["logouts of the owners", absent, { state: "signed-out" }, { [CLI]: "gone", [CODE]: "gone" }],
  [
    "nothing of a file that cannot be read",
    { state: "unreadable", code: "EACCES" },
    absent,
    { [CLI]: old, [CODE]: "gone" },
  ],
  [
    "nothing of a file that is damaged",
    { state: "malformed", reason: "is torn" },
    absent,
    { [CLI]: old, [CODE]: "gone" },
  ],
])("after a logout in pi remembers %s", async (_name, inCli, inCode, seen) => {
  const before: Memory = { seeded: true, seen: { "/elsewhere": old, [CLI]: old } };
  rememberSync(memoryPath, before);
  const { choice, memory } = await search(absent, inCli, inCode);
  expect(choice.state).toBe("none");
  expect(memory, "what the choice was made with").toEqual(before);
  expect(recallSync(memoryPath)).toEqual({ seeded: true, seen: { "/elsewhere": old, ...seen } });
});

it("does not write what it has remembered already", async () => {
  rememberSync(memoryPath, { seeded: true, seen: { [CLI]: old, [CODE]: "gone" } });
  const { ino } = statSync(memoryPath);
  await search(absent, { state: "present", token: token("old") }, absent);
  expect(statSync(memoryPath).ino).toBe(ino);
});

it("remembers nothing before pi ever had an entry", async () => {
  expect((await search(absent, absent, absent)).choice).toEqual({
    state: "none",
    reason: { kind: "no-login" },
  });
  expect(statSync(memoryPath, { throwIfNoEntry: false })).toBeUndefined();
});

it("remembers nothing while pi has its entry, although its owner has logged out", async () => {
  const before: Memory = { seeded: true, seen: { [CLI]: old } };
  rememberSync(memoryPath, before);
  const entry: PiEntry = { state: "oauth", token: token("old"), owner: "kimi-cli", source: CLI };
  expect((await search(entry, absent, absent)).choice.state).toBe("none");
  expect(recallSync(memoryPath)).toEqual(before);
});

it("remembers nothing of a login that it has found", async () => {
  const before: Memory = { seeded: true, seen: { [CLI]: "gone" } };
  rememberSync(memoryPath, before);
  const { choice } = await search(absent, { state: "present", token: token("new") }, absent);
  expect(choice).toMatchObject({ state: "use", token: token("new"), seed: true });
  expect(recallSync(memoryPath)).toEqual(before);
});
