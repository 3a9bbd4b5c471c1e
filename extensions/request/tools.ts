/** The tools as Kimi accepts them: name, description and parameters, and nothing else. */
import { hasOnlyKeys, isBlank, isObject, type JsonObject } from "./json.ts";
import type { ToolNames } from "./tool-names.ts";
import { toolSchema } from "./tool-schema.ts";

const TOOL_KEYS: ReadonlySet<string> = new Set(["type", "function"]);
const FUNCTION_KEYS: ReadonlySet<string> = new Set(["name", "description", "parameters"]);

/** The names by which tools are declared; a nameless one cannot be called. */
export function declaredNames(given: readonly unknown[]): readonly string[] {
  return given.flatMap((tool) => {
    const name = isObject(tool) && isObject(tool.function) ? tool.function.name : undefined;
    return typeof name === "string" && !isBlank(name) ? [name] : [];
  });
}

/** Repairs each tool; one that needs nothing stays the same object. Of two with one name the first is kept. */
export function canonicalTools(given: readonly unknown[], names: ToolNames): readonly JsonObject[] {
  const seen = new Set<string>();
  return given.flatMap((tool) => {
    if (!isObject(tool) || !isObject(tool.function)) return [];
    const { name, description, parameters } = tool.function;
    if (typeof name !== "string" || isBlank(name) || seen.has(name)) return [];
    seen.add(name);
    const schema = toolSchema(parameters);
    const said = typeof description === "string" && !isBlank(description) ? description : undefined;
    const same =
      tool.type === "function" &&
      schema === parameters &&
      said === description &&
      names.toKimi(name) === name &&
      hasOnlyKeys(tool, TOOL_KEYS) &&
      hasOnlyKeys(tool.function, FUNCTION_KEYS);
    if (same) return [tool];
    const named =
      said === undefined ? { name: names.toKimi(name) } : { name: names.toKimi(name), description: said };
    return [{ type: "function", function: { ...named, parameters: schema } }];
  });
}

const sizes = new WeakMap<object, number>();

/** The length of the tools as JSON, in UTF-16 units; each schema is measured once. */
export function toolsLength(tools: readonly JsonObject[]): number {
  return tools.reduce((sum, tool) => {
    if (!isObject(tool.function)) return sum;
    const { name, description, parameters } = tool.function;
    return sum + lengthOf(name) + lengthOf(description) + schemaLength(parameters);
  }, 0);
}

function lengthOf(text: unknown): number {
  return typeof text === "string" ? text.length : 0;
}

function schemaLength(parameters: unknown): number {
  if (!isObject(parameters)) return 0;
  const known = sizes.get(parameters);
  if (known !== undefined) return known;
  const length = JSON.stringify(parameters).length;
  sizes.set(parameters, length);
  return length;
}
