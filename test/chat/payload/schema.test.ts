import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isFine, type Schema } from "../../../extensions/chat/payload/schema.ts";
import { repaired } from "../../../extensions/chat/payload/schema-repair.ts";
import { checkToolSchema } from "../../support/kimi-service/tool-schema-rules.ts";
import { accepts } from "./json-schema.ts";

const anyOfThese = (types: readonly string[]) => ({ anyOf: types.map((type) => ({ type })) });
const anything = anyOfThese(["string", "number", "boolean", "object", "array", "null"]);

function parameters(property: unknown, others: object = {}) {
  return { type: "object", properties: { x: property }, ...others };
}

/** What is sent for a tool's parameters. */
function sent(given: Schema): Schema {
  const schema = isFine(given) ? given : repaired(given);
  expect(checkToolSchema(schema)).toBeUndefined();
  return schema;
}

function sentProperty(property: unknown, others: object = {}): unknown {
  const { properties } = sent(parameters(property, others));
  return typeof properties === "object" && properties !== null && "x" in properties
    ? properties.x
    : undefined;
}

const named = (name: string) => ({
  type: "object",
  properties: { [name]: { type: "string", description: name } },
  required: [name],
});

describe("a schema that needs nothing", () => {
  const all: Schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: {
      a: { type: "array", items: { type: "integer", minimum: 1 }, minItems: 1, default: [1] },
      b: { type: "object", properties: { c: { type: "boolean" } }, required: ["c"] },
      d: { type: "string", enum: ["a", "b"], default: "a", description: "d", pattern: "^a" },
      e: { type: "string", const: "f" },
      f: { type: "object", additionalProperties: { type: "number" } },
      required: { type: "boolean" },
    },
    required: ["a"],
    additionalProperties: false,
  };
  test("is known at a look", () => {
    expect(isFine(all)).toBe(true);
    expect(sent(all)).toBe(all);
    const { $schema, ...said } = all;
    expect(repaired(all)).toEqual(said);
  });

  const next = { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] };
  const others: Record<string, Schema> = {
    "a recursive one": {
      ...parameters({ $ref: "#/$defs/node", description: "d" }),
      $defs: { node: { type: "object", properties: { next } } },
    },
    "one with alternatives": parameters({ title: "D", default: ["a"], ...anyOfThese(["string", "array"]) }),
    "one with patterns and names": parameters({
      type: "object",
      patternProperties: { "^(.*)$": { type: "number" } },
      propertyNames: { type: "string", enum: ["a"] },
    }),
    "a long one": parameters({ type: "string", description: "語".repeat(30_000) }),
  };
  test.each(Object.entries(others))("says the same after the repair: %s", (_name, schema) => {
    expect(isFine(schema)).toBe(false);
    expect(sent(schema)).toEqual(schema);
  });
});

