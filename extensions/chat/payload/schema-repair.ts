/**
 * The repair of a tool's parameters that Kimi would refuse. Types, properties, descriptions, enumerations and required
 * names stay as long as Kimi can be told them; where it cannot, the schema is widened, so that no call is ruled out
 * which the tool takes. pi checks the calls against the tool's own schema anyway.
 *
 * 1. `allOf`, and a reference beside other keywords, become one schema. Where the pieces disagree the first counts.
 * 2. Alternatives (`anyOf`, `oneOf`) become `anyOf` with nothing but words and a default beside it; a type beside it
 *    goes into those that say none. At the root, and beside properties of its own, an object takes over the properties
 *    of all.
 * 3. A schema that says no type gets that of its values, else that of its other keywords, else all types. Several types
 *    become `anyOf`.
 * 4. Only the keywords below are sent (`not`, `if`, … only narrow). `required` of unknown names gets properties.
 * 5. References lead to `$defs`. Recursion without a way out gets one.
 * 6. What is still too large is repaired again with less depth.
 */
import { isJsonObject as isObject } from "../../lib/json.ts";
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
import {
  type Document,
  gathered,
  rootReference,
  soleReference,
  target,
  type Whole,
} from "./schema-pieces.ts";
import { isWithinLimits, withWayOut } from "./schema-whole.ts";

/** Accepts everything; Kimi takes `{}` for a schema without a type. */
const ANYTHING: Schema = {
  anyOf: ["string", "number", "boolean", "object", "array", "null"].map((type) => ({ type })),
};

/** The keywords that are sent: those that speak of values of one type, and those that speak of all. */
const NUMBER = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const OF_TYPE: Readonly<Partial<Record<SchemaType, readonly string[]>>> = {
  object: [
    ...["properties", "required", "additionalProperties", "patternProperties", "propertyNames"],
    ...["minProperties", "maxProperties"],
  ],
  array: ["items", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: NUMBER,
  integer: NUMBER,
};
const OF_ALL = ["title", "description", "default", "examples", "enum", "const"];

/** How many schemas may lie inside one another: first nearly as many as the validator takes, then ever less. */
const DEPTHS = [24, 16, 12, 9, 7, 5, 4, 3, 2, 1];

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
  if (types !== undefined && !types.includes("object")) return NO_PARAMETERS;
  const schema = ofType(document, withAlternatives(document, whole), "object", 0);
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
  if (reference !== undefined) {
    const found = target(document, reference);
    if (found === undefined) return { ...words(given), ...ANYTHING };
    return { ...words(given), $ref: rootReference(document, found, reference, depth) };
  }
  const whole = gathered(document, given);
  const [union] = whole.unions;
  const saysItself = ["properties", "items", "enum", "const"].some((key) => key in whole.schema);
  if (union !== undefined && !saysItself) return withUnion(document, whole.schema, union, depth);
  return withTypes(document, withAlternatives(document, whole), depth);
}

function typeAlone(given: unknown): Schema {
  const [type, ...others] = (isObject(given) && typesOf(given)) || [];
  return type === undefined || others.length > 0 ? ANYTHING : { type };
}

function words({ title, description }: Schema): Schema {
  return {
    ...(typeof title === "string" ? { title } : {}),
    ...(typeof description === "string" ? { description } : {}),
  };
}

/** The object with the properties of all its alternatives; required is also what each of one list requires. */
function withAlternatives(document: Document, { schema, unions, pieces }: Whole): Schema {
  if (unions.length === 0) return schema;
  const own = propertiesOf(schema);
  const further = new Map<string, unknown[]>();
  const required = new Set(requiredOf(schema));
  for (const union of unions) {
    const shapes = union
      .filter((branch) => branch !== false)
      .map((branch) => withAlternatives(document, gathered(document, isObject(branch) ? branch : {}, pieces)))
      .filter((shape) => typesOf(shape)?.includes("object") ?? true);
    for (const [name, property] of shapes.flatMap((shape) => Object.entries(propertiesOf(shape)))) {
      if (!Object.hasOwn(own, name)) further.set(name, [...(further.get(name) ?? []), property]);
    }
    const [first = [], ...others] = shapes.map(requiredOf);
    for (const name of first) if (others.every((names) => names.includes(name))) required.add(name);
  }
  const added = [...further].map(([name, list]) => [name, list.length === 1 ? list[0] : { anyOf: list }]);
  return {
    ...schema,
    ...(added.length > 0 ? { properties: { ...own, ...Object.fromEntries(added) } } : {}),
    ...(required.size > 0 ? { required: [...required] } : {}),
  };
}

function propertiesOf({ properties }: Schema): Schema {
  return isObject(properties) ? properties : {};
}

function requiredOf({ required }: Schema): readonly unknown[] {
  return Array.isArray(required) ? required : [];
}

function withUnion(document: Document, schema: Schema, list: readonly unknown[], depth: number): Schema {
  const branches = list
    .filter((branch) => branch !== false)
    .map((branch) => {
      if (list.length > LIMITS.alternatives) return typeAlone(branch);
      const takesType = isObject(branch) && schema.type !== undefined && !saysKind(branch);
      return repairedAt(document, takesType ? { type: schema.type, ...branch } : branch, depth + 1);
    });
  return anyOf(schema, branches);
}

