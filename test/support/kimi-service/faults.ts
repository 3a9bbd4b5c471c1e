/** Faults that a test ordered: which request is hit next, and by what. */
import type { FaultAction, FaultPath, FaultRule, LogEntry, RequestKind } from "./types.ts";

export function createFaults() {
  const rules = new Set<{ readonly rule: FaultRule; left: number }>();
  return {
    add(rule: FaultRule): () => void {
      const pending = { rule, left: rule.times ?? 1 };
      rules.add(pending);
      return () => {
        rules.delete(pending);
      };
    },
    /** The fault for this request, used up by asking. */
    take(entry: LogEntry): FaultAction | undefined {
      for (const pending of rules) {
        const { rule } = pending;
        if (!isAimedAt(rule.path, entry.kind) || (rule.when && !rule.when(entry))) continue;
        pending.left -= 1;
        if (pending.left <= 0) rules.delete(pending);
        return rule.do;
      }
      return undefined;
    },
  };
}

function isAimedAt(path: FaultPath, kind: RequestKind): boolean {
  return path === kind || (path === "token" && (kind === "refresh" || kind === "device_poll"));
}
