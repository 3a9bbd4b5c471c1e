/**
 * How much of the plan is used: what `GET /usages` and `GET /me` say, in either of the two shapes that are in use. Any
 * JSON may come in; what cannot be understood is left out.
 */
import { isJsonObject } from "../oauth/json-object.ts";
import { emptyAt } from "./pace.ts";
import { member, positive, text } from "./values.ts";
import { readWallet, type Wallet } from "./wallet.ts";
import { type QuotaWindow, readWindows } from "./windows.ts";

export interface Figures {
  /** As Kimi calls it. */
  readonly plan: string | undefined;
  /** Shortest first, of unknown length last; never two of a kind but "other". */
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

/**
 * Whether the window was reset after its figure was fetched; all in ms. Figures fetched after the reset they tell of
 * are of the new window: the clock is ahead of the server's, or the server resets late.
 */
export function wasReset({ resetsAt }: QuotaWindow, now: number, fetchedAt: number): boolean {
  return resetsAt !== undefined && fetchedAt < resetsAt && resetsAt <= now;
}

/** How much of the window is used at `now` (ms): after its reset, nothing that is known of. 0 to 100. */
export function usedPercentAt(window: QuotaWindow, now: number, fetchedAt: number): number {
  return wasReset(window, now, fetchedAt) ? 0 : window.usedPercent;
}

/**
 * The windows of which anything is used, the one that stops the user first in front: what is full, then what will be
 * empty before its reset at the present pace, the earliest first, then what is used most; of equals, what resets first.
 * `now` and `fetchedAt` in ms.
 */
export function byUrgency(
  { windows }: Pick<Figures, "windows">,
  now: number,
  fetchedAt: number,
): readonly QuotaWindow[] {
  const never = Number.POSITIVE_INFINITY;
  return windows
    .map((window) => {
      const used = usedPercentAt(window, now, fetchedAt);
      const emptiesAt = emptyAt(window, fetchedAt, now) ?? never;
      const stopsAt = used >= 100 ? Number.NEGATIVE_INFINITY : emptiesAt;
      return { window, used, stopsAt, resetsAt: window.resetsAt ?? never };
    })
    .filter(({ used }) => used > 0)
    .sort(
      (one, other) =>
        compare(one.stopsAt, other.stopsAt) ||
        compare(other.used, one.used) ||
        compare(one.resetsAt, other.resetsAt),
    )
    .map(({ window }) => window);
}

/** The window that will stop the user first, see `byUrgency`; undefined where nothing is used. */
export function bindingWindow(
  figures: Pick<Figures, "windows">,
  now: number,
  fetchedAt: number,
): QuotaWindow | undefined {
  return byUrgency(figures, now, fetchedAt)[0];
}

/** Subtraction would not do: there are infinite ones. */
function compare(one: number, other: number): number {
  return Number(one > other) - Number(one < other);
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
