/**
 * The pieces that a schema consists of: where its references lead, under which names Kimi finds the same schemas, and
 * what `allOf` puts together.
 */
import { isJsonObject as isObject } from "../../lib/json.ts";
import type { Schema } from "./schema.ts";

/** One tool's schema while it is repaired. */
export interface Document {
  readonly root: Schema;
  /** How many schemas may lie inside one another. */
  readonly deepest: number;
  /** Those referred to so far, in the order in which they came up; the depth is that of the first reference. */
  readonly definitions: Map<Schema, { readonly name: string; readonly depth: number }>;
  /** How many more schemas may be looked at; more than any real tool has. */
  budget: number;
}

/** What says something that the schema referred to may not say. Other limits are given up beside a reference. */
const EXTENDING = ["properties", "required", "items", "enum", "const", "anyOf", "oneOf"];

/** The reference that a schema consists of, also where `allOf` is wrapped around it to put words beside it. */
export function soleReference(schema: Schema): string | undefined {
  if (EXTENDING.some((key) => key in schema)) return undefined;
  if (schema.allOf === undefined) return typeof schema.$ref === "string" ? schema.$ref : undefined;
  const [only, ...others] = Array.isArray(schema.allOf) ? schema.allOf : [];
  return isObject(only) && others.length === 0 && schema.$ref === undefined ? soleReference(only) : undefined;
}

/** The schema that a reference leads to in the end; undefined where it leads nowhere, elsewhere, or in a circle. */
export function target({ root }: Document, reference: unknown): Schema | undefined {
  const seen = new Set<unknown>();
  for (let next = reference; typeof next === "string" && !seen.has(next); ) {
    seen.add(next);
    const found = lookUp(root, next);
    if (!isObject(found)) return undefined;
    const further = soleReference(found);
    if (further === undefined) return found;
    next = further;
  }
  return undefined;
}

/** The reference by which Kimi finds `schema`: among the definitions of the root, under the last step of the given one. */
export function rootReference(
  { definitions }: Document,
  schema: Schema,
  reference: string,
  depth: number,
): string {
  const known = definitions.get(schema);
  if (known !== undefined) return `#/$defs/${known.name}`;
  const last = reference.slice(reference.lastIndexOf("/") + 1);
  const wanted = last.replace(/[^A-Za-z0-9_.-]+/g, "_").replace(/^_*$|^__proto__$/, "root");
  const taken = new Set([...definitions.values()].map(({ name }) => name));
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted}_${number}`;
  definitions.set(schema, { name, depth });
  return `#/$defs/${name}`;
}

/** RFC 6901 in a URI fragment: `#`, or `#/` with escaped steps. */
function lookUp(root: Schema, reference: string): unknown {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return undefined;
  let at: unknown = root;
  for (const step of reference.slice(2).split("/")) {
    const key = decoded(step).replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(at)) at = at[Number(key)];
    else at = isObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return at;
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}

export interface Whole {
  /** Without what `allOf` and `$ref` lead to; its alternatives are not read. */
  readonly schema: Schema;
  /** The lists of alternatives that stood in any piece; each has something in it. */
  readonly unions: readonly (readonly unknown[])[];
  /** All that it was put together from, and what it is an alternative of. */
  readonly pieces: readonly Schema[];
}

/**
 * Several schemas that must hold together as one, in which the first word counts: that accepts more than all, never
 * less. `around`: what it is an alternative of, which is not put into it again.
 */
export function gathered(document: Document, given: Schema, around: readonly Schema[] = []): Whole {
  const pieces: Schema[] = [];
  const collect = (piece: Schema) => {
    if (pieces.includes(piece) || around.includes(piece) || document.budget-- <= 0) return;
    pieces.push(piece);
    for (const part of Array.isArray(piece.allOf) ? piece.allOf.filter(isObject) : []) collect(part);
    const found = target(document, piece.$ref);
    if (found !== undefined) collect(found);
  };
  collect(given);
  const unions = pieces
    .flatMap(({ anyOf, oneOf }) => [anyOf, oneOf])
    .filter((list) => Array.isArray(list))
    .filter((list) => list.length > 0);
  return { schema: merged(pieces), unions, pieces: [...around, ...pieces] };
}

function merged(pieces: readonly Schema[]): Schema {
  const all = new Map<string, unknown>();
  for (const piece of pieces) {
    for (const [key, value] of Object.entries(piece))
      all.set(key, all.has(key) ? together(key, all.get(key), value) : value);
  }
  return Object.fromEntries(all);
}

function together(key: string, first: unknown, second: unknown): unknown {
  if ((key === "properties" || key === "patternProperties") && isObject(first) && isObject(second))
    return { ...second, ...first };
  if (key === "required" && Array.isArray(first) && Array.isArray(second)) return [...first, ...second];
  return first;
}
