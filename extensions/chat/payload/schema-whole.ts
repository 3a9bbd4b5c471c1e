/** What the validator judges about a schema as a whole: whether its recursion can end, and how large it is. */
import { isJsonObject as isObject } from "../../lib/json.ts";
import { LIMITS, type Schema } from "./schema.ts";

/**
 * Gives recursion that never ends a way out: each definition in such a circle may also be any object. In the
 * validator's eyes an object ends if nothing is required or one required property ends, and a list if its items do.
 */
export function withWayOut(schema: Schema): Schema {
  if (!isObject(schema.$defs)) return schema;
  const definitions = Object.entries(schema.$defs);
  const ending = new Set<unknown>();
  for (let before = -1; before < ending.size; ) {
    before = ending.size;
    for (const [name, definition] of definitions) if (ends(definition, ending)) ending.add(`#/$defs/${name}`);
  }
  const opened = definitions.map(([name, definition]) => [
    name,
    ending.has(`#/$defs/${name}`) ? definition : { anyOf: [definition, { type: "object" }] },
  ]);
  return { ...schema, $defs: Object.fromEntries(opened) };
}

function ends(schema: unknown, ending: ReadonlySet<unknown>): boolean {
  if (!isObject(schema)) return true;
  const { type, items, required, properties, anyOf, $ref } = schema;
  if (type === "array") return ends(items, ending);
  if (type === "object") {
    if (!Array.isArray(required) || required.length === 0 || !isObject(properties)) return true;
    return required.some((name) => ends(properties[String(name)], ending));
  }
  if (Array.isArray(anyOf)) return anyOf.some((branch) => ends(branch, ending));
  return $ref === undefined || ending.has($ref);
}

/** Whether a repaired schema is small enough, in the validator's measure: the bytes of Go's JSON, names, depth. */
export function isWithinLimits(schema: Schema): boolean {
  const text = JSON.stringify(schema);
  // Go writes these five as `\u003c`.
  const bytes = Buffer.byteLength(text) + (text.match(/[<>&\u2028\u2029]/g)?.length ?? 0) * 5;
  if (bytes > LIMITS.bytes) return false;
  const definitions = isObject(schema.$defs) ? schema.$defs : {};
  const names = [schema, ...Object.values(definitions)].reduce<number>((sum, one) => sum + namesIn(one), 0);
  return names <= LIMITS.properties && depthOf(schema, definitions, [], { steps: 20_000 }) <= LIMITS.depth;
}

function childrenOf({ properties, items, additionalProperties, anyOf }: Schema): readonly unknown[] {
  const named = isObject(properties) ? Object.values(properties) : [];
  return [...named, ...(Array.isArray(anyOf) ? anyOf : []), items, additionalProperties];
}

/** How many names of properties are in it, references not followed. */
function namesIn(schema: unknown): number {
  if (!isObject(schema)) return 0;
  const own = isObject(schema.properties) ? Object.keys(schema.properties).length : 0;
  return childrenOf(schema).reduce<number>((sum, child) => sum + namesIn(child), own);
}

/** How many properties lie inside one another, references followed; infinite where that takes too many steps. */
function depthOf(
  schema: unknown,
  definitions: Schema,
  path: readonly string[],
  left: { steps: number },
): number {
  if (left.steps-- <= 0) return Number.POSITIVE_INFINITY;
  if (!isObject(schema)) return 0;
  const { $ref, properties } = schema;
  if (typeof $ref === "string") {
    if (path.includes($ref)) return 0;
    return depthOf(definitions[$ref.slice("#/$defs/".length)], definitions, [...path, $ref], left);
  }
  const depths = childrenOf(schema).map((child) => depthOf(child, definitions, path, left));
  return Math.max(0, ...depths) + (isObject(properties) ? 1 : 0);
}
