/**
 * Both of Kimi's regions under their real names, on loopback: a proxy (HTTPS_PROXY) that leads auth.kimi.com and
 * api.kimi.com to one simulated service and auth.kimi.ai and api.kimi.ai to another, and nothing anywhere else.
 */
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { onTestFinished } from "vitest";
import { createHome, type Home } from "./home.ts";
import { type KimiService, startKimiService } from "./kimi-service/index.ts";
import { listen } from "./loopback.ts";

interface TwoRegions {
  readonly home: Home;
  readonly com: KimiService;
  readonly ai: KimiService;
  /** Names that something wanted to connect to, in order. */
  readonly connections: readonly string[];
  /** The variables that lead programs there, plus `extra`. */
  env(extra?: Readonly<Record<string, string>>): { readonly env: Record<string, string> };
}

export async function createTwoRegions(): Promise<TwoRegions> {
  const [com, ai] = await Promise.all([startKimiService(), startKimiService()]);
  const home = createHome();
  const services: Record<string, KimiService> = {
    "auth.kimi.com:443": com,
    "api.kimi.com:443": com,
    "auth.kimi.ai:443": ai,
    "api.kimi.ai:443": ai,
  };
  const connections: string[] = [];
  const sockets = new Set<Duplex>();
  const keep = <S extends Duplex>(socket: S): S => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).once("close", () => sockets.delete(socket));
    return socket;
  };
  const proxy = createServer((_request, response) => response.writeHead(502).end());
  proxy.on("connection", (socket: Socket) => keep(socket));
  proxy.on("connect", ({ url = "" }, socket: Socket) => {
    connections.push(url);
    const service = services[url];
    if (!service) {
      socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
      return;
    }
    socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
    const plain = keep(new TLSSocket(socket, { isServer: true, key: KEY, cert: CERTIFICATE }));
    const upstream = keep(connect(Number(new URL(service.url).port), "127.0.0.1"));
    plain.pipe(upstream).pipe(plain);
  });
  const url = `http://127.0.0.1:${await listen(proxy)}`;
  onTestFinished(async () => {
    home.remove();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
    await Promise.all([com.close(), ai.close()]);
  });

  home.write("ca.pem", CERTIFICATE);
  return {
    home,
    com,
    ai,
    connections,
    env: (extra = {}) => ({
      env: {
        HTTPS_PROXY: url,
        https_proxy: url,
        NODE_EXTRA_CA_CERTS: `${home.path}/ca.pem`,
        ...extra,
      },
    }),
  };
}

/** Good for those four names on this machine and for nothing else; made for these tests, secret to nobody. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIB1TCCAXqgAwIBAgIUIIK347VlD19FuwtBBPMlGx5BLr4wCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRbG9vcGJhY2sgc3RhbmQtaW4wIBcNMjYxMTIxMDk1MDUzWhgP
MjEyNjEwMjgwOTUwNTNaMBwxGjAYBgNVBAMMEWxvb3BiYWNrIHN0YW5kLWluMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExVsi8GtJr4WIQv5/Hv4nnSv3lRd2IO5C
WJEeyEqc2kmIGDcYU9NzFUGscIYLL3WhfW1efg+OA9Y13J7V4lOug6OBlzCBlDAd
BgNVHQ4EFgQU9xelWYJdY8jCb96eVz2GMmvV6CowHwYDVR0jBBgwFoAU9xelWYJd
Y8jCb96eVz2GMmvV6CowDwYDVR0TAQH/BAUwAwEB/zBBBgNVHREEOjA4gg1hdXRo
LmtpbWkuY29tggxhcGkua2ltaS5jb22CDGF1dGgua2ltaS5haYILYXBpLmtpbWku
YWkwCgYIKoZIzj0EAwIDSQAwRgIhAO6hm/72dTuS4gBhqQ/o2rbb0AQ1beGDywrj
aqQbVcJGAiEAlhlbTyITWGp0siW7LTXAFBdTXUBhN0d4QoPtqWV3MH8=
-----END CERTIFICATE-----
`;
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWjaaDPgka5S27PQN
WWcU5KTWcLX0XbuCOywqI/4RfbahRANCAATFWyLwa0mvhYhC/n8e/iedK/eVF3Yg
7kJYkR7ISpzaSYgYNxhT03MVQaxwhgsvdaF9bV5+D44D1jXcntXiU66D
-----END PRIVATE KEY-----
`;
