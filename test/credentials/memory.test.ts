import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import {
  isNewLogin,
  type Memory,
  notingRotations,
  parseMemory,
  recall,
  remember,
  rememberSync,
  sighting,
} from "../../extensions/credentials/memory.ts";
import type { CredentialStore, WriteOutcome } from "../../extensions/credentials/store.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { temporaryDirectory } from "./support/homes.ts";

const NOW = Date.UTC(2026, 10, 20);
const BLANK: Memory = { seeded: false, seen: {} };

function token(refreshToken: string, issuedAt: number, lifetime = 900_000): Token {
  return {
    accessToken: "access",
    refreshToken,
    expiresAt: issuedAt + lifetime,
    lifetime,
    scope: undefined,
    tokenType: undefined,
  };
}
const present = (it: Token) => ({ state: "present", token: it }) as const;

let folder: string;
let path: string;
beforeEach(() => {
  folder = temporaryDirectory();
  path = join(folder, "agent", "kimi-coder.json");
});

describe("parseMemory", () => {
  it.each<[string, unknown, Memory]>([
    ["nothing", undefined, BLANK],
    ["null", null, BLANK],
    ["a list", [], BLANK],
    ["no sightings", { seeded: true }, BLANK],
    ["a list of sightings", { seeded: true, seen: [] }, BLANK],
    ["seeded that is no boolean", { seeded: "true", seen: {} }, BLANK],
    ["seeded", { seeded: true, seen: {} }, { seeded: true, seen: {} }],
    [
      "sightings, good ones and others",
      {
        seeded: true,
        more: 1,
        seen: {
          "/a": { refresh: "f", issuedAt: NOW, more: 1 },
          "/b": "gone",
          "/c": "here",
          "/d": null,
          "/e": { refresh: 1, issuedAt: NOW },
          "/f": { refresh: "f", issuedAt: "0" },
          "/g": { refresh: "f", issuedAt: Number.POSITIVE_INFINITY },
          "/h": { refresh: "f", issuedAt: Number.NaN },
          "/i": ["gone"],
        },
      },
      { seeded: true, seen: { "/a": { refresh: "f", issuedAt: NOW }, "/b": "gone" } },
    ],
  ])("%s", (_name, value, memory) => {
    expect(parseMemory(value)).toEqual(memory);
  });

  it("cannot be made to answer for paths it does not hold", () => {
    const memory = parseMemory(
      JSON.parse('{"seeded": true, "seen": {"__proto__": {"refresh": "f", "issuedAt": 1}}}'),
    );
    expect(Object.getPrototypeOf(memory.seen)).toBe(Object.prototype);
    expect(memory.seen.refresh).toBeUndefined();
  });

  it("is well-formed whatever stands in the file, and reads back what it wrote", () => {
    const sightings = fc.oneof(
      fc.record({
        refresh: fc.oneof(fc.string(), fc.jsonValue()),
        issuedAt: fc.oneof(fc.double(), fc.jsonValue()),
      }),
      fc.constant("gone"),
      fc.jsonValue(),
    );
    const almost = fc.record({
      seeded: fc.oneof(fc.boolean(), fc.jsonValue()),
      seen: fc.oneof(fc.dictionary(fc.string(), sightings), fc.jsonValue()),
    });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), almost), (value) => {
        const memory = parseMemory(value);
        expect(typeof memory.seeded).toBe("boolean");
        for (const one of Object.values(memory.seen)) {
          if (one === "gone") continue;
          expect(Object.keys(one)).toEqual(["refresh", "issuedAt"]);
          expect(typeof one.refresh).toBe("string");
          expect(Number.isFinite(one.issuedAt)).toBe(true);
        }
        // JSON knows no negative zero.
        const text = JSON.stringify(memory);
        expect(JSON.stringify(parseMemory(JSON.parse(text)))).toBe(text);
      }),
    );
  });
});

describe("the file", () => {
  it.each([
    ["remember", remember],
    ["rememberSync", rememberSync],
  ])("gives back what was remembered, for the user's eyes alone: %s", async (_name, write) => {
    const memory: Memory = { seeded: true, seen: { "/a": sighting(token("refresh", NOW)), "/b": "gone" } };
    await write(path, memory);
    expect(await recall(path)).toEqual(memory);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, "agent"))).mode & 0o777).toBe(0o700);
  });

  it("holds no token", async () => {
    await remember(path, { seeded: true, seen: { "/a": sighting(token("a-secret", NOW)) } });
    expect(await readFile(path, "utf8")).not.toContain("a-secret");
    expect(sighting(token("a-secret", NOW))).toEqual({
      refresh: expect.stringMatching(/^[0-9a-f]{16}$/),
      issuedAt: NOW,
    });
  });

  it.each([
    ["absent", undefined],
    ["empty", ""],
    ["torn", '{"seeded": true, "se'],
    ["no JSON", "seeded"],
    ["no text", Buffer.from([0xff, 0xfe])],
    ["huge", "[".repeat(2_000_000)],
    ["deep", "[".repeat(500_000)],
  ])("counts as blank when it is %s, and stays as it is", async (_name, content) => {
    await mkdir(join(folder, "agent"));
    if (content !== undefined) await writeFile(path, content);
    expect(await recall(path)).toEqual(BLANK);
    const after = await readFile(path).catch(() => undefined);
    expect(after?.equals(Buffer.from(content ?? "")) ?? content === undefined).toBe(true);
  });

  it("counts as blank when it is a directory, and writing it does no harm", async () => {
    await mkdir(path, { recursive: true });
    expect(await recall(path)).toEqual(BLANK);
    await remember(path, { seeded: true, seen: {} });
    expect((await stat(path)).isDirectory()).toBe(true);
  });
});

