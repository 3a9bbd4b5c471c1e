/** What Kimi's validator (MoonshotAI/walle) asks of a tool's schema as a whole: its references, its end, its size. */
import { isObject } from "./json.ts";
import type { JsonObject } from "./types.ts";

const LARGEST = 120_000;
const MOST_PROPERTIES = 3_000;
const DEEPEST = 30;

export function checkWholeSchema(root: JsonObject): string | undefined {
  if (goLength(root) > LARGEST) return "At path 'root': schema exceeds maximum allowed size";
  const names = countProperties(root);
  if (names > MOST_PROPERTIES) {
    return `At path 'root': total number of properties keys(${names}) across all objects exceeds maximum limit of ${MOST_PROPERTIES}`;
  }
  const problem = checkDefinitions(root) ?? checkReferences(root, root, []);
  if (problem) return problem;
  if (depthOf(root, root, []) > DEEPEST)
    return `At path 'root': schema depth exceeds maximum limit of ${DEEPEST}`;
  return ends(root, root, new Set()) ? undefined : findEndless(root, root, []);
}

/** Bytes of the schema as Go writes it, which escapes these five characters. */
function goLength(schema: JsonObject): number {
  const text = JSON.stringify(schema).replace(/[<>&\u2028\u2029]/g, "\\u0000");
  return Buffer.byteLength(text);
}

/** The schemas inside one that the validator walks through. */
function inside({ properties, items, additionalProperties, anyOf, $defs }: JsonObject): JsonObject[] {
  return [properties, $defs]
    .flatMap((named) => (isObject(named) ? Object.values(named) : []))
    .concat([items, additionalProperties], Array.isArray(anyOf) ? anyOf : [])
    .filter(isObject);
}

function countProperties(schema: JsonObject): number {
  const own = isObject(schema.properties) ? Object.keys(schema.properties).length : 0;
  return inside(schema).reduce((sum, child) => sum + countProperties(child), own);
}

/** How many properties lie inside one another, references followed. */
function depthOf(schema: JsonObject, root: JsonObject, path: readonly unknown[]): number {
  if (path.includes(schema.$ref) || path.length > DEEPEST) return 0;
  const found = resolved(schema.$ref, root);
  const further = found === undefined ? 0 : depthOf(found, root, [...path, schema.$ref]);
  const { $defs, ...others } = schema;
  const depths = inside(others).map((child) => depthOf(child, root, path));
  return Math.max(further, ...depths) + (isObject(schema.properties) ? 1 : 0);
}

/** No key in a definition may have a slash in it, for paths are split there. */
function checkDefinitions({ $defs }: JsonObject): string | undefined {
  if ($defs === undefined) return undefined;
  if (!isObject($defs)) return "At path '$defs': $defs must be an object";
  const name = keysIn($defs).find((key) => key.includes("/"));
  return name === undefined
    ? undefined
    : `At path '$defs': $defs property name '${name}' cannot contain '/' character`;
}

function keysIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(keysIn);
  return isObject(value) ? [...Object.keys(value), ...Object.values(value).flatMap(keysIn)] : [];
}

/** `$ref` is looked for everywhere, also in values and in keywords that are not judged otherwise. */
function checkReferences(value: unknown, root: JsonObject, path: readonly string[]): string | undefined {
  if (Array.isArray(value)) return first(value, (child) => checkReferences(child, root, path));
  if (!isObject(value)) return undefined;
  const problem = "$ref" in value ? checkReference(value, root, path) : undefined;
  if (problem) return `At path '${path.join(".")}': ${problem}`;
  return first(Object.entries(value), ([key, child]) => checkReferences(child, root, [...path, key]));
}

function first<T>(list: readonly T[], check: (item: T) => string | undefined): string | undefined {
  for (const item of list) {
    const problem = check(item);
    if (problem) return problem;
  }
  return undefined;
}

function checkReference(schema: JsonObject, root: JsonObject, path: readonly string[]): string | undefined {
  const { $ref, ...beside } = schema;
  if (typeof $ref !== "string") return "$ref must be a string";
  if (!$ref.startsWith("#/$defs/")) return "references must start with #/$defs/";
  const found = resolved($ref, root);
  if (found === undefined) return `$ref ${$ref} is not defined`;
  const place = [path.at(-1), path.at(-2)];
  const allowed =
    ["items", "additionalProperties", "anyOf"].includes(`${place[0]}`) ||
    ["properties", "$defs"].includes(`${place[1]}`);
  if (!allowed) return "$ref is not allowed in this schema.";
  const said = [found, ...(Array.isArray(found.anyOf) ? found.anyOf.filter(isObject) : [])];
  const conflict = Object.keys(beside).find(
    (key) => key !== "title" && key !== "description" && said.some((one) => key in one),
  );
  return conflict === undefined
    ? undefined
    : `conflicting keywords found after $ref expansion: keywords (${conflict})`;
}

/** Steps are taken as they are written. */
function resolved(reference: unknown, root: JsonObject): JsonObject | undefined {
  if (typeof reference !== "string" || !reference.startsWith("#/$defs/")) return undefined;
  let at: unknown = root;
  for (const step of reference.slice(2).split("/"))
    at = isObject(at) && Object.hasOwn(at, step) ? at[step] : undefined;
  return isObject(at) ? at : undefined;
}

/**
 * Whether the validator sees an end: an object ends if nothing is required or any one required property ends, a list
 * if its items do, alternatives if one does.
 */
function ends(schema: JsonObject, root: JsonObject, seen: Set<unknown>): boolean {
  const { type, items, required, properties, anyOf, $ref } = schema;
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  if (types.some((name) => name !== undefined && name !== "object" && name !== "array")) return true;
  if (types.includes("array") && (!isObject(items) || ends(items, root, seen))) return true;
  if (types.includes("object")) {
    if (!Array.isArray(required) || required.length === 0 || !isObject(properties)) return true;
    const needed = required.map((name) => properties[String(name)]).filter(isObject);
    return needed.some((property) => ends(property, root, seen));
  }
  if (Array.isArray(anyOf)) return anyOf.filter(isObject).some((branch) => ends(branch, root, seen));
  if ($ref === undefined || seen.has($ref)) return Object.keys(schema).length === 0;
  seen.add($ref);
  const found = resolved($ref, root);
  return found !== undefined && ends(found, root, seen);
}

/** Only where the whole has no end, each reference is looked at. */
function findEndless(schema: JsonObject, root: JsonObject, path: readonly string[]): string | undefined {
  if (schema.$ref !== undefined && !ends(schema, root, new Set())) {
    return `At path '${path.join(".")}': detected infinite recursion without termination condition`;
  }
  const { $defs, ...others } = schema;
  return first(Object.entries(others), ([key, value]) => {
    const children = Array.isArray(value) ? value : [value];
    return first(children.filter(isObject), (child) => findEndless(child, root, [...path, key]));
  });
}
