/** What the footer says of the quota, and when to warn. Pure. */
import { sayTime } from "../errors/waiting-time.ts";
import { bindingWindow, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import type { QuotaWindow } from "./windows.ts";
import { sayAge, sayDuration, sayPercent } from "./words.ts";

/** From this age on it is said, ms. */
const OLD = 30 * 60_000;
const THRESHOLDS = [95, 80];
/** Resets closer together than this are the same one: the server may count it anew in each answer, ms. */
const SAME_RESET = 10 * 60_000;

const SHORT: Readonly<Partial<Record<QuotaWindow["kind"], string>>> = {
  "5h": "5h",
  "month-code": "code",
};

/** Such as "Kimi 5h 31% · week 6%"; undefined where there is nothing to say. `now` in ms. */
export function footerText({ figures, fetchedAt }: KeptFigures, now: number): string | undefined {
  const binding = bindingWindow(figures, now);
  const shown = figures.windows.filter(
    (window) => window === binding || window.kind === "5h" || window.kind === "week",
  );
  if (shown.length === 0) return undefined;
  const parts = shown.map(
    (window) => `${SHORT[window.kind] ?? window.label} ${sayPercent(usedPercentAt(window, now))}%`,
  );
  const age = now - fetchedAt >= OLD ? ` (${sayAge(now - fetchedAt)})` : "";
  return `Kimi ${parts.join(" · ")}${age}`;
}

export interface QuotaWarning {
  /** The same for the same threshold of the same window until its reset. */
  readonly ids: readonly string[];
  readonly text: string;
}

/** The warning that the binding window earns at 80 % and at 95 %. `now` in ms. */
export function quotaWarning({ figures }: KeptFigures, now: number): QuotaWarning | undefined {
  const window = bindingWindow(figures, now);
  if (!window) return undefined;
  const used = usedPercentAt(window, now);
  const passed = THRESHOLDS.filter((threshold) => used >= threshold);
  if (passed.length === 0) return undefined;
  const { kind, label, resetsAt } = window;
  const reset = resetsAt === undefined ? "?" : Math.round(resetsAt / SAME_RESET);
  const until =
    resetsAt === undefined
      ? "type /kimi usage to see all of it"
      : `it resets ${sayTime(resetsAt, new Date(now))} (in ${sayDuration(resetsAt - now)}), /kimi usage shows all of it`;
  return {
    ids: passed.map((threshold) => `${kind} ${label} ${reset} ${threshold}`),
    text: `Kimi Coder: ${sayPercent(used)} % of the quota for ${forWhat(window)} is used; ${until}.`,
  };
}

function forWhat({ kind, label }: QuotaWindow): string {
  switch (kind) {
    case "week":
    case "month":
      return `this ${label}`;
    case "month-code":
      return "this month's code";
    default:
      return label;
  }
}
