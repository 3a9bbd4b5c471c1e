/** What the footer says of the quota. Pure. */
import { bindingWindow, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import type { QuotaWindow } from "./windows.ts";
import { sayAge, sayPercent } from "./words.ts";

/** From this age on it is said, ms. */
const OLD = 30 * 60_000;

const SHORT: Readonly<Partial<Record<QuotaWindow["kind"], string>>> = {
  "5h": "5h",
  "month-code": "code",
};

/** Such as "Kimi 5h 31% · week 6%"; undefined where there is nothing to say. `now` in ms. */
export function footerText({ figures, fetchedAt }: KeptFigures, now: number): string | undefined {
  const binding = bindingWindow(figures, now, fetchedAt);
  const shown = figures.windows.filter(
    (window) => window === binding || window.kind === "5h" || window.kind === "week",
  );
  if (shown.length === 0) return undefined;
  const parts = shown.map(
    (window) => `${SHORT[window.kind] ?? window.label} ${sayPercent(usedPercentAt(window, now, fetchedAt))}%`,
  );
  const age = now - fetchedAt >= OLD ? ` (${sayAge(now - fetchedAt)})` : "";
  return `Kimi ${parts.join(" · ")}${age}`;
}
