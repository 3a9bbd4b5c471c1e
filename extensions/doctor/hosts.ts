/** Which hosts matter to this pi, and all that can be told about them. */
import type { Configuration, Environment } from "../configuration.ts";
import { isValid } from "../oauth/token.ts";
import { hostsOf, type Region } from "../region.ts";
import { regionInUse } from "../request-credential.ts";
import { type AskedWith, checkApi, checkAuthorizationServer, checkClock } from "./answers.ts";
import { type Check, none } from "./check.ts";
import type { LoginsSeen } from "./logins.ts";
import { askHost, checkWay, type NetworkProbes } from "./network.ts";
import { hostName } from "./places.ts";
import { checkProxies, type ProxiesSeen, routeOf } from "./proxies.ts";

export interface NetworkParts {
  readonly configuration: Pick<Configuration, "regions" | "refusal">;
  /** The key that requests are sent with, where it is known. */
  readonly key: string | undefined;
}

export interface HostProbes extends NetworkProbes {
  readonly env: Environment;
  readonly usesProxies: boolean;
}

export async function checkNetwork(
  parts: NetworkParts,
  probes: HostProbes,
  seen: LoginsSeen,
): Promise<readonly Check[]> {
  const { configuration, key } = parts;
  const proxies: ProxiesSeen = { env: probes.env, used: probes.usesProxies };
  if (configuration.refusal !== undefined)
    return [none("Network", "not tried: see the configuration variables")];
  const bearer = findBearer(seen, key, regionInUse(seen.credential, configuration.regions));
  const sites = regionsOf(parts, seen).map((region) => hostsOf(configuration.regions, region));
  const urls = sites.flatMap(({ oauthHost, baseUrl }) => [oauthHost, baseUrl]);
  const results = await Promise.all(
    sites.map(async ({ region, oauthHost, baseUrl }) => {
      const own = bearer?.region === region ? bearer : undefined;
      const auth = {
        name: hostName(oauthHost, "oauthHost"),
        url: oauthHost,
        route: routeOf(oauthHost, proxies),
      };
      const api = { name: hostName(baseUrl, "baseUrl"), url: baseUrl, route: routeOf(baseUrl, proxies) };
      const [authWay, apiWay, authAnswer, apiAnswer] = await Promise.all([
        checkWay(probes, auth),
        checkWay(probes, api),
        askHost(probes, `${oauthHost}/`, undefined),
        askHost(probes, `${baseUrl}/models`, own?.token),
      ]);
      const answers = [
        unlessClosed(authWay, checkAuthorizationServer(auth.name, authAnswer)),
        unlessClosed(apiWay, checkApi(api.name, apiAnswer, own?.kind ?? "nothing")),
      ];
      return { checks: [authWay, apiWay, ...answers], answers: [apiAnswer, authAnswer] };
    }),
  );
  const checks = results.flatMap((result) => result.checks);
  const reachable = checks.every(({ state }) => state !== "bad");
  return [
    ...checks,
    checkClock(results.flatMap(({ answers }) => answers)),
    checkProxies(proxies, urls, reachable),
  ];
}

/** One reason is told once: where there is no way to a host, its silence is none of its own. */
function unlessClosed(way: Check, answer: Check): Check {
  return way.state === "bad" && answer.state === "bad"
    ? none(answer.name, "no way to it, see above")
    : answer;
}

/** The one a key goes to; else where there is a login; where there is none, the one that is meant then. */
function regionsOf({ configuration }: NetworkParts, { looks, credential }: LoginsSeen): readonly Region[] {
  const first = regionInUse(credential, configuration.regions);
  if (credential.kind === "key") return [first];
  const there = looks.filter(({ found }) => found.state !== "absent");
  const regions = new Set(there.map(({ store }) => store.region));
  return regions.size === 0 ? [first] : [...regions];
}

interface AskingBearer {
  readonly kind: AskedWith;
  readonly token: string;
  readonly region: Region;
}

/** What the list of models may be asked for with: it goes to the hosts of its region alone. */
function findBearer(
  { credential, now }: LoginsSeen,
  key: string | undefined,
  region: Region,
): AskingBearer | undefined {
  if (credential.kind === "key") return key === undefined ? undefined : { kind: "key", token: key, region };
  const { choice } = credential;
  if (choice.state !== "use" || !isValid(choice.token, now)) return undefined;
  return { kind: "login", token: choice.token.accessToken, region };
}
