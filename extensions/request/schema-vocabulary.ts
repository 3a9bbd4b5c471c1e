/** JSON Schema's words as far as repairing needs them: the types, and which keyword speaks about which of them. */
import { isObject, type JsonObject } from "./json.ts";

export type Schema = JsonObject;
export type SchemaType = "string" | "number" | "integer" | "boolean" | "object" | "array" | "null";

/** The order in which a value "of any type" is spelled out. */
const ALL_TYPES: readonly SchemaType[] = [
  "string",
  "number",
  "integer",
  "boolean",
  "object",
  "array",
  "null",
];
export const ANY_TYPE: readonly SchemaType[] = ALL_TYPES.filter((type) => type !== "integer");

/** Accepts everything; Kimi takes `{}` for a schema without a type. */
export const ANYTHING: Schema = Object.freeze({
  anyOf: Object.freeze(ANY_TYPE.map((type) => Object.freeze({ type }))),
});

/** They constrain nothing, and stay where they stand when a schema is taken apart. */
export const ANNOTATIONS: ReadonlySet<string> = new Set([
  ...["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"],
  ...["$schema", "$id", "id", "$comment", "$anchor", "$defs", "definitions"],
]);

const OBJECT = [
  "properties",
  "required",
  "additionalProperties",
  "patternProperties",
  "minProperties",
  "maxProperties",
];
const ARRAY = ["items", "minItems", "maxItems", "uniqueItems"];
const STRING = ["minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"];
const NUMBER = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"];

const SPEAKS_OF: Readonly<Record<SchemaType, ReadonlySet<string>>> = {
  object: new Set([...OBJECT, "dependentRequired"]),
  array: new Set(ARRAY),
  string: new Set(STRING),
  number: new Set(NUMBER),
  integer: new Set(NUMBER),
  boolean: new Set(),
  null: new Set(),
};

/** What may be carried from one schema into another that must hold as well, without ever asking for more than both. */
export const MERGEABLE: ReadonlySet<string> = new Set([
  ...["type", "enum", "const", "dependentRequired"],
  ...OBJECT,
  ...ARRAY,
  ...STRING,
  ...NUMBER,
]);

/** Keywords that hold schemas of their own which must not be widened; they stay if Kimi takes them as they are. */
export const DELICATE: ReadonlySet<string> = new Set([
  ...[
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "dependentSchemas",
    "dependencies",
    "contentSchema",
  ],
]);

/** Those of them by which a schema accepts less when the one they hold accepts more (`contains`: by `maxContains`). */
export const INVERTING: ReadonlySet<string> = new Set(["not", "if", "contains"]);

/** Keywords that mean nothing, or something else, once their neighbours have changed; leaving them out only widens. */
export const DROPPED: ReadonlySet<string> = new Set([
  ...[
    "allOf",
    "anyOf",
    "oneOf",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "unevaluatedProperties",
  ],
  ...["$dynamicRef", "$recursiveRef"],
]);

/** Whether a keyword limits values of `type`; for the others it is as good as absent. */
export function speaksOf(type: SchemaType, keyword: string): boolean {
  return SPEAKS_OF[type].has(keyword);
}

export function isAboutStructure(keyword: string): boolean {
  return SPEAKS_OF.object.has(keyword) || SPEAKS_OF.array.has(keyword);
}

export function isType(name: unknown): name is SchemaType {
  return ALL_TYPES.some((type) => type === name);
}

export function isOfType(value: unknown, type: SchemaType): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** The declared types without repetition; undefined where none (or nothing that is a type) is declared. */
export function declaredTypes(schema: Schema): readonly SchemaType[] | undefined {
  const names: readonly unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type];
  const types = ALL_TYPES.filter((type) => names.includes(type));
  return types.length > 0 ? types : undefined;
}

/** The types a schema's values can have: as declared, else those of its `enum` or `const`, else undefined = any. */
export function possibleTypes(schema: Schema): readonly SchemaType[] | undefined {
  const declared = declaredTypes(schema);
  if (declared !== undefined) return declared;
  const values = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : [];
  if (values.length === 0) return undefined;
  const types = ALL_TYPES.filter((type) => values.some((value) => isOfType(value, type)));
  const everyNumber = values.every((value) => typeof value !== "number" || Number.isInteger(value));
  return types.filter((type) => type !== (everyNumber ? "number" : "integer"));
}

/** The schemas without those that say the same as an earlier one; what cannot be written as JSON is like no other. */
export function distinct(schemas: readonly unknown[]): readonly unknown[] {
  const seen = new Set<string>();
  return schemas.filter((schema) => {
    try {
      const text = JSON.stringify(schema);
      if (seen.has(text)) return false;
      seen.add(text);
    } catch {
      // A circle, or deeper than the stack: kept.
    }
    return true;
  });
}