// Also in conformance/golden/refused-tool.json.
describe("a property's schema", () => {
  const table: readonly (readonly [what: string, given: unknown, sent: unknown])[] = [
    ["takes its type from `enum`", { enum: ["a", "b"] }, { type: "string", enum: ["a", "b"] }],
    ["takes its type from `const`", { const: 1 }, { type: "number", const: 1 }],
    [
      "takes its type from the parts it speaks of",
      { properties: { a: { items: { type: "string", minLength: 1 } } }, required: ["a"] },
      {
        type: "object",
        properties: { a: { type: "array", items: { type: "string", minLength: 1 } } },
        required: ["a"],
      },
    ],
    [
      "splits a mixed `enum` by type",
      { description: "d", enum: ["a", 1, null] },
      {
        description: "d",
        anyOf: [{ type: "string", enum: ["a"] }, { type: "number", enum: [1] }, { type: "null" }],
      },
    ],
    [
      "loses enum values that its type forbids",
      { type: "string", enum: ["a", null] },
      { type: "string", enum: ["a"] },
    ],
    ["loses an enum that its type forbids", { type: "integer", enum: ["a"] }, { type: "integer" }],
    ["loses a const that its type forbids", { type: "string", const: 1 }, { type: "string" }],
    [
      "loses a type that does not exist",
      { type: "any", description: "d" },
      { description: "d", ...anything },
    ],
    ["loses words that are no text", { type: "string", description: 1, pattern: null }, { type: "string" }],
    ["loses draft 3's boolean `required`", { type: "string", required: true }, { type: "string" }],
    ["loses `required: null`, as Go writes it", { type: "object", required: null }, { type: "object" }],
    ["loses a condition", { type: "object", not: { required: ["a"] }, if: {} }, { type: "object" }],
    [
      "spells out types that have limits beside them",
      { type: ["string", "null"], minLength: 1, default: null },
      { default: null, anyOf: [{ type: "string", minLength: 1 }, { type: "null" }] },
    ],
    [
      "gives a tuple as a list of any of its items",
      { type: "array", items: [{ type: "number" }, { type: "string" }], additionalItems: false },
      { type: "array", items: anyOfThese(["number", "string"]) },
    ],
    [
      "gives a tuple as a list of what may follow, too",
      { type: "array", prefixItems: [{ type: "number" }], items: { type: "string" }, minItems: 2 },
      { type: "array", minItems: 2, items: anyOfThese(["number", "string"]) },
    ],
    ["drops `items` that accept anything", { type: "array", items: {} }, { type: "array" }],
    [
      "gets a property for an unknown required name",
      { type: "object", properties: { a: { type: "string" } }, required: ["a", "b", "b"] },
      { type: "object", properties: { a: { type: "string" }, b: anything }, required: ["a", "b"] },
    ],
    [
      "tells a property whose name the validator mistakes as one of any name",
      {
        type: "object",
        properties: { "{user}": { enum: ["a"], description: "d" }, a: { type: "string" } },
        required: ["{user}", "a"],
        additionalProperties: false,
      },
      {
        type: "object",
        properties: { a: { type: "string" } },
        required: ["a"],
        additionalProperties: { type: "string", enum: ["a"], description: "d" },
      },
    ],
    [
      "loses a value that the validator mistakes for a reference",
      { type: "object", default: { $ref: "#/x" }, examples: [{ a: [{ $ref: "#/x" }] }] },
      { type: "object" },
    ],
    [
      "widens patterns with references in them, where the validator takes none",
      { type: "object", patternProperties: { "^a": { $ref: "#" } } },
      { type: "object", patternProperties: { "^a": anything } },
    ],
  ];
  test.each(table)("%s", (_what, given, expected) => {
    expect(sentProperty(given)).toEqual(expected);
  });
});

