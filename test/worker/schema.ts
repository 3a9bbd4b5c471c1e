/** Whether a value keeps to the schema of the status file: the few keywords that it uses, and no member unknown to it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import { root } from "../support/hosts.ts";

const KEYWORDS = new Set(
  "$schema title description type required properties items const enum minimum maximum".split(" "),
);

export function readSchema(): unknown {
  return JSON.parse(readFileSync(join(root, "extensions", "worker", "status.schema.json"), "utf8"));
}

const shipped = readSchema();

/** What is wrong with it, each with its path; empty where nothing is. Throws on a keyword that it does not know. */
export function complaints(value: unknown, schema: unknown = shipped, path = "$"): string[] {
  if (!isJsonObject(schema)) throw new Error(`no schema at ${path}`);
  const unknown = Object.keys(schema).filter((keyword) => !KEYWORDS.has(keyword));
  if (unknown.length > 0) throw new Error(`keywords ${unknown.join(", ")} at ${path}`);
  const wrong: string[] = [];
  const types = [schema.type ?? []].flat();
  if (types.length > 0 && !types.some((type) => isOfType(value, type))) wrong.push(`${path} is no ${types}`);
  if ("const" in schema && value !== schema.const) wrong.push(`${path} is not ${String(schema.const)}`);
  if (Array.isArray(schema.enum) && !schema.enum.includes(value))
    wrong.push(`${path} is none of ${schema.enum}`);
  if (typeof value === "number") {
    if (typeof schema.minimum === "number" && value < schema.minimum) wrong.push(`${path} is too small`);
    if (typeof schema.maximum === "number" && value > schema.maximum) wrong.push(`${path} is too large`);
  }
  if (isJsonObject(value)) wrong.push(...membersOf(value, schema, path));
  if (Array.isArray(value) && schema.items)
    wrong.push(...value.flatMap((item, index) => complaints(item, schema.items, `${path}[${index}]`)));
  return wrong;
}

function membersOf(value: JsonObject, schema: JsonObject, path: string): string[] {
  const properties = isJsonObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required : [];
  return [
    ...required.filter((name) => !(String(name) in value)).map((name) => `${path}.${name} is missing`),
    ...Object.entries(value).flatMap(([name, member]) =>
      name in properties
        ? complaints(member, properties[name], `${path}.${name}`)
        : [`${path}.${name} is unknown`],
    ),
  ];
}

function isOfType(value: unknown, type: unknown): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isJsonObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}
