/** The figures as this process really gets them: real files, clock and fetch. */
import type { Configuration } from "../configuration.ts";
import { fetchUsage } from "./fetch.ts";
import { createFooter, type Footer } from "./footer.ts";
import { handKey } from "./hand-key.ts";
import { createUsage, type Usage, type UsageParts } from "./usage.ts";

/** Somebody may be waiting, ms for each exchange. */
const TIMEOUT = 10_000;

export function loadUsage(
  { regions, refusal }: Configuration,
  parts: Pick<UsageParts, "path" | "credential" | "configuredKey" | "clock">,
): Usage {
  return createUsage({
    ...parts,
    regions,
    refusal,
    ask: (baseUrl, bearer, signal) => fetchUsage({ baseUrl, fetch, timeout: TIMEOUT }, bearer, signal),
  });
}

/** `keyArgument`: whether pi was started with `--api-key`. */
export function loadFooter(
  usage: Usage,
  { credential, clock }: Pick<UsageParts, "credential" | "clock">,
  keyArgument: boolean,
): Footer {
  return createFooter({
    usage,
    handKey: (ctx) => handKey(ctx, keyArgument, credential.look),
    now: clock.now,
  });
}
