/**
 * The parameters of a tool, repaired once: the schema an object from pi stands for is worked out at its first request
 * and remembered with that object.
 */
import { isObject } from "./json.ts";
import { conjunction, type Inlined } from "./schema-conjunction.ts";
import { isReference, referredTo, type SchemaDocument, schemaDocument } from "./schema-document.ts";
import { keep, ofType, otherProperty, repaired } from "./schema-repair.ts";
import { alternatives, declaredProperties, mayBeObject, neighbours, withProperties } from "./schema-union.ts";
import { ANNOTATIONS, ANYTHING, type Schema } from "./schema-vocabulary.ts";

/** For a tool that takes nothing, or whose schema no arguments could ever satisfy. */
const NO_PARAMETERS: Schema = Object.freeze({ type: "object", properties: Object.freeze({}) });
const MOST_VARIANTS = 64;

const remembered = new WeakMap<object, Schema>();

/**
 * The parameters as Kimi accepts them: the root says `type: "object"` and has no union. Every arguments object that the
 * given schema accepts is accepted by the result. A schema that needs nothing is returned itself. Never throws.
 */
export function toolSchema(parameters: unknown): Schema {
  if (!isObject(parameters)) return NO_PARAMETERS;
  const known = remembered.get(parameters);
  if (known !== undefined) return known;
  const schema = keep(parameters, wholeSchema(parameters));
  remembered.set(parameters, schema);
  remembered.set(schema, schema);
  return schema;
}

function wholeSchema(root: Schema): Schema {
  const document = schemaDocument(root);
  const variants = variantsOf(document, root, []).filter((variant) => mayBeObject(variant.schema));
  const shapes = variants.map((variant) =>
    ofType(document, variant.schema, "object", { depth: 1, inlined: variant.inlined }),
  );
  const [only] = shapes;
  const shape = only === undefined ? NO_PARAMETERS : shapes.length === 1 ? only : anyShape(root, shapes);
  return withDefinitions(document, shape);
}

interface Variant {
  readonly schema: Schema;
  readonly inlined: Inlined;
}

/**
 * The alternatives at the root, each with what stood beside them, down to schemas without `anyOf`. Where they are too
 * many: the root without them, and with the properties that they name.
 */
function variantsOf(document: SchemaDocument, root: Schema, inlined: Inlined): readonly Variant[] {
  const found: Variant[] = [];
  const open: Variant[] = [{ schema: root, inlined }];
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    if (found.length + open.length >= MOST_VARIANTS) {
      const whole = conjunction(document, root, inlined);
      return [
        {
          schema: withProperties(whole.schema, declaredProperties(document, [root])),
          inlined: whole.inlined,
        },
      ];
    }
    const whole = conjunction(document, next.schema, next.inlined);
    const [union, ...others] = whole.unions;
    if (union === undefined) {
      found.push(whole);
      continue;
    }
    const beside = [...others.map((anyOf) => ({ anyOf })), neighbours(whole.schema)];
    for (const branch of union) {
      if (branch === false) continue;
      open.push({ schema: { allOf: [isObject(branch) ? branch : {}, ...beside] }, inlined: whole.inlined });
    }
  }
  return found;
}

/**
 * One object schema that accepts what any of several does: a property is what any of them says about it, required is
 * what all of them require, and other properties are refused where all refuse them.
 */
function anyShape(root: Schema, shapes: readonly Schema[]): Schema {
  const names = new Set(shapes.flatMap((shape) => Object.keys(propertiesOf(shape))));
  const properties = [...names].map((name): [string, Schema] => {
    const said = shapes.flatMap((shape) => propertyOf(shape, name));
    const anyOf = alternatives(undefined, [...said.filter((one) => one !== ANYTHING), ...said]);
    const [first] = anyOf;
    return [name, anyOf.length === 1 && isObject(first) ? first : { anyOf }];
  });
  const [leading] = shapes.map((shape) => (Array.isArray(shape.required) ? shape.required : []));
  const required = (leading ?? []).filter((name) =>
    shapes.every((shape) => Array.isArray(shape.required) && shape.required.includes(name)),
  );
  const annotations = Object.entries(root).filter(
    ([key, value]) => ANNOTATIONS.has(key) && (key !== "description" || typeof value === "string"),
  );
  return {
    ...Object.fromEntries(annotations.filter(([key]) => key !== "$defs" && key !== "definitions")),
    type: "object",
    properties: Object.fromEntries(properties),
    ...(required.length > 0 ? { required } : {}),
    ...(shapes.every((shape) => isClosed(shape)) ? { additionalProperties: false } : {}),
  };
}

function propertiesOf(shape: Schema): Schema {
  return isObject(shape.properties) ? shape.properties : {};
}

/** What one shape lets a property be: what it says of it, nothing if it refuses it, else anything. */
function propertyOf(shape: Schema, name: string): readonly Schema[] {
  const properties = propertiesOf(shape);
  const own = Object.hasOwn(properties, name) ? properties[name] : undefined;
  if (isObject(own)) return [own];
  if (isClosed(shape)) return [];
  return [otherProperty(shape)];
}

function isClosed(shape: Schema): boolean {
  return shape.additionalProperties === false && shape.patternProperties === undefined;
}

/** Puts the definitions that are referred to, and those that they refer to, at the root, each repaired. */
function withDefinitions(document: SchemaDocument, shape: Schema): Schema {
  const definitions = new Map<string, Schema>();
  const open = referredTo(shape);
  for (const name of open) {
    const schema = definitionNamed(document, name);
    if (schema === undefined) continue;
    const whole = repaired(document, schema, { depth: 1, inlined: [schema] });
    const definition = isReference(whole) ? ANYTHING : whole;
    definitions.set(name, definition);
    // A Set is walked to its end, also to what is added on the way.
    for (const further of referredTo(definition)) open.add(further);
  }
  if (definitions.size === 0) return shape;
  const given = isObject(document.root.$defs) ? document.root.$defs : {};
  return { ...shape, $defs: keep(given, Object.fromEntries(definitions)) };
}

function definitionNamed(document: SchemaDocument, name: string): Schema | undefined {
  for (const [schema, known] of document.names) {
    if (known === name) return schema;
  }
  return undefined;
}
