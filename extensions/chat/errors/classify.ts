/**
 * What an error of the service, or of the way to it, means for the user.
 *
 * It comes as the text of pi's adapter: pi 0.73 writes the SDK's `401 <message>`, its successor `401: <body as JSON>`;
 * both add nothing where there was no answer, and the whole page where it was HTML.
 */
import { isJsonObject, parseJson } from "../../lib/json.ts";
import type { Region } from "../../region.ts";
import { type Reaction, saysRetry } from "./host-words.ts";

/** A window of the plan's quota, as it was last known. */
export interface SpentWindow {
  /** "5h", "week", "month", …; see quota/. */
  readonly kind: string;
  /** 0 to 100. */
  readonly usedPercent: number;
  /** ms since the epoch. */
  readonly resetsAt: number | undefined;
}

/** What is wrong with an answer that both hosts take for one. */
export type Fault =
  /** Thinking alone, or nothing. */
  | "noAnswer"
  /** The same, because all output went into thinking. */
  | "allThinking"
  /** A tool call was announced and not made, or written as text. */
  | "lostCall"
  /** The limit of the output was reached in the middle of a tool call. */
  | "cutCall";

/** What was seen of the exchange besides the adapter's text; every part may be missing. */
export interface Seen {
  /** What is wrong with an answer that came in order. */
  readonly fault?: Fault | undefined;
  /** How many tokens it has, thinking included. */
  readonly output?: number | undefined;
  /** The API that was asked. */
  readonly address?: string | undefined;
  /** The body that was sent. */
  readonly sent?: unknown;
  /** How long pi lets a request be silent, ms. */
  readonly patience?: number | undefined;
  /** What was last known of the account's plan. */
  readonly windows?: readonly SpentWindow[] | undefined;
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
  address: "show",
  picture: "show",
  filtered: "show",
  noAnswer: "retry",
  allThinking: "show",
  lostCall: "retry",
  cutCall: "show",
  rejected: "show",
  unknown: "show",
} as const satisfies Record<string, Reaction>;

export type ErrorClass = keyof typeof REACTIONS;

export function reactionTo(error: ErrorClass): Reaction {
  return REACTIONS[error];
}

const OVERFLOW =
  /exceeded model token limit|token limit exceeded|token length too long|total message size|context[_ ](?:length|window)|too many tokens|prompt (?:is )?too long|request_too_large/i;
const RATE = /rate.?limit|too many requests/i;
const QUOTA = /quota|insufficient balance|billing details|recharge|out of credits?/i;
const CERTIFICATE =
  /certificate|\bCERT_|SELF_SIGNED|ERR_TLS|ERR_SSL|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ssl routines|wrong version number/i;

const PICTURE =
  /unsupported image|image format|(?:decode|invalid|process)\w* .{0,20}(?:image|picture)|image.{0,40}(?:decod|corrupt|invalid|unsupported)/i;
const FILTERED = /content.?filter|high risk/i;

/**
 * Classifies the adapter's text. Never throws. The words are those of reports, and of Kimi's own references:
 * https://www.kimi.com/code/docs/en/kimi-code/error-reference.html, https://platform.kimi.com/docs/api/errors.md.
 */
export function classifyError(text: string, seen: Seen = {}): ErrorClass {
  return classify(readAdapterText(text), seen);
}

export function classify(error: AdapterText, seen: Seen): ErrorClass {
  const { status } = error;
  if (seen.fault) return seen.fault;
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
      return /model/i.test(words) ? "model" : "address";
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
  if (/suspend|community guidelines|access terminated/i.test(words)) return "suspended";
  return limit(words) ?? (/member|subscri|plan\b/i.test(words) ? "membership" : "forbidden");
}

/** Which limit of the plan is used up. */
function limit(words: string): ErrorClass | undefined {
  if (/\b5[- ]?h|for this period/i.test(words)) return "fiveHours";
  if (/week/i.test(words)) return "weekly";
  if (/billing cycle/i.test(words)) return "cycle";
  return QUOTA.test(words) || /usage limit/i.test(words) ? "quota" : undefined;
}

function tooMany(words: string): ErrorClass {
  if (/overload/i.test(words)) return "overloaded";
  return /concurren/i.test(words) ? "concurrency" : (limit(words) ?? "rate");
}

function rejected(words: string): ErrorClass {
  if (FILTERED.test(words)) return "filtered";
  if (PICTURE.test(words)) return "picture";
  if (
    /model\b.{0,200}\b(?:not found|not exist|does not exist)|not found the model|invalid model/i.test(words)
  )
    return "model";
  return /thinking|effort/i.test(words) ? "level" : "rejected";
}

/** No answer at all, or one that broke off or turned into an error halfway. */
function withoutStatus(words: string, { code = "" }: Seen): ErrorClass {
  const all = `${words} ${code}`;
  if (code === "PROXY_407") return "proxyLogin";
  if (/^PROXY_4\d\d$/.test(code)) return "proxy";
  if (FILTERED.test(words)) return "filtered";
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

export interface AdapterText {
  /** undefined = no answer, or an error in the middle of a stream. */
  readonly status: number | undefined;
  /** `error.type`; 0.73 drops it. */
  readonly type: string;
  /** What the server says, as it says it; of a page its title. */
  readonly message: string;
  /** A proxy's or gateway's page in place of the service's JSON. */
  readonly page: boolean;
}

/** Where the service asks to wait for too long, pi's successor puts a sentence about that before the status. */
const STATUS = /^(?:Server requested \d{1,7}s retry delay \([^)]*\)\.\s*)?([1-5]\d\d):?(?:\s+|$)/;
const PAGE = /^\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype html|html|head|body|title|h1|center)\b/i;

/** How much of an error's text is read, in characters: a proxy's page may be long. */
const LONGEST = 20_000;

/** Never throws. */
export function readAdapterText(text: string): AdapterText {
  const answered = text.slice(0, LONGEST);
  const [head = "", status] = STATUS.exec(answered) ?? [];
  const body = answered.slice(head.length);
  const page = PAGE.test(body);
  const words = page ? { type: "", message: title(body) } : readBody(body);
  return { status: status === undefined ? undefined : Number(status), ...words, page };
}

function title(page: string): string {
  return /<title[^>]*>([^<]*)/i.exec(page.slice(0, 10_000))?.[1] ?? "";
}

/** What is no JSON, or was cut off by the adapter, is taken as it is. */
function readBody(body: string): { type: string; message: string } {
  const parsed = parseJson(body);
  const error = isJsonObject(parsed) && isJsonObject(parsed.error) ? parsed.error : parsed;
  if (!isJsonObject(error)) return { type: "", message: body === "status code (no body)" ? "" : body };
  const { type, message } = error;
  return {
    type: typeof type === "string" ? type : "",
    message: typeof message === "string" ? message : "",
  };
}
