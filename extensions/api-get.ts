/** One `GET` of the API: Authorization alone, as the official clients ask, bounded in time and size, no redirect. */
import { readText, withinTime } from "./oauth/bounds.ts";
import { networkCode } from "./oauth/http.ts";

export interface Api {
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  /** For each exchange, ms. */
  readonly timeout: number;
}

export type GetFailure =
  /** Any status but 200; redirects too. */
  | { readonly state: "refused"; readonly status: number }
  /** Not what was asked for: a proxy's page, more bytes than anybody needs. */
  | { readonly state: "unusable" }
  | { readonly state: "lost"; readonly code: string };

export type GetAnswer = { readonly state: "answered"; readonly value: unknown } | GetFailure;

/**
 * Asks `path` and reads JSON of at most `largest` bytes. Never throws. `signal` may end it at any time: nothing is lost
 * but the answer.
 */
export async function getJson(
  { baseUrl, fetch, timeout }: Api,
  path: string,
  bearer: string,
  largest: number,
  signal: AbortSignal,
): Promise<GetAnswer> {
  try {
    return await withinTime(timeout, signal, async (limit) => {
      const response = await fetch(`${baseUrl}${path}`, {
        headers: { Authorization: `Bearer ${bearer}` },
        redirect: "manual",
        signal: limit,
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        return { state: "refused", status: response.status };
      }
      const text = await readText(response, largest);
      return text === undefined ? { state: "unusable" } : parse(text);
    });
  } catch (error) {
    return { state: "lost", code: networkCode(error) };
  }
}

function parse(text: string): GetAnswer {
  try {
    return { state: "answered", value: JSON.parse(text) };
  } catch {
    return { state: "unusable" };
  }
}
