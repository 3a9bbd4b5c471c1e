/** Which account a request belongs to, and how many requests at once that account may have, as far as anybody knows. */
import type { Timer } from "../background-refresh.ts";
import type { Usable } from "../chat/bearer.ts";
import { fingerprint } from "../credentials/fingerprint.ts";
import type { Clock } from "../oauth/clock.ts";
import { hostsOf, type RegionsInUse, USUAL_REGION } from "../region.ts";
import { accountFingerprint, readKeptFigures, type UsageAccount } from "../usage/kept.ts";
import { createGuard, type Waiting } from "./guard.ts";
import { createFreePlace, type Place } from "./place.ts";

export interface RequestsParts {
  /** The folder in which the pi processes of this user meet. */
  readonly path: string;
  /** The file with the last known figures of the plan. */
  readonly figuresPath: string;
  readonly regions: RegionsInUse;
  /** What somebody configured; wins over what the plan says. */
  readonly limit: number | undefined;
  readonly clock: Clock;
  readonly timer: Timer;
  /** In [0, 1). */
  readonly random: () => number;
  /** See GuardParts. */
  readonly waiting: (waiting: Waiting | undefined) => void;
}

/** Gives a place for each request. Reads and writes nothing before a place is entered. */
export function createRequests(parts: RequestsParts): (bearer: Usable) => Place {
  const { figuresPath, regions, limit, clock } = parts;
  const guard = createGuard(parts);
  return (bearer) => {
    const account = accountOf(bearer, regions);
    if (!account) return createFreePlace(clock);
    const known = () => readKeptFigures(figuresPath, account)?.figures.parallelLimit;
    return guard(accountFingerprint(account), () => limit ?? known());
  };
}

/** As the figures of the plan are kept: a login by where it is stored, a key by its fingerprint. */
function accountOf(bearer: Usable, regions: RegionsInUse): UsageAccount | undefined {
  const { baseUrl } = hostsOf(regions, bearer.region ?? USUAL_REGION);
  if (bearer.state === "key") return { owner: "key", path: fingerprint(bearer.key), baseUrl };
  return bearer.source && { ...bearer.source, baseUrl };
}
