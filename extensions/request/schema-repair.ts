/**
 * One schema, and those inside it, as Kimi's validator takes them ("moonshot flavored json schema"): every schema says
 * its type itself, by `anyOf` or by a reference to `#/$defs/`, and by one of them only. What was accepted still is.
 */
import { isObject } from "./json.ts";
import { conjunction, type Inlined, type Union, unwrapped } from "./schema-conjunction.ts";
import {
  DEEPEST,
  isReference,
  referredTo,
  rootReference,
  type SchemaDocument,
  target,
} from "./schema-document.ts";
import { alternatives, neighbours, withOneUnion } from "./schema-union.ts";
import {
  ANY_TYPE,
  ANYTHING,
  DELICATE,
  DROPPED,
  declaredTypes,
  INVERTING,
  isAboutStructure,
  isOfType,
  MERGEABLE,
  possibleTypes,
  type Schema,
  type SchemaType,
  speaksOf,
} from "./schema-vocabulary.ts";

/** Where in the document a schema stands. */
export interface Place {
  readonly depth: number;
  readonly inlined: Inlined;
}

/** The repaired schema; the given one itself where it needs nothing. */
export function repaired(document: SchemaDocument, given: unknown, place: Place): Schema {
  // Nothing is accepted by `false`: any schema accepts more.
  if (given === false) return { type: "null" };
  if (!isObject(given) || document.budget-- <= 0 || place.depth > DEEPEST) return ANYTHING;
  const schema = unwrapped(given);
  if (isReference(schema)) return reference(document, given, schema);
  const pieces = conjunction(document, schema, place.inlined);
  const whole = withOneUnion(document, pieces);
  const inside = { depth: place.depth + 1, inlined: whole.inlined };
  const [union] = whole.unions;
  if (union !== undefined) return keep(given, withUnion(document, whole.schema, union, inside));
  return keep(given, withTypes(document, whole.schema, inside));
}

function reference(document: SchemaDocument, given: Schema, schema: Schema): Schema {
  const { $ref } = schema;
  const found = target(document, $ref);
  if (found === undefined || typeof $ref !== "string") return { ...annotationsOf(schema), ...ANYTHING };
  return keep(given, { ...annotationsOf(schema), $ref: rootReference(document, found, $ref) });
}

/** `anyOf` with what stood beside it moved into each branch. */
function withUnion(document: SchemaDocument, schema: Schema, branches: Union, place: Place): Schema {
  const beside = neighbours(schema);
  const onlyType = Object.keys(beside).every((key) => key === "type");
  const result: Schema[] = [];
  for (const branch of branches) {
    if (branch === false) continue;
    const bare = isObject(branch) && (Object.keys(beside).length === 0 || (onlyType && isReference(branch)));
    result.push(
      repaired(document, bare ? branch : { allOf: [isObject(branch) ? branch : {}, beside] }, place),
    );
  }
  return {
    ...annotationsOf(schema),
    anyOf: alternatives(schema.anyOf, result.length > 0 ? result : [ANYTHING]),
  };
}

function withTypes(document: SchemaDocument, schema: Schema, place: Place): Schema {
  const types = possibleTypes(schema);
  const [only] = types ?? [];
  if (types?.length === 1 && only !== undefined) return ofType(document, schema, only, place);
  if (types !== undefined && declaredTypes(schema) !== undefined && isPlainList(schema, types)) {
    return ofTypes(schema, types);
  }
  const limits = neighbours(schema);
  const branches = (types ?? ANY_TYPE).map((type) => ofType(document, forType(limits, type), type, place));
  return { ...annotationsOf(schema), anyOf: branches };
}

/** A list of types with nothing beside it, or a nullable enumeration: Kimi takes both as they are. */
function isPlainList(schema: Schema, types: readonly SchemaType[]): boolean {
  const nullable = types.length === 2 && types.includes("null") && !types.some((type) => isContainer(type));
  return Object.keys(neighbours(schema)).every((key) => key === "type" || (key === "enum" && nullable));
}

function ofTypes(schema: Schema, types: readonly SchemaType[]): Schema {
  const values = Array.isArray(schema.enum) ? fitting(schema.enum, types) : undefined;
  const listed = Array.isArray(schema.type) && schema.type.length === types.length ? schema.type : types;
  const entries = Object.entries(annotationsOf(schema, "type", "enum")).flatMap<[string, unknown]>(
    ([key, value]) => {
      if (key === "type") return [[key, listed]];
      if (key !== "enum") return [[key, value]];
      return values === undefined ? [] : [[key, values]];
    },
  );
  return Object.fromEntries(entries);
}

function forType(limits: Schema, type: SchemaType): Schema {
  return Object.fromEntries(
    Object.entries(limits).filter(([key]) => key === "enum" || key === "const" || speaksOf(type, key)),
  );
}

