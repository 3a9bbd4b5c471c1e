/** What is known of the account beside its login: the list of models, and the quota. Reads files only. */

import { sayAge, sayDuration } from "../lib/waiting-time.ts";
import { type KeptList, readKeptList } from "../models/list.ts";
import { type KeptFigures, type WindowKind, windowsAt } from "../quota/figures.ts";
import { readKeptFigures } from "../quota/kept.ts";
import type { AccountInUse } from "./logins.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

/** `models` and `usage` are the paths of the kept files; `now` in ms since the epoch. */
export function planChecks(
  files: { readonly models: string; readonly usage: string },
  { baseUrl, account }: AccountInUse,
  now: number,
): readonly Check[] {
  return [
    {
      name: "List of models",
      check: () => checkModels(readKeptList(files.models, baseUrl, account), now),
    },
    {
      name: "Quota",
      check: () => checkQuota(account && readKeptFigures(files.usage, account.id), now),
    },
  ];
}

/** Age in ms from which the list of models is a fault: it is fetched again after a day. */
const OLD = 14 * 86_400_000;

/** `now` in ms since the epoch. */
export function checkModels(kept: KeptList | undefined, now: number): Finding {
  if (!kept) return none("none kept yet; the next request asks for it");
  const { models, fetchedAt } = kept;
  const age = now - fetchedAt;
  const count = models.length === 1 ? "1 model" : `${models.length} models`;
  const says = `${count}, asked for ${sayAge(age)}`;
  if (age < 0) return ok(`${count}, from a time yet to come; the next session asks anew`);
  return age > OLD ? bad(says, "start a session, and see whether the API answers") : ok(says);
}

/** The kinds alone: a window's label may be the server's. */
const WINDOW: Readonly<Record<WindowKind, string>> = {
  "5h": "5-hour window",
  week: "week",
  month: "month",
  "month-code": "month for code",
  other: "further window",
};

export function checkQuota(kept: KeptFigures | undefined, now: number): Finding {
  if (!kept) return none("not asked yet; /kimi usage asks");
  const windows = windowsAt(kept, now);
  const age = `asked ${sayAge(now - kept.fetchedAt)}`;
  if (windows.length === 0) return none(`the service named no window, ${age}`);
  const binding = windows.find(({ isBinding }) => isBinding);
  if (!binding) return ok(`nothing is used, ${age}`);
  const percent = Math.floor(binding.usedPercent);
  const says = `${percent} % of the ${WINDOW[binding.kind]} used, ${age}`;
  if (percent < 100) return ok(says);
  const { resetsAt } = binding;
  return bad(
    says,
    resetsAt !== undefined && resetsAt > now
      ? `wait until it resets in ${sayDuration(resetsAt - now)}, or see /kimi usage`
      : "type /kimi usage",
  );
}