describe("alternatives", () => {
  const table: readonly (readonly [what: string, given: unknown, sent: unknown])[] = [
    ["`oneOf` is `anyOf`", { oneOf: [{ type: "string" }, { type: "null" }] }, anyOfThese(["string", "null"])],
    [
      "a default beside them goes where one of them has another",
      { default: null, anyOf: [{ type: "string", default: "a" }, { type: "null" }] },
      { anyOf: [{ type: "string", default: "a" }, { type: "null" }] },
    ],
    [
      "objects stay apart where nothing is said beside them",
      { type: "object", oneOf: [named("a"), named("b")], discriminator: { propertyName: "kind" } },
      { anyOf: [named("a"), named("b")] },
    ],
    [
      "conditions on an object's own properties go, what each of them requires stays",
      {
        type: "object",
        properties: { a: { type: "string" }, b: { type: "string" }, c: { type: "string" } },
        anyOf: [{ required: ["c", "a"] }, { required: ["c", "b"] }],
      },
      {
        type: "object",
        properties: { a: { type: "string" }, b: { type: "string" }, c: { type: "string" } },
        required: ["c"],
      },
    ],
    [
      "an object with properties of its own takes over theirs",
      {
        type: "object",
        properties: { kind: { type: "string", enum: ["a", "b"] } },
        required: ["kind"],
        oneOf: [
          { properties: { kind: { const: "a" }, v: { type: "string" } } },
          { properties: { kind: { const: "b" }, v: { type: "number" }, w: { type: "null" } } },
        ],
      },
      {
        type: "object",
        properties: {
          kind: { type: "string", enum: ["a", "b"] },
          v: { anyOf: [{ type: "string" }, { type: "number" }] },
          w: { type: "null" },
        },
        required: ["kind"],
      },
    ],
    [
      "values of its own count, alternatives beside them do not",
      { type: "string", enum: ["a", "b"], anyOf: [{ pattern: "a" }, { pattern: "b" }] },
      { type: "string", enum: ["a", "b"] },
    ],
    ["`false` is none", { anyOf: [false, { type: "string" }] }, { type: "string" }],
    ["none are anything", { description: "d", anyOf: [] }, { description: "d", ...anything }],
    [
      "more than the validator takes are their types",
      { anyOf: Array.from({ length: 501 }, (_, index) => ({ const: `v${index}` })) },
      { type: "string" },
    ],
  ];
  test.each(table)("%s", (_what, given, expected) => {
    expect(sentProperty(given)).toEqual(expected);
  });
});

describe("pieces", () => {
  test("of `allOf` become one schema, in which the first word counts", () => {
    const given = {
      description: "outside",
      allOf: [
        { ...named("a"), description: "inside" },
        { properties: { a: { type: "null" }, b: { type: "number" } }, required: ["b"] },
        { if: { required: ["a"] }, else: { required: ["c"] } },
      ],
    };
    expect(sentProperty(given)).toEqual({
      description: "outside",
      type: "object",
      properties: { a: { type: "string", description: "a" }, b: { type: "number" } },
      required: ["a", "b"],
    });
  });

  test("beside a reference are put together with what it leads to", () => {
    const property = { $ref: "#/$defs/a", properties: { b: { type: "null" } }, required: ["b"] };
    expect(sentProperty(property, { $defs: { a: named("a") } })).toEqual({
      type: "object",
      properties: { b: { type: "null" }, a: { type: "string", description: "a" } },
      required: ["b", "a"],
    });
  });
});

describe("references", () => {
  test("into `definitions` lead to `$defs`, also around a circle", () => {
    const schema = sent({
      type: "object",
      properties: { tree: { $ref: "#/definitions/Tree" } },
      definitions: {
        Tree: { type: "object", properties: { child: { $ref: "#/definitions/Tree" } } },
        unused: {},
      },
    });
    expect(schema).toEqual({
      type: "object",
      properties: { tree: { $ref: "#/$defs/Tree" } },
      $defs: { Tree: { type: "object", properties: { child: { $ref: "#/$defs/Tree" } } } },
    });
  });

  test("to the root itself get a definition of the root", () => {
    const node = { type: "object", properties: { child: { $ref: "#/$defs/root" } } };
    expect(sent({ type: "object", properties: { child: { $ref: "#" } } })).toEqual({
      ...node,
      $defs: { root: node },
    });
  });

  test("at the root are resolved, as some generators name the whole schema", () => {
    expect(
      sent({ $ref: "#/definitions/Main", definitions: { Main: parameters({ type: "string" }) } }),
    ).toEqual(parameters({ type: "string" }));
  });

  test.each([
    ["with words around it", { allOf: [{ $ref: "#/definitions/a~1b" }], description: "d", default: 1 }],
    [
      "with limits beside it, which are given up",
      { $ref: "#/definitions/a~1b", description: "d", nullable: true },
    ],
  ])("%s stay references", (_what, given) => {
    const properties = { "x/y": { type: "string" }, z: { type: "number" } };
    const definitions = { "a/b": { type: "object", properties, additionalProperties: false } };
    // A slash in a definition is more than the validator can take.
    expect(sent(parameters(given, { definitions }))).toEqual({
      ...parameters({ description: "d", $ref: "#/$defs/a_1b" }),
      $defs: {
        a_1b: {
          type: "object",
          properties: { z: { type: "number" } },
          additionalProperties: { type: "string" },
        },
      },
    });
  });

  test.each(["#/$defs/none", "https://example.com/schema.json", "#/%zz"])(
    "to %s, which is nothing, accept anything",
    ($ref) => {
      expect(sentProperty({ $ref, description: "d" })).toEqual({ description: "d", ...anything });
    },
  );
});

