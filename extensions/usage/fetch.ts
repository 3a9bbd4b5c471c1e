/** What Kimi says of the plan: `GET /usages` and `GET /me`. */
import { type Api, type GetFailure, getJson } from "../api-get.ts";
import { type Figures, parseMe, parseUsages } from "./figures.ts";

export type UsageAnswer = { readonly state: "figures"; readonly figures: Figures } | GetFailure;

const LARGEST_ANSWER = 256 * 1024;

/**
 * Asks both at once. The plan's name of `/me` comes before that of `/usages`, and is not missed where it does not come.
 * Never throws. `signal` may end it at any time: nothing is lost but the answer.
 */
export async function fetchUsage(api: Api, bearer: string, signal: AbortSignal): Promise<UsageAnswer> {
  const [usages, me] = await Promise.all([
    getJson(api, "/usages", bearer, LARGEST_ANSWER, signal),
    // The figures do not wait long for a name.
    getJson({ ...api, timeout: Math.ceil(api.timeout / 3) }, "/me", bearer, LARGEST_ANSWER, signal),
  ]);
  if (usages.state !== "answered") return usages;
  const figures = parseUsages(usages.value);
  if (!figures) return { state: "unusable" };
  const plan = me.state === "answered" ? parseMe(me.value).plan : undefined;
  return { state: "figures", figures: plan === undefined ? figures : { ...figures, plan } };
}
