/**
 * The repair of a tool's parameters that Kimi would refuse. Types, properties, descriptions, enumerations and required
 * names stay as long as Kimi can be told them; where it cannot, the schema is widened, so that no call is ruled out
 * which the tool takes. pi checks the calls against the tool's own schema anyway.
 *
 * 1. `allOf`, and a reference beside other keywords, become one schema. Where the pieces disagree the first counts.
 * 2. Alternatives (`anyOf`, `oneOf`) become `anyOf` with nothing but words and a default beside it; a type beside it
 *    goes into those that say none. At the root, and beside properties of its own, an object takes over the properties
 *    of all.
 * 3. A schema that says no type gets that of its values, of an object or list whose parts it speaks of, else all types.
 *    Several types become `anyOf`.
 * 4. Of the keywords with schemas in them only those below are sent (`not`, `if`, … only narrow). `required` of unknown
 *    names gets properties. Properties whose names cannot be sent become `additionalProperties`.
 * 5. References lead to `$defs`. Recursion without a way out gets one.
 * 6. What is still too large is repaired again with less depth.
 */
import { isJsonObject as isObject, objectsIn } from "../../lib/json.ts";
import {
  isPlain,
  isRefusedName,
  isScalar,
  isSchemaType,
  LIMITS,
  NO_PARAMETERS,
  type Schema,
  type SchemaType,
  TYPES,
} from "./schema.ts";

/** Accepts everything; Kimi takes `{}` for a schema without a type. */
const ANYTHING: Schema = {
  anyOf: ["string", "number", "boolean", "object", "array", "null"].map((type) => ({ type })),
};

/** How many schemas may lie inside one another: first nearly as many as the validator takes, then ever less. */
const DEPTHS = [24, 16, 12, 9, 7, 5, 4, 3, 2, 1];

/** One tool's schema while it is repaired. */
interface Document {
  readonly root: Schema;
  /** How many schemas may lie inside one another. */
  readonly deepest: number;
  /** Those referred to so far, in the order in which they came up; the depth is that of the first reference. */
  readonly definitions: Map<Schema, { readonly name: string; readonly depth: number }>;
  /** How many more schemas may be looked at; more than any real tool has. */
  budget: number;
}

/** What Kimi takes in place of `root`. Never throws. */
export function repaired(root: Schema): Schema {
  for (const deepest of DEPTHS) {
    const schema = withWayOut(wholeSchema({ root, deepest, definitions: new Map(), budget: 10_000 }));
    if (isWithinLimits(schema)) return schema;
  }
  return { type: "object" };
}

function wholeSchema(document: Document): Schema {
  const whole = gathered(document, document.root);
  const types = typesOf(whole.schema);
  if (types.length > 0 && !types.includes("object")) return NO_PARAMETERS;
  const schema = ofType(document, withAlternatives(document, whole, 0), "object", 0);
  const entries: [string, Schema][] = [];
  // A Map is walked to its end, also to what is added on the way.
  for (const [definition, { name, depth }] of document.definitions)
    entries.push([name, repairedAt(document, definition, depth)]);
  return entries.length === 0 ? schema : { ...schema, $defs: Object.fromEntries(entries) };
}

function repairedAt(document: Document, given: unknown, depth: number): Schema {
  if (!isObject(given)) return ANYTHING;
  if (document.budget-- <= 0 || depth > document.deepest) return { ...words(given), ...typeAlone(given) };
  const reference = soleReference(given);
  if (reference !== undefined) return { ...words(given), ...referring(document, reference, depth) };
  const whole = gathered(document, given);
  const [union] = whole.unions;
  const saysItself = ["properties", "items", "enum", "const"].some((key) => key in whole.schema);
  if (union !== undefined && !saysItself) return withUnion(document, whole.schema, union, depth);
  return withTypes(document, withAlternatives(document, whole, depth), depth);
}

function typeAlone(given: unknown): Schema {
  const [type, ...others] = typesOf(mapIn(given));
  return type === undefined || others.length > 0 ? ANYTHING : { type };
}

function words({ title, description }: Schema): Schema {
  return {
    ...(typeof title === "string" ? { title } : {}),
    ...(typeof description === "string" ? { description } : {}),
  };
}

function mapIn(value: unknown): Schema {
  return isObject(value) ? value : {};
}

// References.

/** What says something that the schema referred to may not say. Other limits are given up beside a reference. */
const EXTENDING = ["properties", "required", "items", "enum", "const", "anyOf", "oneOf"];

