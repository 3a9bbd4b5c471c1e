/** The log of requests: entries in order of arrival, and whoever waits for one. */
import { EventEmitter, once } from "node:events";
import { PATIENCE } from "../waiting.ts";
import type { LogEntry } from "./types.ts";

/** The service completes an entry as it goes; tests see it as LogEntry. */
export type OpenEntry = { -readonly [K in keyof LogEntry]: LogEntry[K] };

export function createRequestLog() {
  const entries: OpenEntry[] = [];
  const changes = new EventEmitter().setMaxListeners(0);
  const ended = new AbortController();
  return {
    entries,
    arrive(entry: OpenEntry) {
      entries.push(entry);
      changes.emit("change");
    },
    /** Adds what is now known, and lets those who wait look again. */
    complete(entry: OpenEntry, known: Partial<LogEntry>) {
      Object.assign(entry, known);
      changes.emit("change");
    },
    async waitFor(predicate: (entry: LogEntry) => boolean, timeoutMs = PATIENCE): Promise<LogEntry> {
      const deadline = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([ended.signal, deadline]);
      for (;;) {
        const found = entries.find(predicate);
        if (found) return found;
        await once(changes, "change", { signal }).catch(() => {
          const why = deadline.aborted ? `nothing in ${timeoutMs} ms` : "the service was closed";
          const seen = entries.map((entry) => `${entry.kind} ${entry.status}`).join(", ");
          throw new Error(`no such request: ${why}; requests so far: ${seen || "none"}`);
        });
      }
    },
    /** Ends every waiting with an error. */
    end: () => ended.abort(),
  };
}
