/** What a user reads when a request fails: one sentence with the cause and the next action, then the server's words. */

import { planPage, USUAL_REGION } from "../region.ts";
import { oneLine, withoutTokens } from "../server-text.ts";
import { readAdapterText } from "./adapter-text.ts";
import { classify, type ErrorClass, reactionTo, type Seen } from "./classify.ts";
import { withoutOtherReactions } from "./host-words.ts";
import { sayTime, waitUntil } from "./waiting-time.ts";

export { classifyError, type ErrorClass, type Seen } from "./classify.ts";

/** Of the server's own words, in characters. */
const LONGEST_QUOTE = 300;

/**
 * The sentence for the text with which pi's adapter (of either host) reported an error. The words are chosen so that pi
 * repeats what is transient, compacts what is too long, and shows the rest at once. Never throws; one printable line,
 * without tokens.
 */
export function explainError(text: string, now: Date, seen: Seen = {}): string {
  const error = readAdapterText(text);
  const kind = classify(error, seen);
  const at = waitUntil(error.message, now, error.retryAfter ?? seen.retryAfter);
  const sentence = say(kind, {
    until: at === undefined ? undefined : sayTime(at, now),
    key: seen.key === true,
    status: error.status,
    plan: planPage(seen.region ?? USUAL_REGION),
  });
  const quote = readable(UNANSWERED.has(kind) ? systemName(seen.code) : error.message, kind);
  return quote === ""
    ? `Kimi Coder: ${sentence}`
    : `Kimi Coder: ${sentence} (${SPEAKER[kind] ?? "Kimi"}: ${quote})`;
}

/** Whether the same request may succeed later without anybody doing anything. Never throws. */
export function isTransient(text: string, seen: Seen = {}): boolean {
  return reactionTo(classify(readAdapterText(text), seen)) === "retry";
}

function readable(message: string, kind: ErrorClass): string {
  // A stack trace is for nobody.
  const [spoken = ""] = message.split(/\n[^\S\n]+at\s/);
  const clean = oneLine(withoutTokens(oneLine(spoken, 2_000)), LONGEST_QUOTE);
  return withoutOtherReactions(clean, reactionTo(kind));
}

/** The adapter's words add nothing where nobody answered; the system's name for it does. */
const UNANSWERED: ReadonlySet<ErrorClass> = new Set([
  "name",
  "refused",
  "connectTimeout",
  "timeout",
  "certificate",
  "connection",
]);

function systemName(code: string | undefined): string {
  return code !== undefined && /^[A-Z0-9_]{1,50}$/.test(code) ? code : "";
}

const SPEAKER: Partial<Record<ErrorClass, string>> = {
  name: "the system",
  refused: "the system",
  connectTimeout: "the system",
  timeout: "the system",
  certificate: "the system",
  proxy: "the page",
  proxyLogin: "the proxy",
  redirect: "the page",
  gateway: "the page",
  connection: "the system",
  unknown: "pi",
};

interface Circumstances {
  /** When waiting ends. */
  readonly until: string | undefined;
  readonly key: boolean;
  readonly status: number | undefined;
  /** The plan's page. */
  readonly plan: string;
}

function say(kind: ErrorClass, { until, key, status, plan }: Circumstances): string {
  const wait = (otherwise: string) => `wait ${until === undefined ? otherwise : `until ${until}`}`;
  switch (kind) {
    case "login":
      return key
        ? "Kimi does not accept the API key; correct KIMI_CODER_API_KEY or --api-key, or remove it and type /login kimi-coder."
        : "Kimi does not accept the login any more; type /login kimi-coder to log in again.";
    case "membership":
      return `this account has no active Kimi membership; renew the plan at ${plan}.`;
    case "identity":
      return "Kimi does not admit the identity this client sends; set KIMI_CODER_IDENTITY=pi, or unset it if it is set, and start pi again.";
    case "suspended":
      return `Kimi has suspended this account; read Kimi's community guidelines and write to its support, or type /login kimi-coder to use another account.`;
    case "weekly":
      return `the plan's weekly limit is used up; ${wait("until the week renews")}, or choose a larger plan at ${plan}.`;
    case "fiveHours":
      return `the plan's limit for 5 hours is used up; ${wait("until it renews")}, or choose a larger plan at ${plan}.`;
    case "cycle":
      return `the plan's limit for this billing cycle is used up; ${wait("until it renews")}, or choose a larger plan at ${plan}.`;
    case "quota":
      return `the plan's quota is used up; ${wait("until it renews")}, or renew the plan at ${plan}.`;
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
      return "the request timed out; try again, and check the network if it happens again.";
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
    case "filtered":
      return "Kimi's content filter stopped this; say it in other words, or go on from an earlier message with /tree.";
    case "rejected":
      return `Kimi refused the request${status === undefined ? "" : ` (${status})`}; try another model with /model, or begin anew with /new.`;
    case "unknown":
      return "the request failed; try again, and start pi again if that does not help.";
  }
}
