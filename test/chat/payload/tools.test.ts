import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toolNames } from "../../../extensions/chat/payload/tools.ts";

const ACCEPTED = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

test("a name made up by somebody else for itself is not given to another", () => {
  const made = toolNames(["a.b"]).toKimi("a.b");
  const names = toolNames(["a.b", made]);
  expect(names.toKimi(made)).toBe(made);
  expect(names.toKimi("a.b")).toMatch(/^a_b_[0-9a-f]{8}$/);
  expect(names.toKimi("a.b")).not.toBe(made);
  expect(names.toPi(names.toKimi("a.b"))).toBe("a.b");
});

describe("any names", () => {
  const name = fc.oneof(
    fc.string({ maxLength: 100 }),
    fc.string({ unit: "binary", maxLength: 80 }),
    fc.constantFrom("a.b", "a/b", "a_b", "-a", "x".repeat(64)),
  );
  test("are mapped to accepted ones, each to its own, and back", () => {
    fc.assert(
      fc.property(fc.uniqueArray(name), (all) => {
        const names = toolNames(all);
        const mapped = all.map((one) => names.toKimi(one));
        for (const one of mapped) expect(one).toMatch(ACCEPTED);
        for (const one of all.filter((name) => ACCEPTED.test(name))) expect(names.toKimi(one)).toBe(one);
        expect(new Set(mapped).size).toBe(all.length);
        expect(mapped.map((one) => names.toPi(one))).toEqual(all);
        expect([...all].reverse().map((one) => toolNames([...all].reverse()).toKimi(one))).toEqual(
          [...mapped].reverse(),
        );
      }),
    );
  });
});
