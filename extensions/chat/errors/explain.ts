/**
 * What an error means: to the user, one sentence with the cause and the next action, then the server's words; and to
 * the other requests of the account. Loaded rarely.
 */
import { isJsonObject, objectsIn } from "../../lib/json.ts";
import { oneLine, withoutTokens } from "../../lib/safe-text.ts";
import { sayReset, sayTime, waitUntil } from "../../lib/waiting-time.ts";
import type { Refusal } from "../../queue/tickets.ts";
import { planPage, REGIONS, USUAL_REGION } from "../../region.ts";
import {
  classify,
  type ErrorClass,
  reactionTo,
  readAdapterText,
  type Seen,
  type SpentWindow,
} from "./classify.ts";
import { withoutOtherReactions } from "./host-words.ts";

export interface Verdict {
  readonly kind: ErrorClass;
  /** For the user. */
  readonly sentence: string;
  /** What all requests of the account should know of it; undefined where it is none of their business. */
  readonly refusal: Refusal | undefined;
}

/** How much of the server's own words is quoted, in characters. */
const LONGEST_QUOTE = 300;

/**
 * What the text means with which pi's adapter (of either host) reported an error. The words of the sentence are chosen so
 * that pi repeats what is transient, compacts what is too long, and shows the rest at once. Never throws; one printable
 * line, without tokens.
 */
export function judgeError(text: string, now: Date, seen: Seen): Verdict {
  const error = readAdapterText(text);
  const kind = classify(error, seen);
  const { retryAfter } = seen;
  const at = waitUntil(error.message, now, retryAfter);
  const resetsAt = at ?? resetOf(kind, seen.windows ?? [], now.getTime());
  const said = say(kind, {
    until: at === undefined ? undefined : sayTime(at, now),
    reset: resetsAt === undefined ? undefined : sayReset(resetsAt, now),
    status: error.status,
    plan: planPage(seen.region ?? USUAL_REGION),
    seen,
  });
  const speaker = SPEAKER[kind] ?? "Kimi";
  const quote = readable(speaker === THE_SYSTEM ? systemName(seen.code) : error.message, kind);
  const quoted = quote === "" ? "" : ` (${speaker}: ${quote})`;
  const concurrency = kind === "concurrency";
  const tooMany = concurrency || kind === "rate" || kind === "overloaded";
  const shared = tooMany || (retryAfter !== undefined && reactionTo(kind) === "retry");
  return {
    kind,
    sentence: `Kimi Coder: ${said}${quoted}`,
    refusal: shared ? { concurrency, retryAfter } : undefined,
  };
}

/**
 * When the window ends whose limit is meant, as far as the last known figures say; ms since the epoch. Without a name, or
 * called a billing cycle, which Kimi says of the week and of the month, it is any that is used up.
 */
function resetOf(kind: ErrorClass, windows: readonly SpentWindow[], now: number): number | undefined {
  const named = WINDOW_OF[kind];
  const isMeant = (window: SpentWindow) =>
    named === undefined ? window.usedPercent >= ALL_BUT_SPENT : window.kind === named;
  const ends = windows.filter(isMeant).map(({ resetsAt = 0 }) => resetsAt);
  const last = Math.max(0, ...ends);
  return last > now ? last : undefined;
}

const WINDOW_OF: Partial<Record<ErrorClass, string>> = { weekly: "week", fiveHours: "5h" };

/** Percent used from which a window may be the one that stops a request: the figures are minutes old. */
const ALL_BUT_SPENT = 90;

function readable(message: string, kind: ErrorClass): string {
  // A stack trace helps no reader of the message.
  const [spoken = ""] = message.split(/\n[^\S\n]+at\s/);
  const clean = oneLine(withoutTokens(oneLine(spoken, 2_000)), LONGEST_QUOTE);
  return withoutOtherReactions(clean, reactionTo(kind));
}

function systemName(code: string | undefined): string {
  return code !== undefined && /^[A-Z0-9_]{1,50}$/.test(code) ? code : "";
}

/** Without an answer the system's code says more than the adapter's words, and is quoted in their place. */
const THE_SYSTEM = "the system";

const SPEAKER: Partial<Record<ErrorClass, string>> = {
  name: THE_SYSTEM,
  refused: THE_SYSTEM,
  connectTimeout: THE_SYSTEM,
  timeout: THE_SYSTEM,
  certificate: THE_SYSTEM,
  connection: THE_SYSTEM,
  proxy: "the page",
  proxyLogin: "the proxy",
  redirect: "the page",
  gateway: "the page",
  unknown: "pi",
};

interface Circumstances {
  /** When waiting ends. */
  readonly until: string | undefined;
  /** When the plan's limit that is meant resets. */
  readonly reset: string | undefined;
  readonly status: number | undefined;
  /** The plan's page. */
  readonly plan: string;
  readonly seen: Seen;
}

