/**
 * Whether a tool's parameters are as Kimi takes them ("moonshot flavored json schema"). Its validator is public
 * (MoonshotAI/walle): this keeps to its level `strict` and, where people were refused more, to what they reported.
 * A plain schema is recognised here, so that the repair is loaded only for others.
 */
import { isJsonObject as isObject, type JsonObject } from "../../lib/json.ts";

export type Schema = JsonObject;

/** For a tool that takes nothing, or whose schema no arguments object could satisfy. */
export const NO_PARAMETERS: Schema = { type: "object", properties: {} };

/** In the order in which the values of several types are told apart. */
export const TYPES = ["string", "number", "integer", "boolean", "object", "array", "null"] as const;
export type SchemaType = (typeof TYPES)[number];

/** The validator's limits since 2026-06-10; before, one schema could have 15,000 bytes, hence the older reports. */
export const LIMITS = { values: 1_000, alternatives: 500, properties: 3_000, depth: 30, bytes: 120_000 };

/** Length in UTF-16 units that is surely within the limits: each takes at most six bytes (`\u003c`), a property many. */
const SURELY_WITHIN = LIMITS.bytes / 6;
/** Of schemas inside one another; what is deeper is left to the repair, which counts as the validator does. */
const DEEPEST = 20;

export function isSchemaType(name: unknown): name is SchemaType {
  return TYPES.some((type) => type === name);
}

/** Whether a value is a scalar of this type; Kimi is told of no others. */
export function isScalar(value: unknown, type: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type && typeof value !== "object";
}

/** Whether a value, or each of a list, cannot hold a `$ref`, for which the validator looks everywhere. */
export function isPlain(value: unknown): boolean {
  return typeof value !== "object" || value === null || (Array.isArray(value) && value.every(isPlain));
}

/** The validator takes a property of this name for a reference, and braces for an index of `anyOf`. */
export function isRefusedName(name: string): boolean {
  return name === "$ref" || (name.includes("{") && name.includes("}"));
}

/** Whether Kimi takes the parameters as they are. False where that takes more than a look. */
export function isFine(parameters: Schema): boolean {
  if (parameters.type !== "object" || !isFineInside(parameters, 0)) return false;
  return JSON.stringify(parameters).length <= SURELY_WITHIN;
}

function isFineInside(schema: unknown, depth: number): boolean {
  if (!isObject(schema) || depth > DEEPEST || !isSchemaType(schema.type)) return false;
  const inside = (child: unknown) => isFineInside(child, depth + 1);
  return Object.keys(schema).every((key) => isFineKeyword(schema, key, inside));
}

function isFineKeyword(schema: Schema, key: string, inside: (child: unknown) => boolean): boolean {
  const value = schema[key];
  switch (key) {
    case "enum":
      return (
        Array.isArray(value) &&
        value.length > 0 &&
        value.length <= LIMITS.values &&
        value.every((one) => isScalar(one, schema.type))
      );
    case "const":
      return isScalar(value, schema.type);
    case "properties":
      return (
        isObject(value) && Object.keys(value).every((name) => !isRefusedName(name) && inside(value[name]))
      );
    case "additionalProperties":
      return typeof value === "boolean" || inside(value);
    case "items":
      return inside(value);
    case "required":
      return Array.isArray(value) && value.every((name) => isNameIn(schema.properties, name));
    case "title":
    case "description":
    case "pattern":
      return typeof value === "string";
    case "$ref":
    case "allOf":
    case "anyOf":
    case "oneOf":
    case "prefixItems":
      return false;
    default:
      return isPlain(value);
  }
}

function isNameIn(properties: unknown, name: unknown): boolean {
  return typeof name === "string" && isObject(properties) && Object.hasOwn(properties, name);
}
