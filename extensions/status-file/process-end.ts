/** The end of this process, heard while something can still be written synchronously. */
import { constants } from "node:os";

/** The signals that pi ends by in every mode. */
const SIGNALS = ["SIGTERM", "SIGHUP"] as const;

/**
 * Calls `ended` with the exit code, for a signal 128 and its number; returns what ends that. What becomes of the process
 * is what would have become of it without this: signal-exit, which both hosts have loaded, kills it at once where it
 * finds no listener but its own, and pi 0.87 removes its own as the first thing that it does.
 */
export function onProcessEnd(ended: (code: number) => void): () => void {
  const hooks = SIGNALS.map((signal) => ({
    signal,
    // Taken off the list before it is called, so nobody else counts it.
    listener: () => {
      ended(128 + constants.signals[signal]);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    },
  }));
  process.on("exit", ended);
  for (const { signal, listener } of hooks) process.prependOnceListener(signal, listener);
  return () => {
    process.off("exit", ended);
    for (const { signal, listener } of hooks) process.off(signal, listener);
  };
}
