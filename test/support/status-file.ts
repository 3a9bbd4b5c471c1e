/** A status file read as an orchestrator reads it: again and again, by its path alone. */
import { readFileSync } from "node:fs";
import { onTestFinished } from "vitest";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import { complaints } from "../worker/schema.ts";
import { eventually } from "./waiting.ts";

export interface StatusReader {
  /** The states seen so far, without repetitions; `@` follows the last one of a process that has ended. */
  states(): string[];
  /** Everything written that was seen keeps to the schema: what does not. */
  complaints(): string[];
  /** What stands there now. Throws where nothing does. */
  read(): JsonObject;
  /** Waits until it is so; gives the record. Throws with the last one after `timeoutMs` (default 20 s). */
  waitFor(wanted: Readonly<Record<string, unknown>>, timeoutMs?: number): Promise<JsonObject>;
}

/** Reads it every 3 ms until the test is over. */
export function readStatusFile(path: string): StatusReader {
  const seen: JsonObject[] = [];
  const wrong: string[] = [];
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
    wrong.push(...complaints(record));
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
      return wrong;
    },
    read() {
      look();
      const record = seen.at(-1);
      if (!record) throw new Error(`nothing in ${path}`);
      return record;
    },
    waitFor: (wanted, timeoutMs = 20_000) =>
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