function isContainer(type: SchemaType): boolean {
  return type === "object" || type === "array";
}

/** The schema for values of one type: what cannot apply to them is left out, what is inside it repaired. */
export function ofType(document: SchemaDocument, schema: Schema, type: SchemaType, place: Place): Schema {
  const entries: [string, unknown][] = "type" in schema ? [] : [["type", type]];
  for (const [key, value] of Object.entries(schema)) {
    const kept = key === "type" ? type : keyword(document, key, value, type, place);
    if (kept !== undefined) entries.push([key, kept]);
  }
  const result = Object.fromEntries(entries);
  return type === "object" ? withRequired(result) : result;
}

function keyword(
  document: SchemaDocument,
  key: string,
  value: unknown,
  type: SchemaType,
  place: Place,
): unknown {
  const inside = (child: unknown) => repaired(document, child, place);
  if (DROPPED.has(key) || key === "$defs" || key === "definitions") return undefined;
  if (isAboutStructure(key) && !speaksOf(type, key)) return undefined;
  if (DELICATE.has(key)) {
    if (!isUntouched(document, value, place)) return undefined;
    // What a reference leads to may be widened.
    return INVERTING.has(key) && isObject(value) && referredTo(value).size > 0 ? undefined : value;
  }
  switch (key) {
    case "title":
    case "description":
      return typeof value === "string" ? value : undefined;
    case "enum":
      return Array.isArray(value) && !isContainer(type) ? fitting(value, [type]) : undefined;
    case "const":
      return isOfType(value, type) ? value : undefined;
    case "properties":
    case "patternProperties":
      return isObject(value) ? mapped(value, inside) : undefined;
    case "additionalProperties":
      if (isObject(value)) return Object.keys(value).length === 0 ? true : inside(value);
      return typeof value === "boolean" ? value : undefined;
    case "items":
      return isObject(value) && Object.keys(value).length > 0 ? inside(value) : undefined;
    case "required":
      return Array.isArray(value) ? names(value) : undefined;
    default:
      return value;
  }
}

/** The values of an enumeration that the types allow; undefined when none is left, for Kimi refuses an empty list. */
function fitting(values: readonly unknown[], types: readonly SchemaType[]): readonly unknown[] | undefined {
  const fit = values.filter((value) => types.some((type) => isOfType(value, type)));
  if (fit.length === 0) return undefined;
  return fit.length === values.length ? values : fit;
}

function names(required: readonly unknown[]): readonly unknown[] {
  const distinct = new Set(required.filter((name) => typeof name === "string"));
  return distinct.size === required.length ? required : [...distinct];
}

/** A required name that no property bears gets one that accepts what it would anyway, so that it stays required. */
function withRequired(schema: Schema): Schema {
  if (!Array.isArray(schema.required)) return schema;
  const properties = isObject(schema.properties) ? schema.properties : {};
  const unknown = schema.required.filter((name) => !Object.hasOwn(properties, name));
  if (unknown.length === 0) return schema;
  const added = Object.fromEntries(unknown.map((name) => [name, otherProperty(schema)]));
  return { ...schema, properties: { ...properties, ...added } };
}

/** What an object lets a property be that it does not name; a pattern still limits it where it stands. */
export function otherProperty({ additionalProperties, patternProperties }: Schema): Schema {
  return isObject(additionalProperties) && patternProperties === undefined ? additionalProperties : ANYTHING;
}

/** Whether a keyword's schemas, and lists and maps of them, need no repair. */
function isUntouched(document: SchemaDocument, value: unknown, place: Place): boolean {
  if (Array.isArray(value)) return value.every((item) => typeof item === "string");
  if (!isObject(value)) return false;
  return repaired(document, value, place) === value;
}

function mapped(map: Schema, repair: (child: unknown) => Schema): Schema {
  let changed = false;
  const entries = Object.entries(map).map(([name, child]): [string, Schema] => {
    const result = repair(child);
    if (result !== child) changed = true;
    return [name, result];
  });
  return changed ? Object.fromEntries(entries) : map;
}

function annotationsOf(schema: Schema, ...others: readonly string[]): Schema {
  return Object.fromEntries(
    Object.entries(schema).filter(([key, value]) => {
      if (others.includes(key)) return true;
      if (key === "$defs" || key === "definitions" || MERGEABLE.has(key)) return false;
      if (DELICATE.has(key) || DROPPED.has(key) || key === "$ref") return false;
      return (key !== "title" && key !== "description") || typeof value === "string";
    }),
  );
}

/** The given schema where the result says the same with the same parts. */
export function keep(given: Schema, result: Schema): Schema {
  const keys = Object.keys(given);
  if (keys.length !== Object.keys(result).length) return result;
  return keys.every((key) => Object.hasOwn(result, key) && given[key] === result[key]) ? given : result;
}
