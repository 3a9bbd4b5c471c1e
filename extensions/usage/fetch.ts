/** `GET /usages` and `GET /me`: Authorization alone, as the official clients ask, bounded in time and size, no redirect. */
import { networkCode } from "../oauth/http.ts";
import { type Figures, parseMe, parseUsages } from "./figures.ts";

export interface UsageServer {
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  /** For each exchange, ms. */
  readonly timeout: number;
}

export type UsageFailure =
  /** Any status but 200; redirects too. */
  | { readonly kind: "refused"; readonly status: number }
  /** No figures: a proxy's page, an empty object, more than LARGEST_ANSWER. */
  | { readonly kind: "unusable" }
  | { readonly kind: "lost"; readonly code: string };

export type UsageAnswer =
  | { readonly state: "figures"; readonly figures: Figures }
  | { readonly state: "failed"; readonly failure: UsageFailure };

type JsonAnswer =
  | { readonly state: "answered"; readonly value: unknown }
  | { readonly state: "failed"; readonly failure: UsageFailure };

const LARGEST_ANSWER = 256 * 1024;

/**
 * Asks both at once. The plan's name of `/me` comes before that of `/usages`, and is not missed where it does not come.
 * Never throws. `signal` may end it at any time: nothing is lost but the answer.
 */
export async function fetchUsage(
  server: UsageServer,
  bearer: string,
  signal: AbortSignal,
): Promise<UsageAnswer> {
  const [usages, me] = await Promise.all([
    getJson(server, "/usages", bearer, signal),
    getJson(server, "/me", bearer, signal),
  ]);
  if (usages.state === "failed") return usages;
  const figures = parseUsages(usages.value);
  if (!figures) return { state: "failed", failure: { kind: "unusable" } };
  const plan = me.state === "answered" ? parseMe(me.value).plan : undefined;
  return { state: "figures", figures: plan === undefined ? figures : { ...figures, plan } };
}

async function getJson(
  { baseUrl, fetch, timeout }: UsageServer,
  path: string,
  bearer: string,
  signal: AbortSignal,
): Promise<JsonAnswer> {
  try {
    const response = await fetch(`${baseUrl}${path}`, {
      headers: { Authorization: `Bearer ${bearer}` },
      redirect: "manual",
      signal: AbortSignal.any([AbortSignal.timeout(timeout), signal]),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      return { state: "failed", failure: { kind: "refused", status: response.status } };
    }
    const value = parse(await readBounded(response));
    return value === undefined
      ? { state: "failed", failure: { kind: "unusable" } }
      : { state: "answered", value };
  } catch (error) {
    return { state: "failed", failure: { kind: "lost", code: networkCode(error) } };
  }
}

async function readBounded(response: Response): Promise<string | undefined> {
  if (!response.body) return undefined;
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > LARGEST_ANSWER) return undefined; // leaving the loop cancels the body
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function parse(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
