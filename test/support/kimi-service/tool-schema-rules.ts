/**
 * Kimi's rules for the JSON schema of a tool's parameters ("moonshot flavored json schema"), after its own validator
 * (MoonshotAI/walle, level `strict`) and after what people were refused. Keywords that it is not known to judge pass,
 * and so do properties named `required` and the like: `strict` refuses them, nobody has reported it, real tools have them.
 */
import { isObject } from "./json.ts";
import { checkWholeSchema } from "./tool-schema-whole.ts";
import type { JsonObject } from "./types.ts";

const TYPES = new Set(["object", "array", "string", "number", "integer", "boolean", "null"]);
const MOST_VALUES = 1_000;
const MOST_ALTERNATIVES = 500;

/** What the service finds wrong with a tool's parameters, in its words, or undefined where they are fine. */
export function checkToolSchema(schema: unknown): string | undefined {
  if (!isObject(schema)) return "At path '': schema must be an object";
  if (schema.type !== "object") {
    return schema.type === undefined
      ? "At path '': type is not defined"
      : "At path '': root schema must have type object";
  }
  return checkSchema(schema, "") ?? checkWholeSchema(schema);
}

function checkSchema(schema: unknown, path: string): string | undefined {
  const at = (problem: string) => `At path '${path}': ${problem}`;
  if (typeof schema === "boolean") return at("boolean schema is not supported");
  if (!isObject(schema)) return at("schema must be an object");
  const problem =
    checkKind(schema) ??
    checkEnum(schema) ??
    checkTypeList(schema) ??
    checkProperties(schema) ??
    checkTexts(schema);
  if (problem) return at(problem);
  for (const [step, child] of children(schema)) {
    const found =
      child === undefined
        ? `At path '${join(path, step)}': tuple items are not supported`
        : checkSchema(child, join(path, step));
    if (found) return found;
  }
  return undefined;
}

/** A schema says its type itself, by `anyOf`, or by a reference; never by two of them. */
function checkKind(schema: JsonObject): string | undefined {
  const { $ref, anyOf, type } = schema;
  if (anyOf !== undefined) return checkAlternatives(schema, anyOf);
  if ($ref !== undefined) {
    return type === undefined
      ? undefined
      : "when using $ref, type should be defined in the referenced schema instead of the parent schema";
  }
  if (type === undefined) return "type is not defined";
  const names: unknown[] = Array.isArray(type) ? type : [type];
  const known = names.length > 0 && names.every((name) => typeof name === "string" && TYPES.has(name));
  return known ? undefined : "type is not valid";
}

function checkAlternatives(schema: JsonObject, anyOf: unknown): string | undefined {
  if (!Array.isArray(anyOf) || anyOf.length === 0) return "anyOf must be a non-empty array";
  if (anyOf.length > MOST_ALTERNATIVES) return `anyOf must have 1-${MOST_ALTERNATIVES} items`;
  if (schema.type !== undefined) {
    return "when using anyOf, type should be defined in anyOf items instead of the parent schema";
  }
  const outside = Object.keys(schema).filter((key) => !["anyOf", "title", "description"].includes(key));
  const conflict = outside.find((key) => anyOf.some((branch) => isObject(branch) && key in branch));
  return conflict === undefined
    ? undefined
    : `conflicting keywords found in anyOf with parent: keywords (${conflict})`;
}

function checkEnum(schema: JsonObject): string | undefined {
  const { type, enum: values } = schema;
  if (values !== undefined && (!Array.isArray(values) || values.length === 0)) {
    return "enum must be a non-empty array";
  }
  if (Array.isArray(values) && values.length > MOST_VALUES) {
    return `enum array cannot have more than ${MOST_VALUES} items`;
  }
  if (type === undefined) return values === undefined ? undefined : "type is not defined";
  const names: unknown[] = Array.isArray(type) ? type : [type];
  const fits = (value: unknown) => names.some((name) => isOfType(value, name));
  if (Array.isArray(values) && !values.every(fits)) return "enum value does not match type";
  return !("const" in schema) || fits(schema.const) ? undefined : "const value does not match type";
}

function isOfType(value: unknown, name: unknown): boolean {
  switch (name) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === name;
  }
}

/** Of several types nothing else may be said but words, and of texts or truth values that may be null their `enum`. */
function checkTypeList({ type, ...others }: JsonObject): string | undefined {
  if (!Array.isArray(type) || type.length < 2) return undefined;
  const nullable =
    type.length === 2 && type.includes("null") && (type.includes("string") || type.includes("boolean"));
  const key = Object.keys(others).find(
    (name) => name !== "title" && name !== "description" && !(name === "enum" && nullable),
  );
  return key === undefined ? undefined : `keyword ${key} is not allowed in combination with multiple types`;
}

function checkProperties(schema: JsonObject): string | undefined {
  const { properties, required } = schema;
  if (properties !== undefined && !isObject(properties)) return "properties must be an object";
  const names = Object.keys(properties ?? {});
  if (names.includes("$ref")) return "$ref must be a string";
  const braced = names.find((name) => name.includes("{") && name.includes("}"));
  if (braced !== undefined) return `invalid path: properties.${braced}`;
  if (!("required" in schema)) return undefined;
  if (!Array.isArray(required)) return "required must be an array";
  const unknown: unknown = required.find((name) => typeof name !== "string" || !names.includes(name));
  return unknown === undefined
    ? undefined
    : `required property '${String(unknown)}' is not defined in properties`;
}

function checkTexts(schema: JsonObject): string | undefined {
  const key = ["description", "pattern"].find((name) => name in schema && typeof schema[name] !== "string");
  return key === undefined ? undefined : `${key} must be a string`;
}

/** The schemas inside a schema, each with its step; undefined stands for a tuple, which is refused. */
function* children(schema: JsonObject): Generator<[string, unknown]> {
  for (const keyword of ["properties", "patternProperties", "$defs"]) {
    const named = schema[keyword];
    if (!isObject(named)) continue;
    for (const [name, child] of Object.entries(named)) yield [`${keyword}.${name}`, child ?? null];
  }
  for (const keyword of ["anyOf", "oneOf", "allOf"]) {
    const list = schema[keyword];
    if (!Array.isArray(list)) continue;
    for (const [index, child] of list.entries()) yield [`${keyword}.${index}`, child ?? null];
  }
  const { additionalProperties, items, prefixItems } = schema;
  // The one place where `{}` is anything.
  if (isObject(additionalProperties) && Object.keys(additionalProperties).length > 0)
    yield ["additionalProperties", additionalProperties];
  if (items !== undefined) yield ["items", Array.isArray(items) ? undefined : items];
  if (prefixItems !== undefined) yield ["prefixItems", undefined];
}

function join(path: string, step: string): string {
  return path === "" ? step : `${path}.${step}`;
}
