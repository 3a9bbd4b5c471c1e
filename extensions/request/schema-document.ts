/** One tool's schema as a document: where its references lead, the definitions it needs, and how much work it is worth. */
import { isObject } from "./json.ts";
import { ANNOTATIONS, type Schema } from "./schema-vocabulary.ts";

/** More than any real tool; what lies beyond is accepted unseen. Kimi's own validator stops at a depth of 30. */
const MOST_SCHEMAS = 5_000;
export const DEEPEST = 24;
const LONGEST_CHAIN = 32;

export interface SchemaDocument {
  readonly root: Schema;
  /** The definitions referred to so far, by the schema they name, in the order in which they came up. */
  readonly names: Map<Schema, string>;
  /** How many more schemas may be looked at. */
  budget: number;
}

export function schemaDocument(root: Schema): SchemaDocument {
  return { root, names: new Map(), budget: MOST_SCHEMAS };
}

/** Whether a schema is a reference and nothing else that limits its values. */
export function isReference(schema: Schema): boolean {
  if (typeof schema.$ref !== "string") return false;
  for (const key in schema) {
    if (key !== "$ref" && !ANNOTATIONS.has(key)) return false;
  }
  return true;
}

/**
 * The schema that `reference` leads to in the end; `undefined` where it leads nowhere, out of the document, in a circle,
 * or to what accepts anything.
 */
export function target(document: SchemaDocument, reference: unknown): Schema | undefined {
  let next: unknown = reference;
  for (let step = 0; step < LONGEST_CHAIN; step++) {
    const found = typeof next === "string" ? lookUp(document.root, next) : undefined;
    if (!isObject(found)) return undefined;
    if (!isReference(found)) return found;
    next = found.$ref;
  }
  return undefined;
}

/** The reference by which Kimi finds the same schema: a definition at the root, under its own name if it has one there. */
export function rootReference(document: SchemaDocument, schema: Schema, reference: string): string {
  const known = document.names.get(schema);
  if (known !== undefined) return `#/$defs/${known}`;
  const definitions = isObject(document.root.$defs) ? document.root.$defs : {};
  const last = reference.slice(reference.lastIndexOf("/") + 1);
  const own = Object.hasOwn(definitions, last) && definitions[last] === schema;
  const taken = new Set([...Object.keys(definitions), ...document.names.values()]);
  const name = own && /^[A-Za-z0-9_.-]+$/.test(last) ? last : freeName(last, taken);
  document.names.set(schema, name);
  return `#/$defs/${name}`;
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  const name = wanted.replace(/[^A-Za-z0-9_.-]+/g, "_").slice(0, 64) || "root";
  let free = name === "_" || name === "__proto__" ? "root" : name;
  for (let number = 2; taken.has(free); number++) free = `${name}_${number}`;
  return free;
}

/** The names of the root's definitions that a repaired schema mentions. */
export function referredTo(schema: Schema): Set<string> {
  const found = new Set<string>();
  const seen = new Set<unknown>();
  const open: unknown[] = [schema];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    if (isObject(value) && typeof value.$ref === "string") found.add(value.$ref.slice("#/$defs/".length));
    open.push(...Object.values(value));
  }
  return found;
}

/** RFC 6901 in a URI fragment: `#`, or `#/` with escaped steps. */
function lookUp(root: Schema, reference: string): unknown {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return undefined;
  let at: unknown = root;
  for (const escaped of reference.slice(2).split("/")) {
    const step = unescaped(escaped);
    if (Array.isArray(at)) at = at[Number(step)];
    else at = isObject(at) && Object.hasOwn(at, step) ? at[step] : undefined;
  }
  return at;
}

function unescaped(step: string): string {
  try {
    return decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return step.replaceAll("~1", "/").replaceAll("~0", "~");
  }
}