/** The reference that a schema consists of, also where `allOf` is wrapped around it to put words beside it. */
function soleReference(schema: Schema): unknown {
  if (EXTENDING.some((key) => key in schema)) return undefined;
  const [only, ...others] = objectsIn(schema.allOf);
  if (only === undefined) return schema.$ref;
  return others.length === 0 && schema.$ref === undefined ? soleReference(only) : undefined;
}

/** The reference by which Kimi finds what `reference` leads to: among the definitions of the root, under its last step. */
function referring(document: Document, reference: unknown, depth: number): Schema {
  const { root, definitions } = document;
  const found = lookUp(root, reference);
  if (!isObject(found)) return ANYTHING;
  const known = definitions.get(found)?.name;
  if (known !== undefined) return { $ref: `#/$defs/${known}` };
  const last = String(reference).split("/").at(-1) ?? "";
  const wanted = last.replace(/[^A-Za-z0-9_.-]+/g, "_").replace(/^_*$|^__proto__$/, "root");
  const taken = new Set([...definitions.values()].map(({ name }) => name));
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted}_${number}`;
  definitions.set(found, { name, depth });
  return { $ref: `#/$defs/${name}` };
}

/** RFC 6901 in a URI fragment: `#`, or `#/` with escaped steps. */
function lookUp(root: Schema, reference: unknown): unknown {
  if (typeof reference !== "string" || !/^#(?:\/|$)/.test(reference)) return undefined;
  let at: unknown = root;
  for (const step of reference.split("/").slice(1)) {
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

// Several schemas as one.

interface Whole {
  /** What `allOf` and `$ref` lead to is in it, alternatives are not. */
  readonly schema: Schema;
  /** The lists of alternatives that stood in any piece; each has something in it. */
  readonly unions: readonly (readonly unknown[])[];
}

function gathered(document: Document, given: Schema): Whole {
  const pieces: Schema[] = [];
  const collect = (piece: unknown) => {
    if (!isObject(piece) || pieces.includes(piece) || document.budget-- <= 0) return;
    pieces.push(piece);
    for (const part of objectsIn(piece.allOf)) collect(part);
    collect(lookUp(document.root, piece.$ref));
  };
  collect(given);
  const unions = pieces.flatMap(({ anyOf, oneOf }) => [anyOf, oneOf]).filter((list) => Array.isArray(list));
  return { schema: pieces.reduce(together, {}), unions: unions.filter((list) => list.length > 0) };
}

/** Two that must hold together as one, in which the first word counts: that accepts more than both, never less. */
function together(first: Schema, second: Schema): Schema {
  const all: Record<string, unknown> = { ...first, ...second, ...first };
  for (const key of ["properties", "patternProperties"])
    if (key in all) all[key] = { ...mapIn(second[key]), ...mapIn(first[key]) };
  if (Array.isArray(first.required) && Array.isArray(second.required))
    all.required = [...first.required, ...second.required];
  return all;
}

// Alternatives.

/** The object with the properties of all its alternatives; required is also what each of one list requires. */
function withAlternatives(document: Document, { schema, unions }: Whole, depth: number): Schema {
  if (unions.length === 0 || depth > document.deepest) return schema;
  const own = mapIn(schema.properties);
  const further = new Map<string, unknown[]>();
  const required = new Set(requiredOf(schema));
  for (const union of unions) {
    const shapes = union
      .filter((branch) => branch !== false)
      .map((branch) => withAlternatives(document, gathered(document, mapIn(branch)), depth + 1))
      .filter((shape) => [...typesOf(shape), "object"].includes("object"));
    for (const [name, property] of shapes.flatMap((shape) => Object.entries(mapIn(shape.properties)))) {
      if (!Object.hasOwn(own, name)) further.set(name, [...(further.get(name) ?? []), property]);
    }
    const [first = [], ...others] = shapes.map(requiredOf);
    for (const name of first) if (others.every((names) => names.includes(name))) required.add(name);
  }
  const added = [...further].map(([name, list]) => [name, { anyOf: list }]);
  return {
    ...schema,
    ...(added.length > 0 ? { properties: { ...own, ...Object.fromEntries(added) } } : {}),
    ...(required.size > 0 ? { required: [...required] } : {}),
  };
}

function requiredOf({ required }: Schema): readonly unknown[] {
  return Array.isArray(required) ? required : [];
}

function withUnion(document: Document, schema: Schema, list: readonly unknown[], depth: number): Schema {
  const type = schema.type === undefined ? {} : { type: schema.type };
  const branches = list
    .filter((branch) => branch !== false)
    .map((branch) => (isObject(branch) ? { ...type, ...branch } : branch))
    .map((branch) =>
      list.length > LIMITS.alternatives ? typeAlone(branch) : repairedAt(document, branch, depth + 1),
    );
  return anyOf(schema, branches);
}

/** Alternatives, with the words and the default of `schema` beside them. The validator takes no keyword twice. */
function anyOf(schema: Schema, given: readonly Schema[]): Schema {
  const branches = [...new Map(given.map((branch) => [JSON.stringify(branch), branch])).values()];
  const [only = ANYTHING] = branches;
  if (branches.length < 2) return { ...only, ...words(schema) };
  const keepsDefault = isPlain(schema.default) && branches.every((branch) => !("default" in branch));
  const beside = "default" in schema && keepsDefault ? { default: schema.default } : {};
  return { ...words(schema), ...beside, anyOf: branches };
}

// Types and keywords.

/** Speak of the parts of an object. */
const OF_OBJECTS = ["properties", "required", "additionalProperties", "patternProperties", "propertyNames"];

/** The types a schema's values can have: as declared, else those of its values, else that of the parts it speaks of. */
function typesOf(schema: Schema): readonly SchemaType[] {
  const declared = [schema.type].flat().filter(isSchemaType);
  if (declared.length > 0) return [...new Set(declared)];
  const values = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : [];
  if (values.length > 0)
    return TYPES.filter((type) => type !== "integer" && values.some((value) => isOfType(value, type)));
  if (OF_OBJECTS.some((key) => key in schema)) return ["object"];
  return "items" in schema || "prefixItems" in schema ? ["array"] : [];
}

function isOfType(value: unknown, type: SchemaType): boolean {
  if (type === "array") return Array.isArray(value);
  return type === "object" ? isObject(value) : isScalar(value, type);
}

function withTypes(document: Document, schema: Schema, depth: number): Schema {
  const [only, ...others] = typesOf(schema);
  if (only === undefined) return { ...words(schema), ...ANYTHING };
  if (others.length === 0) return ofType(document, schema, only, depth);
  const { title, description, default: _, ...limits } = schema;
  const branches = [only, ...others].map((type) => ofType(document, limits, type, depth));
  return anyOf(schema, branches);
}

function ofType(document: Document, given: Schema, type: SchemaType, depth: number): Schema {
  if (type === "null") return { type, ...words(given) };
  const entries = Object.entries(type === "array" ? withoutTuple(given) : withSayableNames(given))
    .map(([key, value]): [string, unknown] => [key, keyword(document, key, value, type, depth + 1)])
    .filter(([, value]) => value !== undefined);
  const schema: Schema = { type, ...Object.fromEntries(entries) };
  return type === "object" ? withNames(schema) : schema;
}

/** What is sent of a keyword; undefined = nothing. */
function keyword(document: Document, key: string, value: unknown, type: SchemaType, depth: number): unknown {
  if (key.startsWith("$") || (OF_OBJECTS.includes(key) && type !== "object")) return undefined;
  switch (key) {
    case "type":
    case "prefixItems":
    case "allOf":
    case "anyOf":
    case "oneOf":
      return undefined;
    case "title":
    case "description":
    case "pattern":
      return typeof value === "string" ? value : undefined;
    case "enum": {
      const fit = Array.isArray(value) ? value.filter((one) => isScalar(one, type)) : [];
      return fit.length > 0 && fit.length <= LIMITS.values ? fit : undefined;
    }
    case "const":
      return isScalar(value, type) ? value : undefined;
    case "properties":
      return mapped(value, (child) => repairedAt(document, child, depth));
    case "patternProperties":
      return mapped(value, (child) => withoutReference(repairedAt(document, child, depth)));
    case "propertyNames":
      return isObject(value) ? withoutReference(repairedAt(document, value, depth)) : undefined;
    case "additionalProperties":
      return typeof value === "boolean" ? value : schemaIn(document, value, depth);
    case "items":
      return type === "array" ? schemaIn(document, value, depth) : undefined;
    case "required":
      return Array.isArray(value) ? value : undefined;
    default:
      return isPlain(value) ? value : undefined;
  }
}

function schemaIn(document: Document, value: unknown, depth: number): Schema | undefined {
  return isObject(value) && Object.keys(value).length > 0 ? repairedAt(document, value, depth) : undefined;
}

function mapped(map: unknown, repair: (child: unknown) => Schema): Schema | undefined {
  if (!isObject(map)) return undefined;
  const entries = Object.entries(map).filter(([name]) => isSayable(name));
  return Object.fromEntries(entries.map(([name, child]) => [name, repair(child)]));
}

/** The validator takes references in some keywords only. */
function withoutReference(schema: Schema): Schema {
  return JSON.stringify(schema).includes('"$ref":') ? ANYTHING : schema;
}

/** In `$defs` the validator takes a slash for the end of a step. */
function isSayable(name: string): boolean {
  return !isRefusedName(name) && !name.includes("/");
}

/** A property whose name Kimi cannot be told is told as one of any name, beside what is said of those. */
function withSayableNames(schema: Schema): Schema {
  const { properties, patternProperties, additionalProperties } = schema;
  const named = [...Object.entries(mapIn(properties)), ...Object.entries(mapIn(patternProperties))];
  const unsaid = named.filter(([name]) => !isSayable(name)).map(([, child]) => child);
  if (unsaid.length === 0) return schema;
  return { ...schema, additionalProperties: { anyOf: [...unsaid, additionalProperties] } };
}

/** Every required name has a property. */
function withNames(schema: Schema): Schema {
  if (!Array.isArray(schema.required)) return schema;
  const names = [...new Set(schema.required)].filter((name) => typeof name === "string" && isSayable(name));
  const known = mapIn(schema.properties);
  const unknown = names.filter((name) => !Object.hasOwn(known, name)).map((name) => [name, ANYTHING]);
  return { ...schema, properties: { ...known, ...Object.fromEntries(unknown) }, required: names };
}

/** A tuple (`items: [a, b]`, `prefixItems`) as a list of any of its items, and of what is said to follow them. */
function withoutTuple(schema: Schema): Schema {
  const { prefixItems, items, additionalItems, ...others } = schema;
  const tuple = Array.isArray(prefixItems) ? prefixItems : items;
  if (!Array.isArray(tuple)) return schema;
  const rest = tuple === items ? additionalItems : items;
  return { ...others, items: { anyOf: rest === undefined ? tuple : [...tuple, rest] } };
}

// What the validator judges about a schema as a whole.

/**
 * Gives recursion that never ends a way out: each definition in such a circle may also be any object. In the
 * validator's eyes an object ends if nothing is required or one required property ends, and a list if its items do.
 */
function withWayOut(schema: Schema): Schema {
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
function isWithinLimits(schema: Schema): boolean {
  const text = JSON.stringify(schema);
  // Go writes these five as `\u003c`.
  const bytes = Buffer.byteLength(text) + (text.match(/[<>&\u2028\u2029]/g)?.length ?? 0) * 5;
  if (bytes > LIMITS.bytes || namesIn(schema) > LIMITS.properties) return false;
  return depthOf(schema, mapIn(schema.$defs), [], { steps: 20_000 }) <= LIMITS.depth;
}

function childrenOf({ properties, items, additionalProperties, anyOf }: Schema): readonly Schema[] {
  return objectsIn([...Object.values(mapIn(properties)), ...objectsIn(anyOf), items, additionalProperties]);
}

/** How many names of properties are in it, references not followed. */
function namesIn(schema: Schema): number {
  const children = [...childrenOf(schema), ...objectsIn(Object.values(mapIn(schema.$defs)))];
  const own = Object.keys(mapIn(schema.properties)).length;
  return children.reduce((sum, child) => sum + namesIn(child), own);
}

/** How many properties lie inside one another, references followed; infinite where that takes too many steps. */
function depthOf(
  schema: Schema,
  definitions: Schema,
  path: readonly string[],
  left: { steps: number },
): number {
  if (left.steps-- <= 0) return Number.POSITIVE_INFINITY;
  const { $ref, properties } = schema;
  if (typeof $ref === "string") {
    const found = mapIn(definitions[$ref.slice("#/$defs/".length)]);
    return path.includes($ref) ? 0 : depthOf(found, definitions, [...path, $ref], left);
  }
  const depths = childrenOf(schema).map((child) => depthOf(child, definitions, path, left));
  return Math.max(0, ...depths) + (isObject(properties) ? 1 : 0);
}
