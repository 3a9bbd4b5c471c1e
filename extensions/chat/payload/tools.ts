/**
 * The tools of a request as Kimi accepts them: name, description and parameters, and nothing else, under names that it
 * takes ("must start with a letter and can contain letters, numbers, underscores, and dashes"; 64 characters is what the
 * clients of this protocol keep to). MCP bridges use dots, slashes, colons and whole sentences.
 */
import { createHash } from "node:crypto";
import { isBlank, isJsonObject, type JsonObject } from "../../lib/json.ts";
import { inTurn, lazy, mustLoad } from "../../lib/lazy.ts";
import { isFine, NO_PARAMETERS, type Schema } from "./schema.ts";

export interface ToolNames {
  /** The name to send for one of pi's tools. */
  toKimi(name: string): string;
  /** The pi tool that Kimi means; a name that was never mapped is itself. */
  toPi(name: string): string;
}

const LONGEST = 64;
const ACCEPTED = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/**
 * Maps the names that Kimi refuses. A mapped name depends on the original alone, unless another tool has that name
 * already: so the cached prefix survives when tools come and go, and no two tools share a name.
 */
export function toolNames(names: Iterable<string>): ToolNames {
  const refused: string[] = [];
  const taken = new Set<string>();
  for (const name of names) {
    if (ACCEPTED.test(name)) taken.add(name);
    else refused.push(name);
  }
  const toKimi = new Map<string, string>();
  const toPi = new Map<string, string>();
  for (const name of refused.sort()) {
    if (toKimi.has(name)) continue;
    const accepted = acceptedName(name, taken);
    taken.add(accepted);
    toKimi.set(name, accepted);
    toPi.set(accepted, name);
  }
  return { toKimi: (name) => toKimi.get(name) ?? name, toPi: (name) => toPi.get(name) ?? name };
}

function acceptedName(name: string, taken: ReadonlySet<string>): string {
  const readable = name.slice(0, LONGEST).replace(/[^A-Za-z0-9_-]+/g, "_");
  const base = /^[A-Za-z]/.test(readable) ? readable : `tool_${readable.replace(/^_+/, "")}`;
  // Eight digits do, unless another tool has exactly that name.
  for (let digest = sha256(name); ; digest = sha256(digest)) {
    const candidate = `${base.slice(0, LONGEST - 9)}_${digest.slice(0, 8)}`;
    if (!taken.has(candidate)) return candidate;
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The name of what is declared or called; a nameless one cannot be called. */
export function nameOf({ function: spoken }: JsonObject): readonly string[] {
  const name = isJsonObject(spoken) ? spoken.name : undefined;
  return typeof name === "string" && !isBlank(name) ? [name] : [];
}

/**
 * Repairs the tools of each list, in order. Of two with one name the first is kept. Rejects where a schema needs the
 * repair and that cannot be loaded.
 */
export async function canonicalTools(
  lists: ReadonlyMap<JsonObject, readonly JsonObject[]>,
  names: ToolNames,
): Promise<ReadonlyMap<JsonObject, readonly JsonObject[]>> {
  const seen = new Set<string>();
  const canonical = new Map<JsonObject, readonly JsonObject[]>();
  for (const [key, given] of lists) {
    const tools: JsonObject[] = [];
    for (const tool of given) {
      const [name] = nameOf(tool);
      if (name === undefined || seen.has(name)) continue;
      seen.add(name);
      const { description, parameters } = isJsonObject(tool.function) ? tool.function : {};
      const said = typeof description === "string" && !isBlank(description) ? { description } : {};
      const sent = { name: names.toKimi(name), ...said, parameters: await toolSchema(parameters) };
      tools.push({ type: "function", function: sent });
    }
    canonical.set(key, tools);
  }
  return canonical;
}

/** A schema object of pi's → what is sent for it, worked out at its first request. */
const remembered = new WeakMap<object, Schema>();
const repair = lazy(() => inTurn(() => import("./schema-repair.ts")));

async function toolSchema(parameters: unknown): Promise<Schema> {
  if (!isJsonObject(parameters)) return NO_PARAMETERS;
  const known = remembered.get(parameters);
  if (known !== undefined) return known;
  const schema = isFine(parameters) ? parameters : (await mustLoad(repair.load())).repaired(parameters);
  remembered.set(parameters, schema);
  return schema;
}
