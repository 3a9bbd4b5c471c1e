/** The quota of the plan, as it was last asked for. Reads a file only. */
import { sayAge } from "../lib/waiting-time.ts";
import { type KeptFigures, sayPercent, type WindowKind, windowsAt } from "../quota/figures.ts";
import { readKeptFigures } from "../quota/kept.ts";
import type { AccountInUse } from "./logins.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

/** `path` is that of the kept figures; `now` in ms since the epoch. */
export function planChecks(path: string, { account }: AccountInUse, now: number): readonly Check[] {
  return [{ name: "Quota", check: () => checkQuota(account && readKeptFigures(path, account.id), now) }];
}

/** The kinds alone: a window's label may be the server's. */
const WINDOW: Readonly<Record<WindowKind, string>> = {
  "5h": "5-hour window",
  week: "week",
  month: "month",
  "month-code": "month for code",
  other: "further window",
};

/** `now` in ms since the epoch. */
export function checkQuota(kept: KeptFigures | undefined, now: number): Finding {
  if (!kept) return none("not asked yet; /kimi usage asks");
  const age = `asked ${sayAge(now - kept.fetchedAt)}`;
  const binding = windowsAt(kept, now).find(({ isBinding }) => isBinding);
  if (!binding) return ok(`nothing is used, ${age}`);
  const { kind, usedPercent } = binding;
  const says = `${sayPercent(usedPercent)} % of the ${WINDOW[kind]} used, ${age}`;
  return usedPercent < 100 ? ok(says) : bad(says, "wait until it resets; /kimi usage says when");
}
