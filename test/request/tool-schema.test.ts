import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toolSchema } from "../../extensions/request/tool-schema.ts";
import { checkToolSchema } from "../support/kimi-service/tool-schema-rules.ts";
import { accepts } from "./json-schema.ts";

const anyOfThese = (types: readonly string[]) => ({ anyOf: types.map((type) => ({ type })) });
const anything = anyOfThese(["string", "number", "boolean", "object", "array", "null"]);

function parameters(property: unknown, others: object = {}) {
  return { type: "object", properties: { x: property }, ...others };
}

/** What becomes of a property's schema. */
function repairedProperty(property: unknown, others: object = {}): unknown {
  const schema = toolSchema(parameters(property, others));
  expect(checkToolSchema(schema)).toBeUndefined();
  const { properties } = schema;
  return typeof properties === "object" && properties !== null && "x" in properties
    ? properties.x
    : undefined;
}

function named(name: string) {
  return {
    type: "object",
    properties: { [name]: { type: "string", description: name } },
    required: [name],
  };
}

/** As a generator writes an intersection of unions: `{anyOf: [an object that requires a0, one that requires a1, …]}`. */
function oneOfNamed(prefix: string, count: number) {
  return { anyOf: Array.from({ length: count }, (_, index) => named(`${prefix}${index}`)) };
}

describe("a schema that needs nothing is returned as the same object", () => {
  const clean: Record<string, object> = {
    "a flat object": parameters({ type: "string", description: "d", minLength: 1, pattern: "^a" }),
    "an object without properties": { type: "object" },
    "a closed object with all kinds inside": {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: {
        a: { type: "array", items: { type: "integer", minimum: 1 }, minItems: 1 },
        b: {
          type: "object",
          properties: { c: { type: "boolean" } },
          required: ["c"],
          additionalProperties: false,
        },
        d: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
        e: { type: "string", enum: ["a", "b"] },
        f: { type: "string", const: "f" },
        g: { type: ["string", "null"] },
        h: { type: ["string", "null"], enum: ["a", null] },
        i: { type: "object", patternProperties: { "^(.*)$": { type: "number" } } },
        j: { type: "object", additionalProperties: { type: "string" }, propertyNames: { type: "string" } },
        m: { type: "object", propertyNames: { $ref: "#/$defs/name" } },
        k: { type: "array" },
        l: { type: "string", not: { type: "string", const: "no" } },
      },
      required: ["a"],
      additionalProperties: false,
      $defs: { name: { type: "string", enum: ["a", "b"] } },
    },
    "a recursive one with definitions at the root": {
      type: "object",
      properties: { list: { $ref: "#/$defs/node", description: "the list" } },
      $defs: {
        node: {
          type: "object",
          properties: { next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } },
        },
      },
    },
  };

  test.each(Object.entries(clean))("%s", (_name, schema) => {
    expect(checkToolSchema(schema)).toBeUndefined();
    expect(toolSchema(schema)).toBe(schema);
  });
});