describe("a store whose rotations are noted", () => {
  const next = token("next", NOW + 1);
  const before: Memory = { seeded: true, seen: { "/other": "gone", "/store": sighting(token("old", NOW)) } };
  const after: Memory = { seeded: true, seen: { ...before.seen, "/store": sighting(next) } };
  const notSeeded: Memory = { seeded: false, seen: before.seen };

  it.each<[string, Memory, Memory | undefined, WriteOutcome, Memory]>([
    ["notes one beside what else it knows", before, undefined, { state: "written" }, after],
    ["notes none that was not written", before, undefined, { state: "failed", code: "ENOSPC" }, before],
    ["notes none while pi never had an entry", notSeeded, undefined, { state: "written" }, notSeeded],
    ["notes none while pi is about to get its entry", before, before, { state: "written" }, before],
    ["notes one when pi got its entry meanwhile", before, notSeeded, { state: "written" }, after],
  ])("%s", async (_name, memory, seed, outcome, expected) => {
    await remember(path, memory);
    const asked: unknown[] = [];
    const store: CredentialStore = {
      owner: "kimi-cli",
      region: "kimi.com",
      path: "/store",
      ownerLockLimit: undefined,
      locks: [],
      read: () => Promise.reject(new Error("not asked")),
      rehearse: () => Promise.reject(new Error("not asked")),
      lockAmongPi: () => Promise.reject(new Error("not asked")),
      lockOfOwner: () => Promise.reject(new Error("not asked")),
      async replace(...what) {
        asked.push(what);
        return outcome;
      },
    };
    expect(await notingRotations(store, path, seed).replace("refresh", next)).toBe(outcome);
    expect(asked).toEqual([["refresh", next]]);
    expect(await recall(path)).toEqual(expected);
  });
});

describe("isNewLogin", () => {
  const before = sighting(token("old", NOW));

  it.each([
    ["nothing was seen there before", undefined, present(token("new", NOW)), false],
    ["it was gone before", "gone", present(token("new", NOW)), true],
    ["it was gone, and the old one is back", "gone", present(token("old", NOW)), true],
    ["it is the same", before, present(token("old", NOW)), false],
    ["it is the same with another time", before, present(token("old", NOW + 60_000)), false],
    ["it came when nobody had a reason to refresh", before, present(token("new", NOW + 60_000)), true],
    ["it came at the last such moment", before, present(token("new", NOW + 450_000)), true],
    ["it came when a refresh was due", before, present(token("new", NOW + 450_001)), false],
    ["it came long after", before, present(token("new", NOW + 86_400_000)), false],
    ["it is gone now", before, { state: "absent" }, false],
    ["it is signed out now", before, { state: "signed-out" }, false],
    ["it cannot be read now", before, { state: "unreadable", code: "EACCES" }, false],
    ["it is still gone", "gone", { state: "absent" }, false],
  ] as const)("when %s: %#", (_name, seen, found, expected) => {
    expect(isNewLogin(seen, found)).toBe(expected);
  });

  it("goes by the later of the two rules for long-lived tokens", () => {
    const seen = sighting(token("old", NOW, 3_600_000));
    expect(isNewLogin(seen, present(token("new", NOW + 1_800_000, 3_600_000)))).toBe(true);
    expect(isNewLogin(seen, present(token("new", NOW + 1_800_001, 3_600_000)))).toBe(false);
  });

  it("never takes the rotation of a login for a new one", () => {
    const lifetime = fc.integer({ min: 300_000, max: 10_000_000 });
    fc.assert(
      fc.property(lifetime, fc.nat(100_000_000), (lifetime, late) => {
        const old = token("old", NOW, lifetime);
        const due = old.expiresAt - Math.max(300_000, lifetime / 2);
        const issuedAt = Math.floor(due) + 1 + late;
        expect(isNewLogin(sighting(old), present(token("rotated", issuedAt, lifetime)))).toBe(false);
      }),
    );
  });
});
