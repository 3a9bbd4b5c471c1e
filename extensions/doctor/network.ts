/** The way to each host, stage by stage: its name, the connection, TLS, and whether what answers there is Kimi. */
import { lookup } from "node:dns/promises";
import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import { networkCode } from "../oauth/http.ts";
import { bad, type Check, knownCode, none, ok } from "./check.ts";
import { bare, type Route } from "./proxies.ts";

export interface NetworkProbes {
  /** Each resolves when it has succeeded, and rejects with Node's error; none outlives `signal`. */
  readonly dns: (hostname: string) => Promise<unknown>;
  readonly tcp: (hostname: string, port: number, signal: AbortSignal) => Promise<void>;
  readonly tls: (hostname: string, port: number, signal: AbortSignal) => Promise<void>;
  readonly fetch: typeof fetch;
  /** ms since the epoch. */
  readonly now: () => number;
}

export interface Host {
  /** As it may be shown. */
  readonly name: string;
  readonly url: string;
  readonly route: Route;
}

/** For each way, and each question, ms. */
export const LIMIT = 5_000;

const NETWORK_FIX = "check that you are online, and that no firewall or VPN stands in the way";

/** Never takes longer than `limit` ms. */
export async function checkWay(probes: NetworkProbes, host: Host, limit = LIMIT): Promise<Check> {
  const name = `Way to ${host.name}`;
  if (host.route === "unusable") return none(name, "not tried: the proxy variables name no proxy");
  const proxied = host.route !== "direct";
  const { protocol, hostname, port } = new URL(host.url);
  const secure = protocol === "https:";
  const to = proxied ? host.route : { hostname: bare(hostname), port: Number(port || (secure ? 443 : 80)) };
  const whose = proxied ? "the proxy's" : "its";
  const signal = AbortSignal.timeout(limit);
  const stage = async (work: () => Promise<unknown>) => failureOf(within(work, signal));

  const unnamed = isIP(to.hostname) === 0 ? await stage(() => probes.dns(to.hostname)) : undefined;
  if (unnamed !== undefined) {
    return bad(
      name,
      `DNS: ${whose} name cannot be resolved (${unnamed})`,
      `${NETWORK_FIX}; check your DNS server`,
    );
  }
  const closed = await stage(() => probes.tcp(to.hostname, to.port, signal));
  if (closed !== undefined) return bad(name, `TCP: ${whose} port cannot be reached (${closed})`, NETWORK_FIX);
  if (proxied) return ok(name, "DNS and TCP to the proxy work; the rest is the proxy's");
  if (!secure) return ok(name, "DNS and TCP work; plain http, no TLS");
  const insecure = await stage(() => probes.tls(to.hostname, to.port, signal));
  if (insecure === undefined) return ok(name, "DNS, TCP and TLS work");
  const fix = /CERT|SIGNATURE|ISSUER/.test(insecure)
    ? "check the clock; where a proxy or virus scanner puts in its own certificate, name it in NODE_EXTRA_CA_CERTS"
    : NETWORK_FIX;
  return bad(name, `TLS: no secure connection (${insecure})`, fix);
}

/** What an unauthenticated or authenticated GET brought back. */
export type Answer =
  | { readonly state: "answered"; readonly status: number; readonly skew: number | undefined }
  | { readonly state: "lost"; readonly code: string };

/** One GET, no redirect followed, nothing of its body read. `bearer` goes nowhere but there. Never throws. */
export async function askHost(
  probes: NetworkProbes,
  url: string,
  bearer: string | undefined,
  limit = LIMIT,
): Promise<Answer> {
  const signal = AbortSignal.timeout(limit);
  try {
    const response = await within(
      () =>
        probes.fetch(url, {
          headers: bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` },
          redirect: "manual",
          signal,
        }),
      signal,
    );
    const { status } = response;
    const date = Date.parse(response.headers.get("date") ?? "none");
    const skew = Number.isNaN(date) ? undefined : date - probes.now();
    void response.body?.cancel().catch(() => {});
    return { state: "answered", status, skew };
  } catch (error) {
    return { state: "lost", code: knownCode(networkCode(error)) };
  }
}

/** Rejects when `signal` fires, whatever the work does: a name is looked up for as long as the system likes. */
function within<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(Object.assign(new Error("too late"), { code: "ETIMEDOUT" }));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    work().then(resolve, reject);
  });
}

async function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return knownCode(networkCode(error));
  }
}

export const realNetwork: NetworkProbes = {
  dns: (hostname) => lookup(hostname),
  tcp: (host, port, signal) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port, signal });
      socket.once("error", reject);
      socket.once("connect", () => {
        resolve();
        socket.destroy();
      });
    }),
  tls: (host, port, signal) =>
    new Promise((resolve, reject) => {
      const servername = isIP(host) === 0 ? { servername: host } : {};
      const socket = connectTls({ host, port, ...servername });
      const stop = () => socket.destroy(new Error("too late"));
      signal.addEventListener("abort", stop, { once: true });
      socket.once("error", reject);
      socket.once("secureConnect", () => {
        signal.removeEventListener("abort", stop);
        resolve();
        socket.destroy();
      });
    }),
  fetch: (input, init) => fetch(input, init),
  now: Date.now,
};
