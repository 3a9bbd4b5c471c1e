/** What an error of the service, or of the way to it, means for the user. */
import type { Region } from "../region.ts";
import { type AdapterText, readAdapterText } from "./adapter-text.ts";
import { type Reaction, saysRetry } from "./host-words.ts";

/** What was seen of the exchange besides the adapter's text; every part may be missing. */
export interface Seen {
  /** The system's or undici's name for what went wrong with the connection; PROXY_<status> where a proxy refused it. */
  readonly code?: string | undefined;
  /** The answer's `retry-after`, ms. */
  readonly retryAfter?: number | undefined;
  /** The latest answer was an HTML page, whatever its status. */
  readonly page?: boolean | undefined;
  /** The request was sent with a key that somebody configured, not with a login. */
  readonly key?: boolean | undefined;
  /** Whose plan it was on; undefined = kimi.com. */
  readonly region?: Region | undefined;
}

/** The class of an error, and what pi is to do about it. */
const REACTIONS = {
  login: "show",
  membership: "show",
  identity: "show",
  suspended: "show",
  weekly: "show",
  fiveHours: "show",
  cycle: "show",
  quota: "show",
  forbidden: "show",
  concurrency: "retry",
  rate: "retry",
  overloaded: "retry",
  server: "retry",
  gateway: "retry",
  overflow: "compact",
  connectTimeout: "retry",
  timeout: "retry",
  name: "retry",
  refused: "retry",
  certificate: "show",
  connection: "retry",
  proxy: "show",
  proxyLogin: "show",
  redirect: "show",
  level: "show",
  model: "show",
  filtered: "show",
  rejected: "show",
  unknown: "show",
} as const satisfies Record<string, Reaction>;

export type ErrorClass = keyof typeof REACTIONS;

export function reactionTo(error: ErrorClass): Reaction {
  return REACTIONS[error];
}

const OVERFLOW =
  /exceeded model token limit|token limit exceeded|context[_ ](?:length|window)|too many tokens|prompt (?:is )?too long|request_too_large/i;
const RATE = /rate.?limit|too many requests/i;
const QUOTA = /quota|insufficient balance|billing details|recharge|out of credits?/i;
const CERTIFICATE =
  /certificate|\bCERT_|SELF_SIGNED|ERR_TLS|ERR_SSL|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ssl routines|wrong version number/i;

/** Classifies the adapter's text. Never throws. */
export function classifyError(text: string, seen: Seen = {}): ErrorClass {
  return classify(readAdapterText(text), seen);
}

export function classify(error: AdapterText, seen: Seen): ErrorClass {
  const { status } = error;
  const page = error.page || (status === undefined && seen.page === true);
  const words = `${error.type} ${error.message}`;
  if (status === 407) return "proxyLogin";
  if (status !== undefined && status >= 300 && status < 400) return "redirect";
  if (status === 413) return "overflow";
  if (page && status !== 429) return status !== undefined && status >= 500 ? "gateway" : "proxy";
  if ((status === undefined || status === 400) && OVERFLOW.test(words) && !RATE.test(words))
    return "overflow";
  switch (status) {
    case undefined:
      return withoutStatus(words, seen);
    case 401:
      return "login";
    case 402:
      return "membership";
    case 403:
      return forbidden(words);
    case 404:
      return /model/i.test(words) ? "model" : "rejected";
    case 408:
      return "timeout";
    case 429:
      return tooMany(words);
  }
  if (status >= 500) return /overload/i.test(words) ? "overloaded" : "server";
  return rejected(words);
}

function forbidden(words: string): ErrorClass {
  if (/concurren/i.test(words)) return "concurrency";
  if (/coding agents/i.test(words)) return "identity";
  if (/suspend|community guidelines/i.test(words)) return "suspended";
  return limit(words) ?? (/member|subscri|plan\b/i.test(words) ? "membership" : "forbidden");
}

/** Which limit of the plan is used up. */
function limit(words: string): ErrorClass | undefined {
  if (/\b5[- ]?h/i.test(words)) return "fiveHours";
  if (/week/i.test(words)) return "weekly";
  if (/billing cycle/i.test(words)) return "cycle";
  return QUOTA.test(words) || /usage limit/i.test(words) ? "quota" : undefined;
}

function tooMany(words: string): ErrorClass {
  if (/overload/i.test(words)) return "overloaded";
  if (/rate_limit_reached/i.test(words)) return "rate";
  return limit(words) ?? (/concurren/i.test(words) ? "concurrency" : "rate");
}

function rejected(words: string): ErrorClass {
  if (/content.?filter|high risk/i.test(words)) return "filtered";
  if (/model\b.*\b(?:not found|not exist|does not exist)|not found the model|invalid model/i.test(words))
    return "model";
  return /thinking|effort/i.test(words) ? "level" : "rejected";
}

/** No answer at all, or one that broke off or turned into an error halfway. */
function withoutStatus(words: string, { code = "" }: Seen): ErrorClass {
  const all = `${words} ${code}`;
  if (code === "PROXY_407") return "proxyLogin";
  if (/^PROXY_4\d\d$/.test(code)) return "proxy";
  if (/content.?filter/i.test(words)) return "filtered";
  if (/overload/i.test(words)) return "overloaded";
  if (RATE.test(words)) return "rate";
  if (QUOTA.test(words)) return "quota";
  if (/server.?error|internal.?error|service.?unavailable/i.test(words)) return "server";
  if (CERTIFICATE.test(all)) return "certificate";
  if (/ENOTFOUND|EAI_AGAIN|getaddrinfo/i.test(all)) return "name";
  if (/ECONNREFUSED|connection.?refused/i.test(all)) return "refused";
  if (/CONNECT_TIMEOUT|connect timeout|\bETIMEDOUT/i.test(all)) return "connectTimeout";
  if (/timed? ?out|timeout/i.test(all)) return "timeout";
  return /\b(?:ECONN|EPIPE|EHOST|ENET|UND_ERR)|premature close|\bconnection\b/i.test(all) || saysRetry(words)
    ? "connection"
    : "unknown";
}
