import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { indented, memberValue, onOneLine, parseMembers } from "../../extensions/lib/json.ts";

const object = fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true });

function members(text: string) {
  const found = parseMembers(text);
  if (!found) throw new Error("no object");
  return found;
}

describe("the members of a JSON object", () => {
  it("come back as pi and kimi-code write them", () => {
    fc.assert(
      fc.property(object, (value) => {
        const text = JSON.stringify(value, null, 2);
        expect(indented(members(text))).toBe(text);
      }),
    );
  });

  it("hold the same values however the text is spaced", () => {
    fc.assert(
      fc.property(object, fc.constantFrom(undefined, 1, "\t", "\n "), (value, space) => {
        const found = members(` ${JSON.stringify(value, null, space)}\n`);
        expect(JSON.parse(onOneLine(found))).toEqual(JSON.parse(JSON.stringify(value)));
        for (const key of found.keys()) {
          const expected: unknown = Object.getOwnPropertyDescriptor(value, key)?.value;
          expect(memberValue(found, key)).toEqual(JSON.parse(JSON.stringify(expected)));
        }
      }),
    );
  });

  it("keep order, number format, and names that mean something to JavaScript", () => {
    const text = '{"b": 1.0, "2": 12345678901234567890, "1": -1E+5, "__proto__": {"x": [1, "]}\\""]}}';
    expect(onOneLine(members(text))).toBe(text);
  });

  it("are undefined for anything but an object", () => {
    for (const text of ["", '{"a":1', "[]", "null", "{}x", '{"a":NaN}', "[".repeat(200_000)]) {
      expect(parseMembers(text)).toBeUndefined();
    }
  });

  it("stand one level deeper on demand", () => {
    expect(indented(new Map([["a", "1"]]), 1)).toBe('{\n    "a": 1\n  }');
    expect(indented(new Map())).toBe("{}");
  });
});