function saysKind(branch: Schema): boolean {
  return ["type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"].some((key) => key in branch);
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

/** The types a schema's values can have: as declared, else those of its values, else those its keywords speak of. */
function typesOf(schema: Schema): readonly SchemaType[] | undefined {
  const names: readonly unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type];
  const declared = [...new Set(names.filter(isSchemaType))];
  const values = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : [];
  const holds = (type: SchemaType) => values.some((value) => isOfType(value, type));
  if (declared.length > 0) {
    const possible = declared.filter(holds);
    return possible.length > 0 ? possible : declared;
  }
  if (values.length > 0) {
    const whole = values.every((value) => typeof value !== "number" || Number.isInteger(value));
    return TYPES.filter((type) => type !== (whole ? "number" : "integer") && holds(type));
  }
  const spoken = TYPES.find((type) => Object.keys(schema).some((key) => OF_TYPE[type]?.includes(key)));
  return spoken === undefined ? undefined : [spoken];
}

function isOfType(value: unknown, type: SchemaType): boolean {
  if (type === "array") return Array.isArray(value);
  return type === "object" ? isObject(value) : isScalar(value, type);
}

function withTypes(document: Document, schema: Schema, depth: number): Schema {
  const [only, ...others] = typesOf(schema) ?? [];
  if (only === undefined) return { ...words(schema), ...ANYTHING };
  if (others.length === 0) return ofType(document, schema, only, depth);
  const { title, description, default: _, ...limits } = schema;
  const branches = [only, ...others].map((type) => ofType(document, limits, type, depth));
  return anyOf(schema, branches);
}

function ofType(document: Document, given: Schema, type: SchemaType, depth: number): Schema {
  const schema = type === "array" ? withoutTuple(given) : given;
  const entries = Object.entries(schema)
    .filter(([key]) => OF_ALL.includes(key) || OF_TYPE[type]?.includes(key))
    .map(([key, value]): [string, unknown] => [key, keyword(document, key, value, type, depth + 1)])
    .filter(([, value]) => value !== undefined);
  const result: Schema = { type, ...Object.fromEntries(entries) };
  return type === "object" ? withNames(schema, result) : result;
}

/** What is sent of a keyword; undefined = nothing. */
function keyword(document: Document, key: string, value: unknown, type: SchemaType, depth: number): unknown {
  switch (key) {
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
      return isObject(value) ? mapped(document, value, depth) : undefined;
    case "patternProperties":
      return isObject(value) ? withoutReference(mapped(document, value, depth)) : undefined;
    case "propertyNames":
      return isObject(value) ? withoutReference(repairedAt(document, value, depth)) : undefined;
    case "additionalProperties":
      return typeof value === "boolean" ? value : schemaIn(document, value, depth);
    case "items":
      return schemaIn(document, value, depth);
    case "required":
      return Array.isArray(value) ? value : undefined;
    default:
      return isPlain(value) || (Array.isArray(value) && value.every(isPlain)) ? value : undefined;
  }
}

function schemaIn(document: Document, value: unknown, depth: number): Schema | undefined {
  return isObject(value) && Object.keys(value).length > 0 ? repairedAt(document, value, depth) : undefined;
}

function mapped(document: Document, map: Schema, depth: number): Schema {
  const entries = Object.entries(map).filter(([name]) => isSayable(name));
  return Object.fromEntries(entries.map(([name, child]) => [name, repairedAt(document, child, depth)]));
}

/** The validator takes references in some keywords only. */
function withoutReference(schema: Schema): Schema | undefined {
  return JSON.stringify(schema).includes('"$ref":') ? undefined : schema;
}

/** In `$defs` the validator takes a slash for the end of a step. */
function isSayable(name: string): boolean {
  return !isRefusedName(name) && !name.includes("/");
}

/** Every required name has a property; where Kimi cannot be told a name, the object is not closed to others. */
function withNames({ properties, patternProperties }: Schema, result: Schema): Schema {
  const isLost = (given: unknown, sent: unknown) =>
    isObject(given) && Object.keys(given).length > (isObject(sent) ? Object.keys(sent).length : 0);
  const lost = isLost(properties, result.properties) || isLost(patternProperties, result.patternProperties);
  const { additionalProperties, required, ...rest } = result;
  const open = lost || additionalProperties === undefined ? rest : { ...rest, additionalProperties };
  if (!Array.isArray(required)) return open;
  const names = [...new Set(required)].filter((name) => typeof name === "string" && isSayable(name));
  const known = propertiesOf(result);
  const unknown = names.filter((name) => !Object.hasOwn(known, name)).map((name) => [name, ANYTHING]);
  const added = unknown.length > 0 ? { properties: { ...known, ...Object.fromEntries(unknown) } } : {};
  return { ...open, ...added, required: names };
}

/** A tuple (`items: [a, b]`, `prefixItems`) as a list of any of its items. */
function withoutTuple(schema: Schema): Schema {
  const { prefixItems, items, additionalItems, ...others } = schema;
  const tuple = Array.isArray(prefixItems) ? prefixItems : items;
  if (!Array.isArray(tuple)) return schema;
  const rest = tuple === items ? additionalItems : items;
  const closed = rest === false || (typeof others.maxItems === "number" && others.maxItems <= tuple.length);
  return { ...others, items: { anyOf: closed ? tuple : [...tuple, rest ?? {}] } };
}
