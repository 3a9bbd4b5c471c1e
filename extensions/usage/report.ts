/** The quota as one JSON object, for scripts: its members never change their meaning, and none is ever left out. */
import { bindingWindow, type Figures, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { emptyAt } from "./pace.ts";
import type { QuotaWindow } from "./windows.ts";

/** Times are ISO 8601 in UTC, money is in cents; `null` = not known. report.schema.json says it too. */
export interface Report {
  /** Of this format. */
  readonly version: 1;
  /** `fresh`: asked just now. `kept`: what was known before, see `problem`. `none`: nothing is known. */
  readonly state: "fresh" | "kept" | "none";
  /** One sentence why there is nothing newer. */
  readonly problem: string | null;
  readonly fetchedAt: string | null;
  readonly plan: string | null;
  readonly windows: readonly {
    readonly kind: QuotaWindow["kind"];
    readonly label: string;
    /** 0 to 100, which is said of what is full alone. */
    readonly usedPercent: number;
    readonly resetsAt: string | null;
    readonly lengthSeconds: number | null;
    /** The one that stops the user first, see `byUrgency`: true for at most one. */
    readonly binding: boolean;
    /** When it will be empty at this rate, if that is before its reset. */
    readonly emptyAt: string | null;
  }[];
  readonly parallelLimit: number | null;
  readonly wallet: {
    readonly leftCents: number;
    readonly totalCents: number | null;
    readonly monthlyUsedCents: number | null;
    readonly monthlyLimitCents: number | null;
    readonly currency: string | null;
  } | null;
}

/** `problem` is a whole sentence; without one, `kept` is fresh. `now` in ms. */
export function report(kept: KeptFigures | undefined, problem: string | undefined, now: number): Report {
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
  };
}

function windows({ figures, fetchedAt }: KeptFigures, now: number): Report["windows"] {
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

function wallet(figures: Figures | undefined): Report["wallet"] {
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