describe("a property's schema", () => {
  const table: readonly (readonly [what: string, given: unknown, sent: unknown])[] = [
    ["without a type accepts anything", {}, anything],
    ["keeps its description without a type", { description: "d" }, { description: "d", ...anything }],
    ["`true` accepts anything", true, anything],
    ["`false` is still a schema", false, { type: "null" }],
    ["takes its type from `enum`", { enum: ["a", "b"] }, { type: "string", enum: ["a", "b"] }],
    ["takes an integer from `enum`", { enum: [1, 2] }, { type: "integer", enum: [1, 2] }],
    ["takes a number from `enum`", { enum: [1, 2.5] }, { type: "number", enum: [1, 2.5] }],
    ["takes its type from `const`", { const: null }, { type: "null", const: null }],
    [
      "splits a mixed `enum` by type",
      { enum: ["a", 1, null] },
      {
        anyOf: [
          { type: "string", enum: ["a"] },
          { type: "integer", enum: [1] },
          { type: "null", enum: [null] },
        ],
      },
    ],
    [
      "loses enum values that its type forbids",
      { type: "string", enum: ["a", null] },
      { type: "string", enum: ["a"] },
    ],
    ["loses an enum that its type forbids", { type: "integer", enum: ["a"] }, { type: "integer" }],
    ["loses an empty enum", { type: "string", enum: [] }, { type: "string" }],
    ["loses a const that its type forbids", { type: "string", const: 1 }, { type: "string" }],
    [
      "moves `type` into the branches of `anyOf`",
      { type: "object", description: "d", anyOf: [{ properties: { a: { type: "string" } } }, {}] },
      {
        description: "d",
        anyOf: [{ type: "object", properties: { a: { type: "string" } } }, { type: "object" }],
      },
    ],
    [
      "moves everything that limits into the branches, so that their `required` is known",
      { type: "object", properties: { a: { type: "string" } }, anyOf: [{ required: ["a"] }] },
      { anyOf: [{ type: "object", properties: { a: { type: "string" } }, required: ["a"] }] },
    ],
    [
      "keeps the branches' own types beside a list of types",
      {
        type: ["string", "array"],
        anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }],
      },
      { anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }] },
    ],
    [
      "turns `oneOf` into `anyOf`",
      { oneOf: [{ type: "string" }, { type: "null" }] },
      { anyOf: [{ type: "string" }, { type: "null" }] },
    ],
    [
      "merges `allOf`",
      {
        allOf: [
          { type: "object", properties: { a: { type: "string" } }, required: ["a"] },
          { properties: { b: { type: "number" } }, required: ["b"] },
        ],
      },
      { type: "object", properties: { a: { type: "string" }, b: { type: "number" } }, required: ["a", "b"] },
    ],
    [
      "multiplies the unions of an `allOf`, however deep they stand",
      {
        allOf: [
          { allOf: [oneOfNamed("a", 2)], description: "d" },
          { oneOf: [named("b0"), false, named("b1")] },
        ],
      },
      {
        description: "d",
        anyOf: [
          ["b0", "a0"],
          ["b1", "a0"],
          ["b0", "a1"],
          ["b1", "a1"],
        ].map((names) => ({
          type: "object",
          properties: Object.fromEntries(names.map((name) => [name, { type: "string", description: name }])),
          required: names,
        })),
      },
    ],
    [
      "multiplies `anyOf` and `oneOf` side by side",
      {
        type: "string",
        anyOf: [{ minLength: 1 }, { const: "" }],
        oneOf: [{ maxLength: 2 }, { pattern: "^a" }],
      },
      {
        anyOf: [
          { type: "string", minLength: 1, maxLength: 2 },
          { type: "string", minLength: 1, pattern: "^a" },
          { type: "string", const: "", maxLength: 2 },
          { type: "string", const: "", pattern: "^a" },
        ],
      },
    ],
    [
      "declares the properties of a union that is too much to multiply",
      { allOf: [oneOfNamed("a", 4), oneOfNamed("b", 5), { properties: { b0: { type: "number" } } }] },
      {
        anyOf: ["a0", "a1", "a2", "a3"].map((name) => ({
          ...named(name),
          properties: {
            [name]: { type: "string", description: name },
            b0: { type: "number" },
            ...Object.fromEntries(
              ["b1", "b2", "b3", "b4"].map((other) => [
                other,
                { anyOf: [{ type: "string", description: other }, ...anything.anyOf] },
              ]),
            ),
          },
        })),
      },
    ],
    [
      "declares the properties of all unions where those of one would be repeated too often",
      { description: "d", allOf: [oneOfNamed("a", 8), oneOfNamed("b", 9)], required: ["a0"] },
      {
        description: "d",
        type: "object",
        required: ["a0"],
        properties: Object.fromEntries(
          [...oneOfNamed("a", 8).anyOf, ...oneOfNamed("b", 9).anyOf].flatMap(({ required: [name] }) => [
            [name, { anyOf: [{ type: "string", description: name }, ...anything.anyOf] }],
          ]),
        ),
      },
    ],
    [
      "keeps a large union beside one that names nothing",
      { allOf: [oneOfNamed("a", 17), { anyOf: [{ minProperties: 1 }, { maxProperties: 2 }] }] },
      oneOfNamed("a", 17),
    ],
    [
      "makes a tuple a list of any of its items",
      { type: "array", items: [{ type: "number" }, { type: "string" }], additionalItems: false },
      { type: "array", items: { anyOf: [{ type: "number" }, { type: "string" }] }, maxItems: 2 },
    ],
    [
      "makes a tuple of one kind a list of it",
      { type: "array", prefixItems: [{ type: "number" }, { type: "number" }], minItems: 2, maxItems: 2 },
      { type: "array", minItems: 2, maxItems: 2, items: { type: "number" } },
    ],
    [
      "lets anything follow an open tuple",
      { type: "array", prefixItems: [{ type: "number" }, { type: "string" }] },
      { type: "array", items: anyOfThese(["number", "string", "boolean", "object", "array", "null"]) },
    ],
    ["drops `items` that accept anything", { type: "array", items: {} }, { type: "array" }],
    [
      "says `true` for additional properties of any kind",
      { type: "object", additionalProperties: {} },
      { type: "object", additionalProperties: true },
    ],
    [
      "gets a property for an unknown required name",
      { type: "object", properties: { a: { type: "string" } }, required: ["a", "b"] },
      { type: "object", properties: { a: { type: "string" }, b: anything }, required: ["a", "b"] },
    ],
    [
      "lets an unknown required name be what other properties are",
      { type: "object", additionalProperties: { type: "number", description: "d" }, required: ["a"] },
      {
        type: "object",
        additionalProperties: { type: "number", description: "d" },
        required: ["a"],
        properties: { a: { type: "number", description: "d" } },
      },
    ],
    [
      "leaves it to a pattern what an unknown required name is",
      {
        type: "object",
        patternProperties: { "^a": { type: "string" } },
        additionalProperties: { type: "number" },
        required: ["a"],
      },
      {
        type: "object",
        patternProperties: { "^a": { type: "string" } },
        additionalProperties: { type: "number" },
        required: ["a"],
        properties: { a: anything },
      },
    ],
    ["loses draft 3's boolean `required`", { type: "string", required: true }, { type: "string" }],
    ["loses a type that does not exist", { type: "any" }, anything],
    [
      "spells out a list of types that has limits beside it",
      { type: ["string", "null"], minLength: 1 },
      { anyOf: [{ type: "string", minLength: 1 }, { type: "null" }] },
    ],
    [
      "loses a condition that Kimi would refuse",
      { type: "object", not: { required: ["a"] } },
      { type: "object" },
    ],
    ["loses a reference that leads nowhere", { $ref: "#/$defs/none" }, anything],
    [
      "loses a reference to elsewhere",
      { $ref: "https://example.com/schema.json", description: "d" },
      { description: "d", ...anything },
    ],
  ];

  test.each(table)("%s", (_what, given, sent) => {
    expect(repairedProperty(given)).toEqual(sent);
  });
});