function say(kind: ErrorClass, { until, reset, status, plan, seen }: Circumstances): string {
  const wait = (otherwise: string) => `wait ${until === undefined ? otherwise : `until ${until}`}`;
  const waitForReset = reset === undefined ? "wait until it resets" : `wait until it resets ${reset}`;
  switch (kind) {
    case "login":
      return seen.key
        ? "Kimi does not accept the API key; correct KIMI_CODER_API_KEY or --api-key, or remove it and type /login kimi-coder."
        : "Kimi does not accept the login any more; type /login kimi-coder to log in again.";
    case "membership":
      return `this account has no active Kimi membership; renew the plan at ${plan}.`;
    case "identity":
      return "Kimi does not admit the identity this client sends; set KIMI_CODER_IDENTITY=pi, or unset it if it is set, and start pi again.";
    case "suspended":
      return `Kimi has suspended this account; read Kimi's community guidelines and write to its support, or type /login kimi-coder to use another account.`;
    case "weekly":
      return `the plan's weekly limit is used up; ${waitForReset}, or choose a larger plan at ${plan}.`;
    case "fiveHours":
      return `the plan's 5-hour limit is used up; ${waitForReset}, or choose a larger plan at ${plan}.`;
    case "cycle":
      return `the plan's limit for this billing cycle is used up; ${waitForReset}, or choose a larger plan at ${plan}.`;
    case "quota":
      return `the plan's quota is used up; ${waitForReset}, or renew the plan at ${plan}.`;
    case "forbidden":
      return `Kimi denies this account access; look at the plan at ${plan}, or type /login kimi-coder to use another account.`;
    case "concurrency":
      return `too many requests at once for this plan; ${wait("until the others have finished")} and try again.`;
    case "rate":
      return `the plan's rate limit is reached; ${wait("a minute")} and try again.`;
    case "overloaded":
      return `Kimi is overloaded; ${wait("a minute")} and try again.`;
    case "server":
      return `Kimi has a server error${status === undefined ? "" : ` (${status})`}; ${wait("a minute")} and try again.`;
    case "gateway":
      return `a proxy or gateway answered in Kimi's place with a server error${status === undefined ? "" : ` (${status})`}; ${wait("a minute")} and try again, then check the proxy.`;
    case "overflow":
      return "this request exceeds the context window of the model; type /compact, or choose a model with a larger one.";
    case "connectTimeout":
      return "connect timeout, Kimi's server cannot be reached; check the network, firewall and proxy, and try again.";
    case "timeout":
      return sayTimeout(seen.patience);
    case "name":
      return "network error, the name of Kimi's server cannot be resolved; check the network and DNS, and KIMI_CODE_BASE_URL if it is set.";
    case "refused":
      return "connection refused by Kimi's server or a proxy; check the proxy settings, and KIMI_CODE_BASE_URL if it is set.";
    case "certificate":
      return "the certificate of Kimi's server, or of a proxy before it, is not trusted; name the proxy's certificate in NODE_EXTRA_CA_CERTS, or set the computer's clock right, and start pi again.";
    case "connection":
      return "connection error, the connection to Kimi broke off; check the network and try again.";
    case "proxy":
      return "a proxy, firewall or login page answered in Kimi's place; check the proxy, the VPN or the network's login page.";
    case "proxyLogin":
      return "the proxy wants a user and password; put them into HTTPS_PROXY and start pi again.";
    case "redirect":
      return "Kimi's address only redirects to another one, which is not followed so that the login stays with Kimi; correct KIMI_CODE_BASE_URL if it is set, else check the proxy, the VPN or the network's login page.";
    case "level":
      return "the model does not take this thinking level; choose a lower one with /thinking.";
    case "model":
      return "Kimi does not offer this model to the account; choose another one with /model.";
    case "address":
      return `Kimi's API is not at ${seen.address ?? "this address"}; correct KIMI_CODE_BASE_URL, which is usually ${REGIONS[seen.region ?? USUAL_REGION].baseUrl}, or unset it, and start pi again.`;
    case "picture":
      return `Kimi cannot read ${lastPicture(seen.sent)}; go back to before it with /tree, or begin anew with /new.`;
    case "noAnswer":
      return "Kimi's answer ended without a word, all of it is thinking; send the prompt again, or choose another thinking level with /thinking.";
    case "allThinking":
      return `all output${tokens(seen.output)} went into thinking, and there is no answer; choose a lower level with /thinking, or ask for less at once.`;
    case "lostCall":
      return "Kimi's answer ended without the tool call that it announced; send the prompt again.";
    case "cutCall":
      return `the limit of the output${tokens(seen.output)} was reached in the middle of a tool call, which was not run; ask for smaller steps.`;
    case "filtered":
      return "Kimi's content filter stopped this; say it in other words, or go on from an earlier message with /tree.";
    case "rejected":
      return `Kimi refused the request${status === undefined ? "" : ` (${status})`}; try another model with /model, or begin anew with /new.`;
    case "unknown":
      return "the request failed; try again, and start pi again if that does not help.";
  }
}

function tokens(output: number | undefined): string {
  return output ? ` (${output.toLocaleString("en-US")} tokens)` : "";
}

/**
 * pi 1.x ends a request that is silent for `httpIdleTimeoutMs`. Until an answer begins, `retry.provider.timeoutMs` counts
 * in its place where it is set, as on pi 0.73.
 */
function sayTimeout(patience: number | undefined): string {
  return patience === undefined
    ? "the request timed out; try again, and check the network if it happens again."
    : `the request timed out, Kimi was silent for ${Math.round(patience / 1000)} s; try again, and if it happens again raise httpIdleTimeoutMs or retry.provider.timeoutMs in pi's settings, or check the network.`;
}

/** The newest picture of the request, for what stood there before was accepted with earlier ones. */
function lastPicture(sent: unknown): string {
  const messages = objectsIn(isJsonObject(sent) ? sent.messages : undefined);
  const at = messages.findLastIndex(({ content }) =>
    objectsIn(content).some(({ type }) => type === "image_url"),
  );
  if (at < 0) return "a picture of this session";
  const before = messages.slice(0, at);
  if (before.at(-1)?.role !== "tool") return "the newest picture of this session (from a message)";
  // pi's adapters put the pictures of all tools of a turn behind the results of all.
  const turn = before.findLast(({ role }) => role === "assistant");
  const calls = objectsIn(turn?.tool_calls).map((call) => call.function);
  const names = new Set(calls.map((spoken) => (isJsonObject(spoken) ? String(spoken.name) : "")));
  return `the newest picture of this session (from the tool ${oneLine([...names].join(" or "), 100)})`;
}