describe("recursion without a way out", () => {
  const list = (name: string) => ({ type: "array", items: { $ref: `#/$defs/${name}` } });
  const opened = (definition: object) => ({ anyOf: [definition, { type: "object" }] });
  const needs = (name: string, property: object) => ({
    type: "object",
    properties: { label: { type: "string" }, [name]: property },
    required: [name],
  });

  test("through a list gets one, and what is required stays", () => {
    const node = needs("children", list("Node"));
    expect(sent({ ...needs("nodes", list("Node")), $defs: { Node: node } })).toEqual({
      ...needs("nodes", list("Node")),
      $defs: { Node: opened(node) },
    });
  });

  test("of two that require each other gets one", () => {
    const given = needs("a", { $ref: "#/$defs/A", description: "d" });
    const $defs = {
      A: needs("b", { $ref: "#/$defs/B" }),
      B: needs("a", { $ref: "#/$defs/A", description: "d" }),
    };
    expect(sent({ ...given, $defs })).toEqual({
      ...given,
      $defs: { A: opened($defs.A), B: opened($defs.B) },
    });
  });

  test("is left alone where one required property ends, as the validator sees it", () => {
    const node = { ...needs("children", list("Node")), required: ["label", "children"] };
    const given = { ...needs("nodes", list("Node")), $defs: { Node: node } };
    expect(sent(given)).toEqual(given);
  });
});

describe("the root", () => {
  test.each([[{ type: "string" }], [{ enum: [1] }]])("%j takes no parameters", (given) => {
    expect(sent(given)).toEqual({ type: "object", properties: {} });
  });

  test("gets its type", () => {
    const properties = { a: { type: "string" } };
    expect(sent({ properties })).toEqual({ type: "object", properties });
  });

  test("becomes one object for several variants", () => {
    const variant = (name: string) => ({
      properties: { file: { type: "string" }, [name]: { type: "string" } },
      required: ["file", name],
    });
    expect(sent({ type: "object", description: "d", anyOf: [variant("text"), variant("url")] })).toEqual({
      type: "object",
      description: "d",
      properties: { file: { type: "string" }, text: { type: "string" }, url: { type: "string" } },
      required: ["file"],
    });
  });
});

describe("what is too large", () => {
  test("in values loses them", () => {
    const values = Array.from({ length: 1_001 }, (_, index) => `v${index}`);
    expect(sentProperty({ type: "string", enum: values })).toEqual({ type: "string" });
    expect(sentProperty({ type: "string", enum: values.slice(1) })).toEqual({
      type: "string",
      enum: values.slice(1),
    });
  });

  const objectOf = (count: number, child: unknown) => ({
    type: "object",
    properties: Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, child])),
  });

  test("in properties loses the innermost", () => {
    const deep = (last: number) => objectOf(30, objectOf(10, objectOf(last, { type: "string" })));
    expect(sent(deep(8))).toEqual(deep(8));
    expect(sent(deep(9))).toEqual(objectOf(30, objectOf(10, { type: "object" })));
  });

  test("in characters, as Go counts them, loses the innermost", () => {
    const described = (text: string) =>
      parameters(objectOf(1, { type: "array", items: { type: "string", description: text } }));
    const fitting = described("<".repeat(19_900));
    expect(sent(fitting)).toEqual(fitting);
    expect(sent(described("<".repeat(20_000)))).toEqual(parameters(objectOf(1, { type: "array" })));
  });

  test("in depth, references followed, loses the innermost", () => {
    const levels = Array.from({ length: 15 }, (_, index) => index);
    const $defs = Object.fromEntries(
      levels.map((level) => [`d${level}`, parameters(level < 14 ? { $ref: `#/$defs/d${level + 1}` } : {})]),
    );
    const first = { $ref: "#/$defs/d0" };
    let deep: object = first;
    for (let level = 0; level < 20; level++) deep = parameters(deep);
    // The validator has taken it where `sent` returns.
    expect(sent({ type: "object", properties: { first, deep }, $defs })).toHaveProperty("$defs.d5");
  });

  test("at the root itself keeps nothing but the type", () => {
    expect(sent(objectOf(3_001, { type: "string" }))).toEqual({ type: "object" });
  });
});

