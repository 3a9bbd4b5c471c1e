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
        k: { type: "array" },
        l: { type: "string", not: { type: "string", const: "no" } },
      },
      required: ["a"],
      additionalProperties: false,
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
          contains: tie("schema"),
          minItems: fc.nat(2),
          maxItems: fc.nat(3),
          minLength: fc.nat(2),
          maxLength: fc.nat(4),
          minimum: fc.integer({ min: -1, max: 1 }),
          maximum: fc.integer({ min: 0, max: 3 }),
          anyOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          oneOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          allOf: fc.array(tie("schema"), { minLength: 1, maxLength: 3 }),
          not: tie("schema"),
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
const argumentsOf = fc.array(fc.dictionary(name, value, { maxKeys: 4 }), { minLength: 1, maxLength: 12 });

describe("any schema", () => {
  test("passes Kimi's validator, and every arguments object that was accepted still is", () => {
    fc.assert(
      fc.property(root, argumentsOf, (given, instances) => {
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

  test("when it contains itself", () => {
    const circle: Record<string, unknown> = { type: "object" };
    circle.properties = { circle };
    expect(JSON.stringify(toolSchema(circle)).length).toBeLessThan(5_000);
  });
});
