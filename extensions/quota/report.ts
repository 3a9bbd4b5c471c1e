/**
 * The quota as one JSON object, for scripts: its members never change their meaning, and none is ever left out; what
 * each says is in docs/json.md, and report.schema.json says it too.
 */
import { bindingWindow, emptyAt, type Figures, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { hitPercent, type SessionUse } from "./session-use.ts";

/** Times are ISO 8601 in UTC, `null` = not known. `problem` is a whole sentence; without one, `kept` is fresh. `now` in ms. */
export function report(
  kept: KeptFigures | undefined,
  session: SessionUse,
  problem: string | undefined,
  now: number,
) {
  const figures = kept?.figures;
  const known = problem === undefined ? "fresh" : "kept";
  return {
    version: 1,
    state: kept ? known : "none",
    problem: problem ?? null,
    fetchedAt: time(kept?.fetchedAt),
    plan: figures?.plan ?? null,
    windows: kept ? windows(kept, now) : [],
    parallelLimit: figures?.parallelLimit ?? null,
    wallet: wallet(figures),
    session: {
      requests: session.answers,
      promptTokens: session.prompt,
      cachedTokens: session.cached,
      cachedPercent: hitPercent(session) ?? null,
      misses: session.misses,
      since: time(session.since),
      windows: session.moved.map(({ kind, label, percent }) => ({
        kind,
        label,
        movedPercent: rounded(percent),
      })),
    },
  };
}

function windows({ figures, fetchedAt }: KeptFigures, now: number) {
  const binding = bindingWindow(figures, now, fetchedAt);
  return figures.windows.map((window) => ({
    kind: window.kind,
    label: window.label,
    usedPercent: rounded(usedPercentAt(window, now, fetchedAt)),
    resetsAt: time(window.resetsAt),
    lengthSeconds: window.length === undefined ? null : Math.round(window.length / 1000),
    binding: window === binding,
    emptyAt: time(emptyAt(window, fetchedAt, now)),
  }));
}

/** To two decimals; never 100 before it is. */
function rounded(percent: number): number {
  return percent < 100 ? Math.min(99.99, Math.round(percent * 100) / 100) : 100;
}

function wallet(figures: Figures | undefined) {
  if (!figures?.wallet) return null;
  const { leftCents, totalCents, monthlyUsedCents, monthlyLimitCents, currency } = figures.wallet;
  return {
    leftCents,
    totalCents: totalCents ?? null,
    monthlyUsedCents: monthlyUsedCents ?? null,
    monthlyLimitCents: monthlyLimitCents ?? null,
    currency: currency ?? null,
  };
}

/** `at` in ms since the epoch. */
function time(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}
