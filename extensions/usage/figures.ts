/**
 * How much of the plan is used: what `GET /usages` and `GET /me` say, in either of the two shapes that are in use. Any
 * JSON may come in; what cannot be understood is left out.
 */
import { isJsonObject } from "../oauth/http.ts";
import { member, positive, text } from "./values.ts";
import { readWallet, type Wallet } from "./wallet.ts";
import { type QuotaWindow, readWindows } from "./windows.ts";

export interface Figures {
  /** As Kimi calls it. */
  readonly plan: string | undefined;
  /** Shortest first; never two of a kind but "other". */
  readonly windows: readonly QuotaWindow[];
  /** How many requests may run at once. */
  readonly parallelLimit: number | undefined;
  readonly wallet: Wallet | undefined;
}

/** Reads the answer of `GET /usages`; undefined where it says nothing at all. Never throws. */
export function parseUsages(value: unknown): Figures | undefined {
  if (!isJsonObject(value)) return undefined;
  const figures: Figures = {
    plan: levelName(member(value, "user", "membership", "level")),
    windows: readWindows(value),
    parallelLimit: positive(member(value, "parallel", "limit")),
    wallet: readWallet(value.boosterWallet),
  };
  const { windows, parallelLimit, wallet } = figures;
  return windows.length > 0 || parallelLimit !== undefined || wallet ? figures : undefined;
}

/** Reads the answer of `GET /me`: the plan's name. Never throws. */
export function parseMe(value: unknown): { readonly plan: string | undefined } {
  return { plan: text(member(value, "user_level_name")) };
}

/** How much of the window is used at `now` (ms): after its reset, nothing that is known of. 0 to 100. */
export function usedPercentAt({ usedPercent, resetsAt }: QuotaWindow, now: number): number {
  return resetsAt !== undefined && resetsAt <= now ? 0 : usedPercent;
}

/**
 * The window that will stop the user first: the one that is used most; of several, the one that resets first. `now` in
 * ms. Undefined where there is no window.
 */
export function bindingWindow({ windows }: Pick<Figures, "windows">, now: number): QuotaWindow | undefined {
  const end = ({ resetsAt }: QuotaWindow) => resetsAt ?? Number.POSITIVE_INFINITY;
  return windows.reduce<QuotaWindow | undefined>((best, window) => {
    if (!best) return window;
    const more = usedPercentAt(window, now) - usedPercentAt(best, now);
    return more > 0 || (more === 0 && end(window) < end(best)) ? window : best;
  }, undefined);
}

/** "LEVEL_INTERMEDIATE" is "Intermediate". */
function levelName(value: unknown): string | undefined {
  const name = text(value)
    ?.replace(/^LEVEL_/, "")
    .replaceAll("_", " ")
    .toLowerCase();
  return name === undefined || name === "" || name === "unspecified"
    ? undefined
    : `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
