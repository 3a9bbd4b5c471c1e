/**
 * Unions, `anyOf` and `oneOf`: the list of alternatives that is sent, several unions that must all hold as one, and what
 * a union that is too large to be looked at says all the same.
 */
import { isObject } from "./json.ts";
import type { Conjunction, Union } from "./schema-conjunction.ts";
import { type SchemaDocument, target } from "./schema-document.ts";
import { distinct, MERGEABLE, possibleTypes, type Schema } from "./schema-vocabulary.ts";

/** What limits the values beside `anyOf` and `oneOf`. */
export function neighbours(schema: Schema): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => MERGEABLE.has(key)));
}

/** Combinations of unions that must all hold; each is written out. */
const MOST_COMBINATIONS = 16;
/** Properties of a union left out, in all the combinations that it is left out of. */
const MOST_COPIES = 64;

/**
 * The same with one union only. The others go into its branches as long as they make few combinations; of one that
 * would make too many the properties are declared, and where even that is too much, those of all unions and no union.
 */
export function withOneUnion(document: SchemaDocument, whole: Conjunction): Conjunction {
  const [first, ...others] = whole.unions;
  if (first === undefined || others.length === 0) return whole;
  let combinations = first.length;
  const factors: Schema[] = [];
  const left: Schema[] = [];
  for (const anyOf of others) {
    const fits = combinations * anyOf.length <= MOST_COMBINATIONS;
    if (fits) combinations *= anyOf.length;
    (fits ? factors : left).push({ anyOf });
  }
  const declared = declaredProperties(document, left);
  if (combinations * Object.keys(declared).length > MOST_COPIES) {
    const all = declaredProperties(document, [{ anyOf: first }, ...factors, ...left]);
    const type = whole.unions.some((union) => union.every(isObjectSchema)) ? { type: "object" } : {};
    return { ...whole, schema: withProperties({ ...type, ...whole.schema }, all), unions: [] };
  }
  const union = first.map((branch) =>
    branch === false ? false : { allOf: [isObject(branch) ? branch : {}, ...factors] },
  );
  return { ...whole, schema: withProperties(whole.schema, declared), unions: [union] };
}

/**
 * The properties that `schemas` or any of their alternatives name: each may be what any of them says, or anything. So
 * declaring them refuses no value, whichever of the alternatives holds.
 */
export function declaredProperties(document: SchemaDocument, schemas: readonly Schema[]): Schema {
  const said = new Map<string, Schema[]>();
  // A Set is walked to its end, also to what is added on the way.
  const parts = new Set<unknown>(schemas);
  for (const part of parts) {
    if (!isObject(part) || !mayBeObject(part)) continue;
    if (document.budget-- <= 0) break;
    for (const [name, property] of Object.entries(isObject(part.properties) ? part.properties : {})) {
      const known = said.get(name) ?? [];
      if (isObject(property)) known.push(property);
      said.set(name, known);
    }
    for (const list of [part.allOf, part.anyOf, part.oneOf]) {
      for (const further of Array.isArray(list) ? list : []) parts.add(further);
    }
    parts.add(target(document, part.$ref));
  }
  return Object.fromEntries([...said].map(([name, known]) => [name, { anyOf: [...known, {}] }]));
}

/** The schema with further properties; what it says itself of one of them stays. */
export function withProperties(schema: Schema, further: Schema): Schema {
  if (Object.keys(further).length === 0) return schema;
  return { ...schema, properties: { ...further, ...(isObject(schema.properties) ? schema.properties : {}) } };
}

function isObjectSchema(schema: unknown): boolean {
  return isObject(schema) && possibleTypes(schema)?.join() === "object";
}

export function mayBeObject(schema: Schema): boolean {
  return possibleTypes(schema)?.includes("object") ?? true;
}

/** Schemas of which one must hold, without repetition and without unions inside the union. */
export function alternatives(given: unknown, schemas: readonly Schema[]): Union {
  const spread = schemas.flatMap((schema) => (isBareUnion(schema) ? schema.anyOf : [schema]));
  // A union that was fine stays the very same list, also where it says something twice.
  if (Array.isArray(given) && isSameList(given, schemas)) return given;
  return distinct(spread);
}

function isBareUnion(schema: Schema): schema is Schema & { readonly anyOf: Union } {
  return Array.isArray(schema.anyOf) && Object.keys(schema).length === 1;
}

function isSameList(given: Union, result: Union): boolean {
  return given.length === result.length && given.every((item, index) => item === result[index]);
}
