/** The log of requests: entries in order of arrival, and whoever waits for one. */
import { PATIENCE } from "../waiting.ts";
import type { LogEntry } from "./types.ts";

/** The service completes an entry as it goes; tests see it as LogEntry. */
export type OpenEntry = { -readonly [K in keyof LogEntry]: LogEntry[K] };

interface Waiter {
  readonly look: () => void;
  readonly fail: (reason: string) => void;
}

export interface RequestLog {
  readonly entries: readonly OpenEntry[];
  arrive(entry: OpenEntry): void;
  /** Adds what is now known, and lets those who wait look again. */
  complete(entry: OpenEntry, known: Partial<LogEntry>): void;
  waitFor(predicate: (entry: LogEntry) => boolean, timeoutMs?: number): Promise<LogEntry>;
  /** Ends every waiting with an error. */
  end(): void;
}

export function createRequestLog(): RequestLog {
  const entries: OpenEntry[] = [];
  const waiters = new Set<Waiter>();
  const notify = () => {
    for (const waiter of [...waiters]) waiter.look();
  };
  return {
    entries,
    arrive(entry) {
      entries.push(entry);
      notify();
    },
    complete(entry, known) {
      Object.assign(entry, known);
      notify();
    },
    waitFor(predicate, timeoutMs = PATIENCE) {
      return new Promise((resolve, reject) => {
        const leave = () => {
          clearTimeout(timer);
          waiters.delete(waiter);
        };
        const waiter: Waiter = {
          look() {
            try {
              const found = entries.find(predicate);
              if (!found) return;
              leave();
              resolve(found);
            } catch (error) {
              leave();
              reject(error);
            }
          },
          fail(reason) {
            leave();
            const seen = entries.map((entry) => `${entry.kind} ${entry.status}`).join(", ");
            reject(new Error(`${reason}; requests so far: ${seen || "none"}`));
          },
        };
        const timer = setTimeout(() => waiter.fail(`no such request within ${timeoutMs} ms`), timeoutMs);
        waiters.add(waiter);
        waiter.look();
      });
    },
    end() {
      for (const waiter of [...waiters]) waiter.fail("the service was closed");
    },
  };
}
