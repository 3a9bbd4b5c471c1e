/**
 * Kimi's rules for the JSON schema of a tool's parameters ("moonshot flavored json schema").
 * Only what the service is known to refuse; keywords that it is not known to judge pass.
 */
import { isObject } from "./json.ts";
import type { JsonObject } from "./types.ts";

const TYPES = new Set(["object", "array", "string", "number", "integer", "boolean", "null"]);

/** What the service finds wrong with a tool's parameters, in its words, or undefined where they are fine. */
export function checkToolSchema(schema: unknown): string | undefined {
  if (!isObject(schema)) return "At path '': schema must be an object";
  if (schema.type !== "object") {
    return schema.type === undefined
      ? "At path '': type is not defined"
      : "At path '': root schema must have type object";
  }
  return checkSchema(schema, "", schema);
}

function checkSchema(schema: unknown, path: string, root: JsonObject): string | undefined {
  const at = (problem: string) => `At path '${path}': ${problem}`;
  if (typeof schema === "boolean") return at("boolean schema is not supported");
  if (!isObject(schema)) return at("schema must be an object");
  const problem = checkKind(schema, root) ?? checkEnum(schema) ?? checkRequired(schema);
  if (problem) return at(problem);
  for (const [step, child] of children(schema)) {
    const found =
      child === undefined
        ? `At path '${join(path, step)}': tuple items are not supported`
        : checkSchema(child, join(path, step), root);
    if (found) return found;
  }
  return undefined;
}

/** A schema says its type itself, by `anyOf`, or by a reference into `#/$defs`; never by two of the first. */
function checkKind(schema: JsonObject, root: JsonObject): string | undefined {
  const { $ref, anyOf, type } = schema;
  if ($ref !== undefined) {
    if (typeof $ref !== "string" || !$ref.startsWith("#/$defs/")) return "$ref must start with #/$defs/";
    if (!resolves($ref, root)) return `$ref ${$ref} is not defined`;
  }
  if (anyOf !== undefined) {
    if (!Array.isArray(anyOf) || anyOf.length === 0) return "anyOf must be a non-empty array";
    return type === undefined
      ? undefined
      : "when using anyOf, type should be defined in anyOf items instead of the parent schema";
  }
  if (type === undefined) return $ref === undefined ? "type is not defined" : undefined;
  const names: unknown[] = Array.isArray(type) ? type : [type];
  const known = names.length > 0 && names.every((name) => typeof name === "string" && TYPES.has(name));
  return known ? undefined : "type is not valid";
}

function resolves(reference: string, root: JsonObject): boolean {
  let at: unknown = root;
  for (const step of reference.slice(2).split("/")) {
    const key = decodePointer(step);
    if (Array.isArray(at)) at = at[Number(key)];
    else at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return isObject(at);
}

/** One step of a JSON pointer in a URI fragment (RFC 6901 §6). */
function decodePointer(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return step;
  }
}

function checkEnum(schema: JsonObject): string | undefined {
  const { type, enum: values } = schema;
  if (values !== undefined && (!Array.isArray(values) || values.length === 0)) {
    return "enum must be a non-empty array";
  }
  if (type === undefined) return undefined;
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

function checkRequired(schema: JsonObject): string | undefined {
  const { properties, required } = schema;
  if (properties !== undefined && !isObject(properties)) return "properties must be an object";
  if (required === undefined) return undefined;
  if (!Array.isArray(required)) return "required must be an array";
  const unknown: unknown = required.find(
    (name) => typeof name !== "string" || !Object.hasOwn(properties ?? {}, name),
  );
  return unknown === undefined
    ? undefined
    : `required property '${String(unknown)}' is not defined in properties`;
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
  if (isObject(additionalProperties)) yield ["additionalProperties", additionalProperties];
  if (items !== undefined) yield ["items", Array.isArray(items) ? undefined : items];
  if (prefixItems !== undefined) yield ["prefixItems", undefined];
}

function join(path: string, step: string): string {
  return path === "" ? step : `${path}.${step}`;
}
