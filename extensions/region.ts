/** Kimi's two regions: which hosts an account of kimi.com or of kimi.ai belongs to. Tokens of one mean nothing to the other. */

export type Region = "kimi.com" | "kimi.ai";

export interface Hosts {
  /** Authorization server, without a trailing slash. */
  readonly oauthHost: string;
  /** API, without a trailing slash. */
  readonly baseUrl: string;
}

export type RegionTable = Readonly<Record<Region, Hosts>>;

/** As kimi-code 2.1.0 has them; kimi.ai is for accounts outside mainland China. */
export const REGIONS: RegionTable = {
  "kimi.com": { oauthHost: "https://auth.kimi.com", baseUrl: "https://api.kimi.com/coding/v1" },
  "kimi.ai": { oauthHost: "https://auth.kimi.ai", baseUrl: "https://api.kimi.ai/coding/v1" },
};

/** The default: kimi-cli knows no other. */
export const USUAL_REGION: Region = "kimi.com";

/** Where an account looks at its plan. */
export function planPage(region: Region): string {
  return `https://www.${region}/code`;
}

/** In kimi-code's words too (`mainland-cn`, `global`); undefined for anything else. */
export function parseRegion(value: unknown): Region | undefined {
  switch (typeof value === "string" ? value.trim().toLowerCase() : undefined) {
    case "kimi.com":
    case "mainland-cn":
      return "kimi.com";
    case "kimi.ai":
    case "global":
      return "kimi.ai";
    default:
      return undefined;
  }
}

/** One region as this process reaches it. */
export interface RegionInUse extends Hosts {
  readonly region: Region;
}

/** Hosts that the environment names. */
type Overrides = { readonly [host in keyof Hosts]?: string | undefined };

/** At least one; the first is the default. */
export type RegionsInUse = readonly [RegionInUse, ...RegionInUse[]];

/**
 * The regions a process deals with: both; but where a host was overridden only the one it belongs to, so that no token
 * of the other ever gets there. `chosen` comes first, and says whose an unknown overriding host is.
 */
export function regionsInUse(
  table: RegionTable,
  overrides: Overrides,
  chosen: Region | undefined,
): RegionsInUse {
  const { oauthHost, baseUrl } = overrides;
  if (oauthHost !== undefined || baseUrl !== undefined) {
    const region = regionOf(table, overrides) ?? chosen ?? USUAL_REGION;
    const usual = table[region];
    return [{ region, oauthHost: oauthHost ?? usual.oauthHost, baseUrl: baseUrl ?? usual.baseUrl }];
  }
  const first = chosen ?? USUAL_REGION;
  const other: Region = first === "kimi.com" ? "kimi.ai" : "kimi.com";
  return [
    { region: first, ...table[first] },
    { region: other, ...table[other] },
  ];
}

/** The region whose host an override names, if it is one's. */
function regionOf(table: RegionTable, { oauthHost, baseUrl }: Overrides): Region | undefined {
  const names: readonly Region[] = ["kimi.com", "kimi.ai"];
  return names.find((name) => table[name].oauthHost === oauthHost || table[name].baseUrl === baseUrl);
}

/** The hosts of `region`; the first region's where it is not in use, which no login then belongs to. */
export function hostsOf(regions: RegionsInUse, region: Region): RegionInUse {
  return regions.find((one) => one.region === region) ?? regions[0];
}
