/**
 * The quota as one JSON object, for scripts: its members never change their meaning, and none is ever left out; what
 * each says is in docs/json.md, and report.schema.json says it too.
 */
import { type KeptFigures, type Wallet, windowsAt } from "./figures.ts";
import type { SessionUse } from "./session-use.ts";

/** Times are ISO 8601 in UTC, `null` = not known. `problem` is a whole sentence; without one, `kept` is fresh. `now` in ms. */
export function report(
  kept: KeptFigures | undefined,
  session: SessionUse,
  problem: string | undefined,
  now: number,
) {
  const known = problem === undefined ? "fresh" : "kept";
  const { plan, parallelLimit, wallet } = kept?.figures ?? {};
  return {
    version: 1,
    state: kept ? known : "none",
    problem: problem ?? null,
    fetchedAt: time(kept?.fetchedAt),
    plan: plan ?? null,
    windows: kept ? windows(kept, now) : [],
    parallelLimit: parallelLimit ?? null,
    wallet: wallet ? walletJson(wallet) : null,
    session: { ...session, since: time(session.since) },
  };
}

function windows(kept: KeptFigures, now: number) {
  return windowsAt(kept, now).map(({ kind, label, usedPercent, resetsAt, length, isBinding, emptyAt }) => ({
    kind,
    label,
    // To two decimals; never 100 before it is.
    usedPercent: usedPercent < 100 ? Math.min(99.99, Math.round(usedPercent * 100) / 100) : 100,
    resetsAt: time(resetsAt),
    lengthSeconds: length === undefined ? null : Math.round(length / 1000),
    binding: isBinding,
    emptyAt: time(emptyAt),
  }));
}

function walletJson({ leftCents, totalCents, monthlyUsedCents, monthlyLimitCents, currency }: Wallet) {
  return {
    leftCents,
    totalCents: totalCents ?? null,
    monthlyUsedCents: monthlyUsedCents ?? null,
    monthlyLimitCents: monthlyLimitCents ?? null,
    currency: currency ?? null,
  };
}

/** `at` in ms since the epoch. */
function time(at: number | null | undefined): string | null {
  return at === undefined || at === null ? null : new Date(at).toISOString();
}
