/** `POST /search` and `POST /fetch`: what they take, and what they answer. */
import { type Answer, ok, refusals, refuse } from "./answers.ts";
import { isObject } from "./json.ts";
import type { JsonObject, LogEntry, SearchResult } from "./types.ts";

/** What tests may change while the service runs. */
export interface WebState {
  searchResults: readonly SearchResult[];
  /** Text by address; of others there is none. */
  readonly pages: Map<string, string>;
}

/** The identity that goes with a User-Agent, in full. */
const IDENTITY = [
  {
    agent: /^KimiCLI\//,
    headers: ["platform", "version", "device-name", "device-model", "os-version", "device-id"],
  },
  { agent: /^pi\//, headers: ["platform", "version"] },
] as const;

const SEARCH_MEMBERS = {
  text_query: (value: unknown) => typeof value === "string" && value.trim() !== "",
  limit: (value: unknown) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 20,
  enable_page_crawling: (value: unknown) => typeof value === "boolean",
  timeout_seconds: (value: unknown) => typeof value === "number" && value > 0,
};
const FETCH_MEMBERS = {
  url: (value: unknown) => typeof value === "string" && /^https?:\/\/[^/]/.test(value),
};

export function answerSearch(entry: LogEntry, { searchResults }: WebState): Answer {
  const { body } = entry;
  const problem = problemOf(entry) ?? problemIn(body, SEARCH_MEMBERS, "text_query");
  if (problem !== undefined || !isObject(body)) return refuse(refusals.badRequest(problem ?? "no object"));
  const limit = typeof body.limit === "number" ? body.limit : 10;
  return ok({ search_results: searchResults.slice(0, limit) });
}

export function answerFetch(entry: LogEntry, { pages }: WebState): Answer {
  const { body, headers } = entry;
  const problem =
    problemOf(entry) ??
    (headers.accept === "text/markdown" ? undefined : "Accept must be text/markdown") ??
    problemIn(body, FETCH_MEMBERS, "url");
  if (problem !== undefined || !isObject(body)) return refuse(refusals.badRequest(problem ?? "no object"));
  const page = pages.get(String(body.url));
  return page === undefined
    ? refuse(refusals.notFound)
    : { ...ok(page), contentType: "text/markdown; charset=utf-8" };
}

function problemOf({ headers }: LogEntry): string | undefined {
  if (headers["content-type"] !== "application/json") return "Content-Type must be application/json";
  if (!headers["x-msh-tool-call-id"]) return "X-Msh-Tool-Call-Id is missing";
  const agent = headers["user-agent"] ?? "";
  const wanted = IDENTITY.find((one) => one.agent.test(agent))?.headers ?? [];
  const missing = wanted.find((name) => !headers[`x-msh-${name}`]);
  return missing === undefined ? undefined : `X-Msh-${missing} is missing`;
}

function problemIn(
  body: unknown,
  members: Readonly<Record<string, (value: unknown) => boolean>>,
  required: string,
): string | undefined {
  if (!isObject(body)) return "the request body must be a JSON object";
  const wrong = Object.entries(body satisfies JsonObject).find(([name, value]) => !members[name]?.(value));
  if (wrong) return `${wrong[0]} is unknown or wrong`;
  return required in body ? undefined : `${required} is missing`;
}