describe("references", () => {
  test("into `definitions` lead to `$defs`, also around a circle", () => {
    const schema = toolSchema({
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
    const schema = toolSchema({ type: "object", properties: { child: { $ref: "#" } } });
    const node = { type: "object", properties: { child: { $ref: "#/$defs/root" } } };
    expect(schema).toEqual({ ...node, $defs: { root: node } });
  });

  test("beside other limits are resolved in place", () => {
    const property = { $ref: "#/$defs/a", minLength: 1 };
    expect(repairedProperty(property, { $defs: { a: { type: "string", maxLength: 5 } } })).toEqual({
      type: "string",
      minLength: 1,
      maxLength: 5,
    });
  });

  test("in an `allOf` of their own keep the description beside it", () => {
    const property = { allOf: [{ $ref: "#/definitions/a" }], description: "d" };
    expect(repairedProperty(property, { definitions: { a: { type: "string" } } })).toEqual({
      $ref: "#/$defs/a",
      description: "d",
    });
  });

  const widened = { type: "string", not: { required: ["a"] }, allOf: [{ enum: ["a"] }] };
  test.each([
    ["in `not`", { type: "string", not: { $ref: "#/$defs/a" } }],
    ["in `if`", { type: "string", if: { $ref: "#/$defs/a" } }],
    ["deep in `not`", { type: "string", not: { type: "array", items: { $ref: "#/$defs/a" } } }],
    [
      "in `not`, in another condition",
      { type: "string", else: { type: "string", not: { $ref: "#/$defs/a" } } },
    ],
    [
      "in what a list may contain so often",
      { type: "string", contains: { $ref: "#/$defs/a" }, maxContains: 1 },
    ],
  ])("%s are lost with it: what they lead to may be widened", (_where, given) => {
    const { type, maxContains } = { maxContains: undefined, ...given };
    expect(repairedProperty(given, { $defs: { a: widened } })).toEqual({ type, maxContains });
  });

  test("at the root are resolved, as some generators name the whole schema", () => {
    expect(
      toolSchema({ $ref: "#/definitions/Main", definitions: { Main: parameters({ type: "string" }) } }),
    ).toEqual(parameters({ type: "string" }));
  });
});

describe("the root", () => {
  test.each([[undefined], [null], [true], ["x"], [[]], [{ type: "string" }], [{ enum: [1] }]])(
    "%j takes no parameters",
    (given) => {
      expect(toolSchema(given)).toEqual({ type: "object", properties: {} });
    },
  );

  test("gets its type", () => {
    expect(toolSchema({ properties: { a: { type: "string" } } })).toEqual({
      type: "object",
      properties: { a: { type: "string" } },
    });
  });

  test("becomes one object for several variants", () => {
    const variant = (name: string) => ({
      properties: { file: { type: "string" }, [name]: { type: "string" } },
      required: ["file", name],
      additionalProperties: false,
    });
    expect(
      toolSchema({ type: "object", description: "d", anyOf: [variant("text"), variant("url")] }),
    ).toEqual({
      description: "d",
      type: "object",
      properties: { file: { type: "string" }, text: { type: "string" }, url: { type: "string" } },
      required: ["file"],
      additionalProperties: false,
    });
  });

  describe("of so many variants that they are not looked at one by one", () => {
    const variants = Array.from({ length: 65 }, (_, index) => ({
      type: "object",
      properties: {
        kind: { type: "string", const: `k${index}` },
        [`p${index}`]: { type: "string" },
        z: true,
      },
      required: ["kind"],
      additionalProperties: false,
    }));
    const kinds = variants.map(({ properties }) => properties.kind);
    const all = {
      description: "d",
      type: "object",
      properties: { z: { type: "number" } },
      required: ["z"],
      anyOf: [{ type: "string", properties: { no: { type: "string" } } }, ...variants.slice(1)],
      allOf: [{ $ref: "#/definitions/first" }],
      definitions: { first: { oneOf: [variants[0]] } },
    };

    test("keeps its description, its own limits, and the properties of all", () => {
      const sent = toolSchema(all);
      expect(checkToolSchema(sent)).toBeUndefined();
      expect(sent).toEqual({
        description: "d",
        type: "object",
        properties: {
          z: { type: "number" },
          kind: { anyOf: [...kinds.slice(1), kinds[0], ...anything.anyOf] },
          ...Object.fromEntries(variants.map((_, index) => [`p${index}`, anything])),
        },
        required: ["z"],
      });
    });

    test("one less is looked at", () => {
      const sent = toolSchema({ anyOf: variants.slice(1) });
      expect(sent).toMatchObject({ required: ["kind"], additionalProperties: false });
    });
  });

  test("of two unions in `allOf` has the properties of both", () => {
    expect(toolSchema({ allOf: [oneOfNamed("a", 2), oneOfNamed("b", 2)] })).toEqual({
      type: "object",
      properties: Object.fromEntries(
        ["a0", "b0", "b1", "a1"].map((name) => [
          name,
          { anyOf: [{ type: "string", description: name }, ...anything.anyOf] },
        ]),
      ),
    });
  });

  test("keeps what an open variant would take for another's property", () => {
    const schema = toolSchema({ anyOf: [{ properties: { a: { type: "string" } } }, { type: "object" }] });
    expect(schema).toEqual({ type: "object", properties: { a: anything } });
  });
});

const name = fc.constantFrom("a", "b", "c", "required");
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
/** Nothing about these needs repair; what they lead to may. */
const toDefinition = fc.constantFrom(
  { $ref: "#/$defs/a" },
  { type: "object", properties: { a: { $ref: "#/$defs/a" } }, required: ["a"] },
);
const { schema } = fc.letrec((tie) => ({
  schema: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.boolean(),
    fc.record({ type }),
    tie("keywords"),
  ),
  keywords: fc
    .array(
      fc.oneof(
        ...Object.entries({
          ...Object.fromEntries(["then", "else"].map((keyword) => [keyword, tie("schema")])),
          type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
          enum: fc.array(value, { minLength: 1, maxLength: 4 }),
          const: value,
          properties: fc.dictionary(name, tie("schema"), { maxKeys: 3 }),
          patternProperties: fc.dictionary(fc.constantFrom("^a", "b", ".*"), tie("schema"), { maxKeys: 2 }),
          additionalProperties: tie("schema"),
          propertyNames: tie("schema"),
          required: fc.array(name, { maxLength: 3 }),
          items: fc.oneof(tie("schema"), fc.array(tie("schema"), { maxLength: 3 })),
          prefixItems: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          additionalItems: tie("schema"),
          contains: fc.oneof(tie("schema"), toDefinition),
          maxContains: fc.nat(2),
          minItems: fc.nat(2),
          maxItems: fc.nat(3),
          minLength: fc.nat(2),
          maxLength: fc.nat(4),
          minimum: fc.integer({ min: -1, max: 1 }),
          maximum: fc.integer({ min: 0, max: 3 }),
          anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          oneOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          not: fc.oneof(tie("schema"), toDefinition),
          if: fc.oneof(tie("schema"), toDefinition),
          $ref: reference,
          description: fc.constantFrom<unknown>("d", 1),
        }).map(([keyword, limit]) => fc.tuple(fc.constant(keyword), limit)),
      ),
      { maxLength: 4 },
    )
    .map((entries) => withOneKindOfTuple(Object.fromEntries(entries))),
}));

/** A draft has tuples in `items` or in `prefixItems`, never in both. */
function withOneKindOfTuple({ prefixItems, ...others }: Record<string, unknown>): Record<string, unknown> {
  return prefixItems === undefined || Array.isArray(others.items) ? others : { ...others, prefixItems };
}

const root = fc
  .tuple(
    schema,
    fc.dictionary(fc.constantFrom("a", "b"), schema),
    fc.dictionary(fc.constantFrom("a", "x/y"), schema),
  )
  .map(([main, $defs, definitions]) =>
    typeof main === "object" && main !== null ? { ...main, $defs, definitions } : { $defs, definitions },
  );
/** Conditions that need no repair, about definitions that may. */
const conditional = fc
  .tuple(
    type,
    fc.record(
      { not: toDefinition, if: toDefinition, contains: toDefinition, maxContains: fc.nat(2) },
      { requiredKeys: [] },
    ),
    fc.dictionary(fc.constantFrom("then", "else"), fc.record({ type })),
    schema,
  )
  .map(([only, conditions, consequences, definition]) =>
    parameters(undefined, {
      properties: { a: { type: only, ...conditions, ...consequences } },
      $defs: { a: definition },
    }),
  );
const argumentsOf = fc.array(fc.dictionary(name, value, { maxKeys: 4 }), { minLength: 1, maxLength: 12 });

describe("any schema", () => {
  test("passes Kimi's validator, and every arguments object that was accepted still is", () => {
    fc.assert(
      fc.property(fc.oneof(root, conditional), argumentsOf, (given, instances) => {
        const before = structuredClone(given);
        const sent = toolSchema(given);
        expect(given).toEqual(before);
        expect(checkToolSchema(sent)).toBeUndefined();
        for (const instance of instances) {
          if (accepts(given, instance) !== true) continue;
          expect(accepts(sent, instance), JSON.stringify({ sent, instance })).not.toBe(false);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("is repaired once: the repaired one needs nothing more, also as a copy", () => {
    fc.assert(
      fc.property(root, (given) => {
        const sent = toolSchema(given);
        expect(toolSchema(given)).toBe(sent);
        const copy: unknown = JSON.parse(JSON.stringify(sent));
        expect(JSON.stringify(toolSchema(copy))).toBe(JSON.stringify(sent));
      }),
      { numRuns: 500 },
    );
  });

  test("of any shape at all is answered with a valid one", () => {
    fc.assert(
      fc.property(
        fc.object({
          key: fc.constantFrom(
            "type",
            "properties",
            "items",
            "anyOf",
            "$ref",
            "required",
            "enum",
            "$defs",
            "__proto__",
            "allOf",
          ),
        }),
        (given) => {
          expect(checkToolSchema(toolSchema(given))).toBeUndefined();
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("a hostile schema is bounded", () => {
  test("when it is deep", () => {
    let deep: object = { type: "string" };
    for (let level = 0; level < 5_000; level++) deep = { type: "array", items: deep };
    const sent = JSON.stringify(toolSchema(parameters(deep)));
    expect(sent.length).toBeLessThan(2_000);
  });

  test("when its references multiply", () => {
    const $defs = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [
        `d${index}`,
        {
          type: "object",
          properties: Object.fromEntries(
            ["a", "b", "c"].map((name) => [name, { $ref: `#/$defs/d${index + 1}`, minProperties: 1 }]),
          ),
        },
      ]),
    );
    const started = performance.now();
    const sent = toolSchema(parameters({ $ref: "#/$defs/d0", minProperties: 1 }, { $defs }));
    expect(checkToolSchema(sent)).toBeUndefined();
    expect(JSON.stringify(sent).length).toBeLessThan(5_000_000);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test("when its unions multiply", () => {
    let wide: object = { type: "string" };
    for (let level = 0; level < 20; level++)
      wide = { type: "object", minProperties: level, anyOf: [wide, wide, { minProperties: 1 }] };
    expect(checkToolSchema(toolSchema(parameters(wide)))).toBeUndefined();
    expect(checkToolSchema(toolSchema(wide))).toBeUndefined();
  });

  test("when its intersections of unions multiply", () => {
    let pair: object = { type: "object" };
    for (let level = 0; level < 20; level++) pair = { allOf: [{ anyOf: [pair, {}] }, { anyOf: [pair, {}] }] };
    const many = { allOf: Array.from({ length: 30 }, (_, index) => oneOfNamed(`p${index}_`, 2)) };
    for (const given of [pair, parameters(pair), many, parameters(many)]) {
      const sent = toolSchema(given);
      expect(checkToolSchema(sent)).toBeUndefined();
      expect(JSON.stringify(sent).length).toBeLessThan(200_000);
    }
    expect(JSON.stringify(toolSchema(parameters(many))).length).toBeLessThan(JSON.stringify(many).length * 3);
  });

  test("when it contains itself", () => {
    const circle: Record<string, unknown> = { type: "object" };
    circle.properties = { circle };
    expect(JSON.stringify(toolSchema(circle)).length).toBeLessThan(5_000);
  });
});
