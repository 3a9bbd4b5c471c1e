/**
 * The hosts that matter to this pi, each asked one question as requests ask it, through whatever proxy: whether it is
 * reached, works, takes the login, and agrees about the time.
 */
import type { Configuration, Environment } from "../configuration.ts";
import { networkCode } from "../lib/http.ts";
import { sayDuration } from "../lib/waiting-time.ts";
import { hostsOf } from "../region.ts";
import type { AccountInUse } from "./logins.ts";
import { displayCode, displayHost } from "./names.ts";
import { bad, type Check, type Finding, none, ok } from "./report.ts";

export interface NetworkProbes {
  readonly fetch: typeof fetch;
  /** ms since the epoch. */
  readonly now: () => number;
  readonly env: Environment;
  /** Whether the fetch of this process goes by the proxy variables. */
  readonly usesProxies: boolean;
}

/** Asks at once. */
export function networkChecks(
  { refusal, regions }: Pick<Configuration, "refusal" | "regions">,
  account: AccountInUse,
  probes: NetworkProbes,
): readonly Check[] {
  if (refusal !== undefined) {
    return [{ name: "Network", check: () => none("not tried: see the configuration variables") }];
  }
  const sites = account.regions.map((region) => {
    const { oauthHost, baseUrl } = hostsOf(regions, region);
    // A token of one region goes to no other's hosts.
    const bearer = account.region === region ? account.bearer : undefined;
    return {
      oauthHost: displayHost(oauthHost, "oauthHost"),
      api: displayHost(baseUrl, "baseUrl"),
      asked: bearer?.kind ?? "nothing",
      ofServer: askHost(probes, `${oauthHost}/`, undefined),
      ofApi: askHost(probes, `${baseUrl}/models`, bearer?.token),
    } as const;
  });
  const answers = Promise.all(sites.flatMap(({ ofApi, ofServer }) => [ofApi, ofServer]));
  return [
    ...sites.flatMap(({ oauthHost, api, asked, ofServer, ofApi }): Check[] => [
      { name: `API at ${api}`, check: async () => judgeApi(await ofApi, asked) },
      {
        name: `Authorization server at ${oauthHost}`,
        check: async () => judgeAuthorizationServer(await ofServer),
      },
    ]),
    { name: "Clock", check: async () => judgeClock(await answers) },
    {
      name: "Proxy variables",
      check: async () =>
        checkProxies(
          probes,
          (await answers).every(({ state }) => state === "answered"),
        ),
    },
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
  const signal = AbortSignal.timeout(limit);
  try {
    const headers: Record<string, string> = bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` };
    const response = await within(probes.fetch(url, { headers, redirect: "manual", signal }), signal);
    const date = Date.parse(response.headers.get("date") ?? "none");
    const skew = Number.isNaN(date) ? undefined : date - probes.now();
    void response.body?.cancel().catch(() => {});
    return { state: "answered", status: response.status, skew };
  } catch (error) {
    return { state: "lost", code: displayCode(networkCode(error)) };
  }
}

/** Rejects when `signal` fires: a name is looked up for as long as the system likes. */
function within<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}

const TRY_LATER = "try again later";

function judgeApi(answer: Answer, asked: "login" | "key" | "nothing"): Finding {
  if (answer.state === "lost") return judgeLost(answer.code);
  const { status } = answer;
  switch (status) {
    case 200:
      return ok(asked === "nothing" ? "answers" : `answers, and takes the ${asked}`);
    case 401:
      if (asked === "nothing") return ok("answers, and asks for a login");
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
    case 429:
      return bad("has too many requests (429)", TRY_LATER);
  }
  if (status >= 300 && status < 400) {
    const fix = "correct KIMI_CODE_BASE_URL, or log in to the network or proxy you are on";
    return bad(`redirects to another address (${status})`, fix);
  }
  return status >= 500 ? judgeBroken(status) : bad(`answers with status ${status}`, TRY_LATER);
}

/** Its front page may be anything, and elsewhere. */
function judgeAuthorizationServer(answer: Answer): Finding {
  if (answer.state === "lost") return judgeLost(answer.code);
  return answer.status >= 500 ? judgeBroken(answer.status) : ok("answers");
}

function judgeBroken(status: number): Finding {
  return bad(`has an error of its own (${status})`, TRY_LATER);
}

const ONLINE = "check that you are online, and that no firewall, VPN or proxy stands in the way";

/** How far the request came: the name, the connection, TLS. */
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
  if (/SSL|TLS|EPROTO/.test(code)) return bad(`TLS: no secure connection (${code})`, ONLINE);
  if (/^(?:ECONN|EHOST|ENET|EADDR)|REFUSED|CONNECT_TIMEOUT/i.test(code)) {
    return bad(`TCP: it cannot be reached (${code})`, ONLINE);
  }
  if (code === "ETIMEDOUT") return bad(`no answer within ${LIMIT / 1000} s (ETIMEDOUT)`, ONLINE);
  return bad(`no answer (${code})`, ONLINE);
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

/** Which of the variables are set; their values are not shown. `reachable`: whether all hosts have answered. */
export function checkProxies(
  { env, usesProxies }: Pick<NetworkProbes, "env" | "usesProxies">,
  reachable: boolean,
): Finding {
  const variable = (name: string) => env[name.toLowerCase()] || env[name];
  const proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].filter(variable);
  const exempt = variable("NO_PROXY") ? ["NO_PROXY"] : [];
  if (proxies.length === 0) return none(exempt.length === 0 ? "none is set" : "NO_PROXY alone is set");
  const set = `${[...proxies, ...exempt].join(", ")} set`;
  if (!usesProxies) {
    const says = `${set}, but this Node does not go by them`;
    const fix = "unset them, or set NODE_USE_ENV_PROXY=1 and use Node 24 or newer";
    return reachable ? none(`${says}; the hosts answer without`) : bad(says, fix);
  }
  const wrong = proxies.filter((name) => !/^https?:\/\//i.test(`${variable(name)}`));
  return wrong.length === 0
    ? ok(`${set}; requests go by them`)
    : bad(`${wrong.join(" and ")} names no http(s) proxy`, "correct or unset it");
}

/**
 * Whether the fetch of this process goes by the variables: pi installs undici's agent for that, Node is told to, or
 * the runtime is Bun, which always does.
 */
export function goesByProxies(env: Environment, versions: NodeJS.Dict<string>): boolean {
  const dispatchers = ["undici.globalDispatcher.1", "undici.globalDispatcher.2"].map((key): unknown =>
    Reflect.get(globalThis, Symbol.for(key)),
  );
  const agent = dispatchers.some(
    (one) => typeof one === "object" && one !== null && /EnvHttpProxyAgent/.test(one.constructor.name),
  );
  const told = env.NODE_USE_ENV_PROXY === "1" && Number(versions.node?.split(".")[0]) >= 24;
  return agent || told || versions.bun !== undefined;
}
