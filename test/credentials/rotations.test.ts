import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { noteRotation, parseNotes, readRotation } from "../../extensions/credentials/rotations.ts";
import type { Token } from "../../extensions/oauth/token.ts";
import { temporaryDirectory } from "./support/homes.ts";

const token = (refreshToken: string): Token => ({
  accessToken: "access",
  refreshToken,
  expiresAt: 1,
  lifetime: 1,
  scope: undefined,
  tokenType: undefined,
});
const renewed = { how: "renewed", at: 5, pid: 7 } as const;

it("says who renewed the token that stands in a store, and of any other nothing", async () => {
  const path = join(temporaryDirectory(), "agent", "renewals.json");
  expect(readRotation(path, "/a", token("one"))).toBeUndefined();
  await noteRotation(path, "/a", token("one"), renewed);
  await noteRotation(path, "/b", token("two"), { how: "logged-in", at: 6, pid: 8 });
  expect(readRotation(path, "/a", token("one"))).toMatchObject(renewed);
  expect(readRotation(path, "/b", token("two"))).toMatchObject({ how: "logged-in", at: 6, pid: 8 });
  expect(readRotation(path, "/a", token("two"))).toBeUndefined();
  expect(readRotation(path, "/c", token("one"))).toBeUndefined();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it("replaces a file that is damaged", async () => {
  const path = join(temporaryDirectory(), "renewals.json");
  writeFileSync(path, '{"/a": {"how": "rene');
  expect(readRotation(path, "/a", token("one"))).toBeUndefined();
  await noteRotation(path, "/a", token("one"), renewed);
  expect(readRotation(path, "/a", token("one"))).toMatchObject(renewed);
});

it.each([
  [{}, true],
  [{ at: 0 }, false],
  [{ at: -1 }, false],
  [{ at: 1.5 }, false],
  [{ at: "5" }, false],
  [{ at: 8.64e15 }, true],
  [{ at: 8.64e15 + 1 }, false],
  [{ pid: 0 }, false],
  [{ pid: 2 ** 32 }, true],
  [{ pid: 2 ** 32 + 1 }, false],
  [{ how: "found" }, false],
  [{ refresh: 7 }, false],
])("takes a note with %j: %s", (members, taken) => {
  const note = { ...renewed, refresh: "f", ...members };
  expect([...parseNotes({ "/a": note })]).toEqual(taken ? [["/a", note]] : []);
});

it("takes only whole notes out of whatever stands in the file", () => {
  const note = fc.record({
    how: fc.oneof(fc.constant("renewed"), fc.jsonValue()),
    at: fc.oneof(fc.integer(), fc.double()),
    pid: fc.oneof(fc.integer(), fc.jsonValue()),
    refresh: fc.oneof(fc.string(), fc.jsonValue()),
  });
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), note)), (value) => {
      for (const { how, at, pid, refresh } of parseNotes(value).values()) {
        expect(["renewed", "logged-in"]).toContain(how);
        expect([Number.isSafeInteger(at), Number.isSafeInteger(pid), typeof refresh]).toEqual([
          true,
          true,
          "string",
        ]);
      }
    }),
  );
});
