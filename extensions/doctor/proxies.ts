/** The proxy variables: which are set, and whether a request to a host goes through one. Their values are not shown. */
import type { Environment } from "../configuration.ts";
import { bad, type Check, none, ok } from "./check.ts";

export interface ProxiesSeen {
  readonly env: Environment;
  /** Whether this Node's fetch goes by the variables at all. */
  readonly used: boolean;
}

/** Where requests for a URL go first, or "direct"; "unusable" where the variable is no URL of a proxy. */
export type Route = "direct" | "unusable" | { readonly hostname: string; readonly port: number };

/** As undici's EnvHttpProxyAgent decides it, which both pi hosts install. */
export function routeOf(url: string, { env, used }: ProxiesSeen): Route {
  if (!used) return "direct";
  const { protocol, hostname, port } = new URL(url);
  if (isExempt(env.no_proxy ?? env.NO_PROXY ?? "", hostname, port || usualPort(protocol))) return "direct";
  const http = env.http_proxy ?? env.HTTP_PROXY;
  const proxy = protocol === "https:" ? (env.https_proxy ?? env.HTTPS_PROXY) || http : http;
  if (!proxy) return "direct";
  if (!URL.canParse(proxy)) return "unusable";
  const at = new URL(proxy);
  if (at.protocol !== "http:" && at.protocol !== "https:") return "unusable";
  return { hostname: bare(at.hostname), port: Number(at.port || usualPort(at.protocol)) };
}

function usualPort(protocol: string): string {
  return protocol === "https:" ? "443" : "80";
}

/** Without the brackets of an IPv6 address. */
export function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}

function isExempt(list: string, hostname: string, port: string): boolean {
  return list
    .split(/[,\s]+/)
    .filter(Boolean)
    .some((entry) => {
      if (entry === "*") return true;
      const [, name = entry, only] = /^(.+):(\d+)$/.exec(entry) ?? [];
      if (only !== undefined && only !== port) return false;
      const domain = name.toLowerCase().replace(/^\*?\./, "");
      return hostname === domain || (!/^[\d.]+$/.test(hostname) && hostname.endsWith(`.${domain}`));
    });
}

const NAMES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

/** `urls`: what requests are sent to. `reachable`: whether all of it answered. */
export function checkProxies(seen: ProxiesSeen, urls: readonly string[], reachable: boolean): Check {
  const name = "Proxy variables";
  const { env, used } = seen;
  const set = NAMES.filter((variable) => env[variable] || env[variable.toLowerCase()]);
  const proxies = set.filter((variable) => variable !== "NO_PROXY");
  const list = set.join(", ");
  if (proxies.length === 0) return none(name, set.length === 0 ? "none is set" : "NO_PROXY alone is set");
  if (!used) {
    const says = `${list} set, but this Node does not go by them`;
    const fix = "unset them, or set NODE_USE_ENV_PROXY=1 and use Node 24 or newer";
    return reachable ? none(name, `${says}; the hosts answer without`) : bad(name, says, fix);
  }
  const routes = urls.map((url) => routeOf(url, seen));
  if (routes.includes("unusable")) {
    return bad(name, `${list} set, and what they name is no http(s) proxy`, "correct or unset them");
  }
  const through = routes.filter((route) => route !== "direct").length;
  if (through === 0) return none(name, `${list} set, but requests to these hosts go past the proxy`);
  const how =
    through === routes.length ? "requests go through the proxy" : "some requests go through the proxy";
  return ok(name, `${list} set; ${how}`);
}

/** Whether the fetch of this process goes by the variables: pi installs undici's agent for that, or Node is told to. */
export function usesProxies(env: Environment, nodeVersion: string): boolean {
  const dispatchers = ["undici.globalDispatcher.1", "undici.globalDispatcher.2"].map((key): unknown =>
    Reflect.get(globalThis, Symbol.for(key)),
  );
  const agent = dispatchers.some(
    (one) => typeof one === "object" && one !== null && /EnvHttpProxyAgent/.test(one.constructor.name),
  );
  return agent || (env.NODE_USE_ENV_PROXY === "1" && Number(/^v?(\d+)/.exec(nodeVersion)?.[1]) >= 24);
}
