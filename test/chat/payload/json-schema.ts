/** A validator for the part of JSON Schema 2020-12 (and draft 7 tuples) that the property tests generate. */
import { isDeepStrictEqual } from "node:util";

type Schema = Record<string, unknown>;

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A schema that refers to itself without going into the instance means nothing; trying it would never end. */
class Endless extends Error {}

const MOST_STEPS = 5_000;
const DEEPEST = 200;

/** Whether the schema accepts the instance; undefined where that cannot be said. */
export function accepts(root: unknown, instance: unknown): boolean | undefined {
  try {
    return judge(root, instance, root, 0, { steps: 0 });
  } catch (error) {
    if (error instanceof Endless) return undefined;
    throw error;
  }
}

function judge(
  root: unknown,
  instance: unknown,
  schema: unknown,
  depth: number,
  spent: { steps: number },
): boolean {
  if (typeof schema === "boolean") return schema;
  if (!isSchema(schema)) throw new Error(`not a schema: ${JSON.stringify(schema)}`);
  spent.steps += 1;
  if (spent.steps > MOST_STEPS || depth > DEEPEST) throw new Endless();
  const holds = (inner: unknown, value: unknown) => judge(root, value, inner, depth + 1, spent);
  return Object.entries(schema).every(([key, limit]) => judged(key, limit));

  function judged(key: string, limit: unknown): boolean {
    if (!isSchema(schema)) return false;
    switch (key) {
      case "type":
        return (Array.isArray(limit) ? limit : [limit]).some((type) => isOfType(instance, type));
      case "enum":
        return !Array.isArray(limit) || limit.some((value) => isDeepStrictEqual(value, instance));
      case "const":
        return isDeepStrictEqual(limit, instance);
      case "$ref":
        return typeof limit !== "string" || holds(pointed(root, limit), instance);
      case "allOf":
        return !Array.isArray(limit) || limit.every((inner) => holds(inner, instance));
      case "anyOf":
        return !Array.isArray(limit) || limit.some((inner) => holds(inner, instance));
      case "oneOf":
        return !Array.isArray(limit) || limit.filter((inner) => holds(inner, instance)).length === 1;
      case "not":
        return !holds(limit, instance);
      case "if": {
        const next = holds(limit, instance) ? schema.then : schema.else;
        return next === undefined || holds(next, instance);
      }
      case "minLength":
        return typeof instance !== "string" || instance.length >= Number(limit);
      case "maxLength":
        return typeof instance !== "string" || instance.length <= Number(limit);
      case "minimum":
        return typeof instance !== "number" || instance >= Number(limit);
      case "maximum":
        return typeof instance !== "number" || instance <= Number(limit);
      case "required":
        return (
          !isSchema(instance) || !Array.isArray(limit) || limit.every((name) => Object.hasOwn(instance, name))
        );
      case "properties":
        return Object.entries(isSchema(limit) ? limit : {}).every(
          ([name, inner]) =>
            !isSchema(instance) || !Object.hasOwn(instance, name) || holds(inner, instance[name]),
        );
      case "patternProperties":
        return Object.entries(isSchema(limit) ? limit : {}).every(
          ([pattern, inner]) =>
            !isSchema(instance) ||
            Object.entries(instance).every(
              ([name, value]) => !new RegExp(pattern).test(name) || holds(inner, value),
            ),
        );
      case "additionalProperties":
        return (
          !isSchema(instance) ||
          Object.entries(instance).every(([name, value]) => isDeclared(schema, name) || holds(limit, value))
        );
      case "propertyNames":
        return !isSchema(instance) || Object.keys(instance).every((name) => holds(limit, name));
      case "items": {
        if (!Array.isArray(instance)) return true;
        if (Array.isArray(limit)) return tuple(limit, schema.additionalItems);
        return instance
          .slice(Array.isArray(schema.prefixItems) ? schema.prefixItems.length : 0)
          .every((value) => holds(limit, value));
      }
      case "prefixItems":
        return tuple(Array.isArray(limit) ? limit : [], undefined);
      case "contains":
        return !Array.isArray(instance) || isSoMany(instance.filter((value) => holds(limit, value)).length);
      case "minItems":
        return !Array.isArray(instance) || instance.length >= Number(limit);
      case "maxItems":
        return !Array.isArray(instance) || instance.length <= Number(limit);
      default:
        return true;
    }
  }

  function isSoMany(found: number): boolean {
    return found >= 1 && (!isSchema(schema) || found <= Number(schema.maxContains ?? found));
  }

  function tuple(limits: readonly unknown[], rest: unknown): boolean {
    return (
      !Array.isArray(instance) ||
      instance.every((value, index) => {
        const limit = index < limits.length ? limits[index] : rest;
        return limit === undefined || holds(limit, value);
      })
    );
  }
}

function isDeclared(schema: Schema, name: string): boolean {
  if (isSchema(schema.properties) && Object.hasOwn(schema.properties, name)) return true;
  const patterns = isSchema(schema.patternProperties) ? Object.keys(schema.patternProperties) : [];
  return patterns.some((pattern) => new RegExp(pattern).test(name));
}

function pointed(root: unknown, reference: string): unknown {
  let at: unknown = root;
  for (const step of reference.split("/").slice(1)) {
    const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
    at = Array.isArray(at) ? at[Number(key)] : isSchema(at) && Object.hasOwn(at, key) ? at[key] : true;
  }
  return at;
}

function isOfType(value: unknown, type: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isSchema(value);
  return type === "integer" ? Number.isInteger(value) : typeof value === type;
}
