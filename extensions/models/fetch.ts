/** One `GET /models`: Authorization alone, as the official clients ask, bounded in time and size, no redirect followed. */
import { networkCode } from "../oauth/http.ts";
import { parseServerList, type ServerModel } from "./server-list.ts";

export interface ModelsServer {
  /** Without a trailing slash. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  /** For the whole exchange, ms. */
  readonly timeout: number;
}

export type ModelsAnswer =
  /** At least one model. */
  | { readonly state: "listed"; readonly models: readonly ServerModel[] }
  /** Any status but 200; redirects too. */
  | { readonly state: "refused"; readonly status: number }
  /** No list of models: a proxy's page, an empty list, more than a megabyte. */
  | { readonly state: "unusable" }
  | { readonly state: "lost"; readonly code: string };

const LARGEST_ANSWER = 1024 * 1024;

/** Never throws. `signal` may end it at any time: nothing is lost but the answer. */
export async function fetchModels(
  { baseUrl, fetch, timeout }: ModelsServer,
  accessToken: string,
  signal: AbortSignal,
): Promise<ModelsAnswer> {
  try {
    const response = await fetch(`${baseUrl}/models`, {
      headers: { Authorization: `Bearer ${accessToken}` },
      redirect: "manual",
      signal: AbortSignal.any([AbortSignal.timeout(timeout), signal]),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      return { state: "refused", status: response.status };
    }
    const models = parseServerList(parse(await readBounded(response)));
    return models.length > 0 ? { state: "listed", models } : { state: "unusable" };
  } catch (error) {
    return { state: "lost", code: networkCode(error) };
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