const name = fc.constantFrom("a", "b", "c", "required", "$ref", "{x}", "x/y");
const scalar = fc.constantFrom<unknown>("", "a", "abc", 0, 1, -1, 2.5, true, false, null);
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(name, tie("value"), { maxKeys: 3 }),
  ),
})).value;
const type = fc.constantFrom("string", "number", "integer", "boolean", "object", "array", "null");
const reference = fc.constantFrom(
  "#",
  "#/$defs/a",
  "#/$defs/b",
  "#/definitions/a",
  "#/definitions/x~1y",
  "#/nowhere",
);

/** Any schema, sensible or not. */
const { schema } = fc.letrec((tie) => {
  const list = fc.array(tie("schema"), { minLength: 1, maxLength: 3 });
  return {
    schema: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.boolean(),
      fc.record({ type }),
      fc.record({ $ref: reference }),
      tie("keywords"),
    ),
    keywords: fc.record(
      {
        type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
        enum: fc.array(value, { maxLength: 4 }),
        const: value,
        default: value,
        properties: fc.dictionary(name, tie("schema"), { maxKeys: 3 }),
        patternProperties: fc.dictionary(fc.constantFrom("^a", "b", "x/y"), tie("schema"), { maxKeys: 2 }),
        additionalProperties: tie("schema"),
        required: fc.oneof(fc.array(name, { maxLength: 3 }), fc.constantFrom<unknown>(null, true)),
        items: fc.oneof(tie("schema"), list),
        prefixItems: list,
        anyOf: list,
        oneOf: list,
        allOf: list,
        not: tie("schema"),
        $ref: reference,
        minLength: fc.nat(2),
        description: fc.constantFrom<unknown>("d", 1),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  };
});
const root = fc
  .tuple(
    schema,
    fc.dictionary(fc.constantFrom("a", "b"), schema),
    fc.dictionary(fc.constantFrom("a", "x/y"), schema),
  )
  .map(([main, $defs, definitions]) =>
    typeof main === "object" && main !== null ? { ...main, $defs, definitions } : { $defs, definitions },
  );

/**
 * Schemas as people write them: what says something about values says their type, and alternatives are scalars, lists,
 * or objects that refuse what they do not name. Of the others the repair may take an author at more than the word.
 */
const { typed } = fc.letrec((tie) => {
  const branch = fc.oneof(tie("scalar"), tie("list"), tie("closed"));
  const union = fc.array(branch, { minLength: 1, maxLength: 3 });
  const object = {
    type: fc.constantFrom<unknown>("object", ["object", "null"]),
    properties: fc.dictionary(fc.constantFrom("a", "b", "c", "{x}"), tie("typed"), { maxKeys: 3 }),
    required: fc.array(fc.constantFrom("a", "b", "{x}"), { maxLength: 2 }),
    minProperties: fc.nat(2),
  };
  return {
    typed: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom<unknown>(true, {}, { description: "d" }),
      fc.record({ $ref: reference }),
      tie("scalar"),
      tie("list"),
      tie("open"),
      tie("combined"),
    ),
    scalar: fc.oneof(
      fc.record({ enum: fc.array(scalar, { minLength: 1, maxLength: 4 }) }),
      fc.record({ const: scalar }),
      fc.record({
        type: fc.constantFrom<unknown>("string", ["string", "null"]),
        minLength: fc.nat(2),
        not: tie("typed"),
      }),
      fc.record({ type: fc.constantFrom<unknown>("integer", ["number", "boolean"]), maximum: fc.nat(2) }),
    ),
    list: fc.record({
      type: fc.constant("array"),
      items: fc.oneof(tie("typed"), fc.array(tie("typed"), { maxLength: 2 })),
      additionalItems: fc.oneof(fc.constant(false), tie("typed")),
      maxItems: fc.nat(3),
    }),
    open: fc.record(
      {
        ...object,
        patternProperties: fc.dictionary(fc.constantFrom("^a", "b", "^x{1}"), tie("typed"), { maxKeys: 1 }),
        additionalProperties: fc.oneof(fc.constant(false), tie("typed")),
        anyOf: union,
        oneOf: union,
        if: tie("typed"),
      },
      { requiredKeys: ["type"] },
    ),
    closed: fc.record({ ...object, additionalProperties: fc.constant(false) }),
    combined: fc.record(
      {
        description: fc.constant("d"),
        anyOf: union,
        allOf: fc.array(tie("typed"), { minLength: 1, maxLength: 2 }),
        $ref: reference,
      },
      { requiredKeys: [] },
    ),
  };
});
const typedRoot = fc
  .tuple(
    typed,
    fc.dictionary(fc.constantFrom("a", "b"), typed),
    fc.dictionary(fc.constantFrom("a", "x/y"), typed),
  )
  .map(([x, $defs, definitions]) => parameters(x, { $defs, definitions }));
