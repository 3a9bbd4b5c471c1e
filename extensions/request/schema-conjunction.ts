/**
 * Several schemas that must hold together (`allOf`, a reference beside other keywords, the neighbours of `anyOf`) as
 * one. Where both say something about the same thing the first is kept: that accepts more than both, never less.
 */
import { isObject } from "./json.ts";
import { isReference, type SchemaDocument, target } from "./schema-document.ts";
import { ANNOTATIONS, distinct, MERGEABLE, type Schema } from "./schema-vocabulary.ts";

/** The definitions being inlined around a schema; one inside itself is not inlined again. */
export type Inlined = readonly Schema[];

export type Union = readonly unknown[];

export interface Conjunction {
  /** Without `allOf`, `$ref` and tuples; the given schema itself where it had none of them. Its unions are not read. */
  readonly schema: Schema;
  /** The lists of alternatives that stood in any piece: one of each must hold. An empty one is forgotten. */
  readonly unions: readonly Union[];
  readonly inlined: Inlined;
}

/** Takes `allOf` and `$ref` apart and puts the pieces together as one schema. */
export function conjunction(document: SchemaDocument, given: Schema, inlined: Inlined): Conjunction {
  if (given.allOf === undefined && given.$ref === undefined)
    return { schema: withoutTuple(given), unions: unionsOf(given), inlined };
  const pieces: Schema[] = [];
  const entered = collect(document, given, inlined, pieces);
  return { schema: merged(pieces), unions: pieces.flatMap(unionsOf), inlined: entered };
}

function collect(document: SchemaDocument, given: Schema, inlined: Inlined, pieces: Schema[]): Inlined {
  if (document.budget-- <= 0) return inlined;
  pieces.push(withoutTuple(given));
  let entered = inlined;
  if (Array.isArray(given.allOf)) {
    for (const part of given.allOf) {
      if (isObject(part)) entered = collect(document, part, entered, pieces);
    }
  }
  const found = target(document, given.$ref);
  if (found === undefined || entered.includes(found)) return entered;
  return collect(document, found, [...entered, found], pieces);
}

function unionsOf({ anyOf, oneOf }: Schema): readonly Union[] {
  return [anyOf, oneOf].filter((list) => Array.isArray(list)).filter((list) => list.length > 0);
}

function merged(pieces: readonly Schema[]): Schema {
  const all = new Map<string, unknown>();
  for (const piece of pieces) {
    for (const [key, value] of Object.entries(piece)) {
      if (!ANNOTATIONS.has(key) && !MERGEABLE.has(key)) continue;
      // Draft 4's boolean changes what `minimum` of another piece means.
      if ((key === "exclusiveMinimum" || key === "exclusiveMaximum") && typeof value === "boolean") continue;
      all.set(key, all.has(key) ? together(key, all.get(key), value) : value);
    }
  }
  return Object.fromEntries(all);
}

function together(key: string, first: unknown, second: unknown): unknown {
  if ((key === "properties" || key === "patternProperties") && isObject(first) && isObject(second)) {
    return { ...second, ...first };
  }
  if (key === "required" && Array.isArray(first) && Array.isArray(second))
    return [...new Set([...first, ...second])];
  return first;
}

/**
 * A tuple as a list of any of its items: `items: [a, b]` or `prefixItems` become `items: {anyOf: [a, b, rest]}`, and
 * where nothing may follow the tuple its length is kept as `maxItems`.
 */
function withoutTuple(schema: Schema): Schema {
  const { prefixItems, items, additionalItems, ...others } = schema;
  const tuple = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : undefined;
  if (tuple === undefined) return schema;
  const rest = Array.isArray(prefixItems) ? (Array.isArray(items) ? undefined : items) : additionalItems;
  const limit = typeof others.maxItems === "number" ? others.maxItems : Number.POSITIVE_INFINITY;
  const ends = rest === false || limit <= tuple.length;
  const possible = distinct(ends ? tuple : [...tuple, rest ?? true]);
  return {
    ...others,
    ...(possible.length > 0 ? { items: possible.length === 1 ? possible[0] : { anyOf: possible } } : {}),
    ...(ends && limit > tuple.length ? { maxItems: tuple.length } : {}),
  };
}

/** `allOf` around one schema, as generators write it to put a description beside a reference, is that schema. */
export function unwrapped(given: Schema): Schema {
  if (!Array.isArray(given.allOf) || given.allOf.length !== 1 || given.$ref !== undefined) return given;
  const { allOf, ...annotations } = given;
  const [only] = allOf;
  if (!isObject(only) || !isReference(only)) return given;
  return Object.keys(annotations).every((key) => ANNOTATIONS.has(key)) ? { ...only, ...annotations } : given;
}
