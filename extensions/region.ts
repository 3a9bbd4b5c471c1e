/** Kimi's two regions: which hosts an account of kimi.com or of kimi.ai belongs to. Tokens of one mean nothing to the other. */

export type Region = "kimi.com" | "kimi.ai";

export interface Hosts {
  /** Authorization server, without a trailing slash. */
  readonly oauthHost: string;
  /** API, without a trailing slash. */
  readonly baseUrl: string;
}

/** As kimi-code 2.1.0 has them; kimi.ai is for accounts outside mainland China. */
export const REGIONS: Readonly<Record<Region, Hosts>> = {
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

/** At least one; the first is the default. */
export type RegionsInUse = readonly [RegionInUse, ...RegionInUse[]];

const COM: RegionInUse = { region: "kimi.com", ...REGIONS["kimi.com"] };
const AI: RegionInUse = { region: "kimi.ai", ...REGIONS["kimi.ai"] };

/**
 * The regions a process deals with: both; but where the environment names a host only the one it belongs to, so that no
 * token of the other ever gets there. `chosen` comes first, and says whose an unknown host is.
 */
export function regionsInUse(
  { oauthHost, baseUrl }: { readonly [host in keyof Hosts]?: string | undefined },
  chosen: Region | undefined,
): RegionsInUse {
  const [first, other] = chosen === "kimi.ai" ? [AI, COM] : [COM, AI];
  if (oauthHost === undefined && baseUrl === undefined) return [first, other];
  const named = [COM, AI].find((one) => one.oauthHost === oauthHost || one.baseUrl === baseUrl) ?? first;
  return [{ ...named, oauthHost: oauthHost ?? named.oauthHost, baseUrl: baseUrl ?? named.baseUrl }];
}

/** The hosts of `region`; the first region's where it is not in use, which no login then belongs to. */
export function hostsOf(regions: RegionsInUse, region: Region): RegionInUse {
  return regions.find((one) => one.region === region) ?? regions[0];
}
