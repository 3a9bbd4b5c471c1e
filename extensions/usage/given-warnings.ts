/** The warnings that were given, kept with the figures: one pi process gives them for all of this home. */
import { keepJsonSync } from "../credentials/file.ts";
import { isJsonObject } from "../oauth/json-object.ts";
import { readKeptJson } from "./kept.ts";
import { type GivenWarning, type QuotaWarning, wasGiven } from "./quota-warning.ts";
import { number, positive } from "./values.ts";

/** For so long after its reset a warning is kept, so that a reset that is told a little differently finds it, ms. */
const FORGET_AFTER = 3_600_000;
/** More than there are windows, with two thresholds each. */
const MOST = 24;

/**
 * Those of `warnings` that no process has given yet; they count as given from now on. Where the file in `path` is not of
 * `account`, or cannot be written, nobody else hears of it. `now` in ms. Reads and writes one small file, with nothing
 * else of this process in between; never throws.
 */
export function claimWarnings(
  path: string,
  account: string,
  warnings: readonly QuotaWarning[],
  now: number,
): readonly QuotaWarning[] {
  const kept = readKeptJson(path, account);
  if (!kept) return warnings;
  const given = readGiven(kept.warnings);
  const fresh = warnings.filter((warning) => !wasGiven(warning, given, now));
  if (fresh.length === 0) return fresh;
  const noted = fresh.map(({ window, threshold, until }): GivenWarning => ({ window, threshold, until }));
  const remembered = given.filter(({ until }) => until + FORGET_AFTER > now);
  keepJsonSync(path, { ...kept, warnings: [...noted, ...remembered].slice(0, MOST) });
  return fresh;
}

/** Another version, or anybody, may have written it. */
function readGiven(value: unknown): readonly GivenWarning[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MOST).flatMap((one: unknown) => {
    if (!isJsonObject(one) || typeof one.window !== "string") return [];
    const [threshold, until] = [number(one.threshold), positive(one.until)];
    return threshold === undefined || until === undefined ? [] : [{ window: one.window, threshold, until }];
  });
}
