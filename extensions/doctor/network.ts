/**
 * The hosts of the account in use, each asked one question as requests ask it, through whatever proxy: whether it is
 * reached, works, takes the login, and agrees about the time.
 */
import type { Configuration, Environment } from "../configuration.ts";
import { networkCode, withinTime } from "../lib/http.ts";
import { sayDuration } from "../lib/waiting-time.ts";
import type { AccountInUse } from "./logins.ts";
import { displayCode, displayHost } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

export interface NetworkProbes {
  readonly fetch: typeof fetch;
  /** ms since the epoch. */
  readonly now: () => number;
  readonly env: Environment;
}

/** Asks at once. */
export function networkChecks(
  { refusal }: Pick<Configuration, "refusal">,
  { hosts: { baseUrl, oauthHost }, bearer }: AccountInUse,
  probes: NetworkProbes,
): readonly Check[] {
  if (refusal !== undefined) {
    return [{ name: "Network", check: () => none("not tried: see the configuration variables") }];
  }
  const ofApi = askHost(probes, `${baseUrl}/models`, bearer?.token);
  const ofServer = askHost(probes, `${oauthHost}/`, undefined);
  return [
    {
      name: `API at ${displayHost(baseUrl, "baseUrl")}`,
      check: async () => judgeApi(await ofApi, bearer?.kind),
    },
    {
      name: `Authorization server at ${displayHost(oauthHost, "oauthHost")}`,
      check: async () => judgeAuthorizationServer(await ofServer),
    },
    { name: "Clock", check: async () => judgeClock([await ofApi, await ofServer]) },
    { name: "Proxy variables", check: () => checkProxies(probes.env) },
  ];
}

/** What a GET brought back. `skew`: the server's clock less ours, ms. */
export type Answer =
  | { readonly state: "answered"; readonly status: number; readonly skew: number | undefined }
  | { readonly state: "lost"; readonly code: string };

/** ms */
const LIMIT = 5_000;

/** One GET, no redirect followed, nothing of its body read. `bearer` goes nowhere but there. Never throws. */
export async function askHost(
  probes: Pick<NetworkProbes, "fetch" | "now">,
  url: string,
  bearer: string | undefined,
  limit = LIMIT,
): Promise<Answer> {
  const headers: Record<string, string> = bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` };
  try {
    return await withinTime(limit, undefined, async (signal) => {
      const {
        status,
        headers: said,
        body,
      } = await probes.fetch(url, { headers, redirect: "manual", signal });
      const date = Date.parse(said.get("date") ?? "none");
      void body?.cancel().catch(() => {});
      return { state: "answered", status, skew: Number.isNaN(date) ? undefined : date - probes.now() };
    });
  } catch (error) {
    return { state: "lost", code: displayCode(networkCode(error)) };
  }
}

const TRY_LATER = "try again later";

/** `asked`: with what; undefined = with nothing. */
function judgeApi(answer: Answer, asked: "login" | "key" | undefined): Finding {
  if (answer.state === "lost") return judgeLost(answer.code);
  const { status } = answer;
  switch (status) {
    case 200:
      return ok(asked === undefined ? "answers" : `answers, and takes the ${asked}`);
    case 401:
      if (asked === undefined) return ok("answers, and asks for a login");
      return asked === "key"
        ? bad("does not take the API key (401)", "correct the key, or remove it to use a login")
        : bad(
            "does not take the access token (401)",
            "send a request, which renews it; else /login kimi-coder",
          );
    case 402:
      return bad("says that the account has no membership (402)", "renew the plan at Kimi");
    case 403:
      return bad(
        "refuses this account (403)",
        "type /kimi usage: a quota may be used up, or the account stopped",
      );
    case 404:
      return bad("is not Kimi's (404)", "correct or unset KIMI_CODE_BASE_URL");
  }
  if (status >= 300 && status < 400) {
    const fix = "correct KIMI_CODE_BASE_URL, or log in to the network or proxy you are on";
    return bad(`redirects to another address (${status})`, fix);
  }
  return bad(`answers with status ${status}`, TRY_LATER);
}

/** Its front page may be anything, and elsewhere. */
function judgeAuthorizationServer(answer: Answer): Finding {
  if (answer.state === "lost") return judgeLost(answer.code);
  return answer.status >= 500 ? bad(`answers with status ${answer.status}`, TRY_LATER) : ok("answers");
}

const ONLINE = "check that you are online, and that no firewall, VPN or proxy stands in the way";

/** By what can be done about it; the code says more to those who know it. */
function judgeLost(code: string): Finding {
  if (/^(?:ENOTFOUND|EAI_|ENODATA)/.test(code)) {
    return bad(`DNS: the name cannot be resolved (${code})`, `${ONLINE}; check your DNS server`);
  }
  if (/CERT|SIGNATURE|ISSUER/.test(code)) {
    return bad(
      `TLS: its certificate is not accepted (${code})`,
      "check the clock; where a proxy or virus scanner puts in its own certificate, name it in NODE_EXTRA_CA_CERTS",
    );
  }
  return bad(`it cannot be reached (${code})`, ONLINE);
}

/** Allowed difference between our clock and the server's, in ms: beyond it an ended token may look valid. */
const MOST_SKEW = 60_000;

function judgeClock(answers: readonly Answer[]): Finding {
  const [skew] = answers.flatMap((answer) =>
    answer.state === "answered" && answer.skew !== undefined ? [answer.skew] : [],
  );
  if (skew === undefined) return none("no server has said what time it is");
  if (Math.abs(skew) <= MOST_SKEW) return ok("agrees with the server's");
  return bad(
    `${sayDuration(Math.abs(skew))} ${skew > 0 ? "behind" : "ahead of"} the server's`,
    "let this machine set its clock by the network (NTP)",
  );
}

/** Which of the variables that pi goes by are set; their values are not shown. */
export function checkProxies(env: Environment): Finding {
  const variable = (name: string) => env[name.toLowerCase()] || env[name];
  const proxies = ["HTTPS_PROXY", "HTTP_PROXY"].filter(variable);
  if (proxies.length === 0) return none("none is set");
  const wrong = proxies.filter((name) => !/^https?:\/\//i.test(`${variable(name)}`));
  if (wrong.length > 0) return bad(`${wrong.join(" and ")} names no http(s) proxy`, "correct or unset it");
  const set = variable("NO_PROXY") ? [...proxies, "NO_PROXY"] : proxies;
  return ok(`${set.join(", ")} set; requests go by them`);
}
