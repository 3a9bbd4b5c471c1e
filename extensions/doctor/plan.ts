/** What is known of the account beside its login: the list of models, and the quota. */
import type { KeptList } from "../models/cache.ts";
import { bindingWindow, usedPercentAt } from "../usage/figures.ts";
import type { KeptFigures } from "../usage/kept.ts";
import type { WindowKind } from "../usage/windows.ts";
import { bad, type Check, none, ok, sayTime } from "./check.ts";

/** A list is asked for anew after a day; one much older means that this does not work. ms */
const OLD = 14 * 86_400_000;

/** `now` in ms since the epoch. */
export function checkModels(kept: KeptList | undefined, now: number): Check {
  const name = "List of models";
  if (!kept) return none(name, "none kept yet; a session with a login asks for it");
  const { models, fetchedAt } = kept;
  const age = now - fetchedAt;
  const count = models.length === 1 ? "1 model" : `${models.length} models`;
  if (age < 0) return ok(name, `${count}, from a time yet to come; the next session asks anew`);
  return age > OLD
    ? bad(
        name,
        `${count}, ${sayTime(age)} old`,
        "start a session with a login, and see whether the API answers",
      )
    : ok(name, `${count}, ${sayTime(age)} old`);
}

/** The kinds alone: a window's label may be the server's. */
const WINDOW: Readonly<Record<WindowKind, string>> = {
  "5h": "5-hour window",
  week: "week",
  month: "month",
  "month-code": "month for code",
  other: "further window",
};

export function checkQuota(kept: KeptFigures | undefined, now: number): Check {
  const name = "Quota";
  if (!kept) return none(name, "not asked yet; /kimi usage asks");
  const { figures, fetchedAt } = kept;
  const age = `as of ${sayTime(now - fetchedAt)} ago`;
  const binding = bindingWindow(figures, now);
  if (!binding) return none(name, `the service named no window, ${age}`);
  const percent = Math.floor(usedPercentAt(binding, now));
  const { resetsAt } = binding;
  const reset = resetsAt !== undefined && resetsAt > now ? `in ${sayTime(resetsAt - now)}` : undefined;
  const says = `${percent} % of the ${WINDOW[binding.kind]} used, ${age}`;
  if (percent < 100) return ok(name, says);
  const fix = reset === undefined ? "type /kimi usage" : `wait until it resets ${reset}, or see /kimi usage`;
  return bad(name, says, fix);
}
