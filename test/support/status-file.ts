/** A status file read as an orchestrator reads it: again and again, by its path alone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import { accepts } from "../chat/payload/json-schema.ts";
import { root } from "./hosts.ts";
import { eventually, PATIENCE } from "./waiting.ts";

/** The schema of the status file, as it is shipped. */
export const statusSchema: unknown = JSON.parse(
  readFileSync(join(root, "extensions", "worker", "status.schema.json"), "utf8"),
);
const strictSchema = withoutOthers(statusSchema);

/** Whether a record keeps to the schema, and has no member that it does not name. */
export function keepsToSchema(record: unknown): boolean {
  return accepts(strictSchema, record) === true;
}

/** Allows the members that the schema names, and no others. */
function withoutOthers(schema: unknown): unknown {
  if (!isJsonObject(schema)) return schema;
  const { properties, items } = schema;
  if (items !== undefined) return { ...schema, items: withoutOthers(items) };
  if (!isJsonObject(properties)) return schema;
  const members = Object.entries(properties).map(([name, member]) => [name, withoutOthers(member)]);
  return { ...schema, properties: Object.fromEntries(members), additionalProperties: false };
}

interface StatusReader {
  /** The states seen so far, without repetitions; `@` follows the last one of a process that has ended. */
  states(): string[];
  /** What was seen that does not keep to the schema. */
  complaints(): readonly JsonObject[];
  /** What stands there now. Throws where nothing does. */
  read(): JsonObject;
  /** Waits until it is so; gives the record. Throws with the last one after `timeoutMs` (default: PATIENCE). */
  waitFor(wanted: Readonly<Record<string, unknown>>, timeoutMs?: number): Promise<JsonObject>;
}

/** Reads it every 3 ms until the test is over. */
export function readStatusFile(path: string): StatusReader {
  const seen: JsonObject[] = [];
  const look = () => {
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch {
      return;
    }
    const record: unknown = JSON.parse(text);
    if (!isJsonObject(record)) throw new Error(`no object: ${text}`);
    if (JSON.stringify(record) === JSON.stringify(seen.at(-1))) return;
    seen.push(record);
  };
  const timer = setInterval(look, 3);
  onTestFinished(() => clearInterval(timer));
  return {
    states() {
      look();
      const states = seen.map(({ state, exit }) => `${state}${exit === null ? "" : "@"}`);
      return states.filter((state, index) => state !== states[index - 1]);
    },
    complaints() {
      look();
      return seen.filter((record) => !keepsToSchema(record));
    },
    read() {
      look();
      const record = seen.at(-1);
      if (!record) throw new Error(`nothing in ${path}`);
      return record;
    },
    waitFor: (wanted, timeoutMs = PATIENCE) =>
      eventually(
        () => {
          look();
          const record = seen.at(-1);
          const fits = record && Object.entries(wanted).every(([name, value]) => record[name] === value);
          return fits ? record : undefined;
        },
        () => JSON.stringify(seen.at(-1)),
        timeoutMs,
        5,
      ),
  };
}