const instances = fc.array(value, { minLength: 1, maxLength: 12 });

describe("any schema", () => {
  test("ends as one that Kimi's validator takes, and is not changed itself", () => {
    fc.assert(
      fc.property(root, (given) => {
        const before = structuredClone(given);
        sent(given);
        expect(given).toEqual(before);
      }),
      { numRuns: 400 },
    );
  });

  test("as people write them rules out no value that was accepted", () => {
    fc.assert(
      fc.property(typedRoot, instances, (given, values) => {
        const schema = sent(given);
        for (const x of values) {
          if (accepts(given, { x }) !== true) continue;
          expect(accepts(schema, { x }), JSON.stringify({ schema, x })).not.toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });
});

test("a hostile schema is bounded: a deep one, one whose references, and one whose alternatives multiply", () => {
  let deep: object = { type: "string" };
  for (let level = 0; level < 5_000; level++) deep = { type: "array", items: deep };
  const level = (next: object) => ({ type: "object", properties: { a: next, b: next, c: next } });
  const $defs = Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [
      `d${index}`,
      level({ $ref: `#/$defs/d${index + 1}`, required: ["a"] }),
    ]),
  );
  let wide: object = { type: "string" };
  let pair: object = { type: "object" };
  for (let depth = 0; depth < 20; depth++) {
    wide = { type: "object", minProperties: depth, anyOf: [wide, wide, { minProperties: 1 }] };
    pair = { allOf: [{ anyOf: [pair, {}] }, { anyOf: [pair, {}] }] };
  }
  const started = performance.now();
  const references = parameters({ $ref: "#/$defs/d0", required: ["a"] }, { $defs });
  // Each is taken by the validator, which bounds its size.
  for (const given of [parameters(deep), references, wide, pair]) sent({ ...given });
  for (const given of [wide, pair]) sent(parameters(given));
  expect(performance.now() - started).toBeLessThan(5_000);
});
