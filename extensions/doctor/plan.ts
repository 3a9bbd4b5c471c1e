/** What is known of the account beside its login: the list of models, and the quota. */
import type { KeptList } from "../models/cache.ts";
import { bindingWindow, usedPercentAt } from "../usage/figures.ts";
import type { KeptFigures } from "../usage/kept.ts";
import type { WindowKind } from "../usage/windows.ts";
import { sayAge, sayDuration } from "../usage/words.ts";
import { bad, type Check, none, ok } from "./check.ts";

/** A list is asked for anew after a day; one much older means that this does not work. ms */
const OLD = 14 * 86_400_000;

/** `asked`: whether it is asked for at all, which it is with a login alone. `now` in ms since the epoch. */
export function checkModels(kept: KeptList | undefined, now: number, asked: boolean): Check {
  const name = "List of models";
  if (!kept) return none(name, "none kept yet; a session with a login asks for it");
  const { models, fetchedAt } = kept;
  const age = now - fetchedAt;
  const count = models.length === 1 ? "1 model" : `${models.length} models`;
  const says = `${count}, asked for ${sayAge(age)}`;
  if (!asked) return none(name, `${says}; only a login asks for it`);
  if (age < 0) return ok(name, `${count}, from a time yet to come; the next session asks anew`);
  return age > OLD
    ? bad(name, says, "start a session with a login, and see whether the API answers")
    : ok(name, says);
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
  const age = `asked ${sayAge(now - fetchedAt)}`;
  if (figures.windows.length === 0) return none(name, `the service named no window, ${age}`);
  const binding = bindingWindow(figures, now, fetchedAt);
  const used = binding === undefined ? 0 : usedPercentAt(binding, now, fetchedAt);
  if (!binding || used === 0) return ok(name, `nothing is used, ${age}`);
  const percent = Math.floor(used);
  const { resetsAt } = binding;
  const reset = resetsAt !== undefined && resetsAt > now ? `in ${sayDuration(resetsAt - now)}` : undefined;
  const says = `${percent} % of the ${WINDOW[binding.kind]} used, ${age}`;
  if (percent < 100) return ok(name, says);
  const fix = reset === undefined ? "type /kimi usage" : `wait until it resets ${reset}, or see /kimi usage`;
  return bad(name, says, fix);
}
