/** Who the real pi says it is: what each request of a login, a turn and a refresh carries, and what it does not. */
import { expect, test } from "vitest";
import { hosts, type PiHost } from "../support/hosts.ts";
import type { LogEntry } from "../support/kimi-service/index.ts";
import { ourModel } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enterLogin } from "../support/typing.ts";
import { createWorld, type World } from "../support/world.ts";

const VERSION = /\d+\.\d+\.\d+/.source;
const PRINTABLE = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;

/** What an entry says of the client. */
function identityOf({ headers }: LogEntry): Record<string, unknown> {
  const entries = Object.entries(headers).filter(
    ([name]) => name === "user-agent" || name.startsWith("x-msh"),
  );
  return Object.fromEntries(entries);
}

function likeKimiCli(host: PiHost, { home }: World) {
  return {
    "user-agent": expect.stringMatching(
      new RegExp(`^KimiCLI/1\\.5 \\(pi-kimi-coder/${VERSION}; pi/${host.version}\\)$`),
    ),
    "x-msh-platform": "kimi_cli",
    "x-msh-version": "1.5",
    "x-msh-device-name": expect.stringMatching(PRINTABLE),
    "x-msh-device-model": expect.stringMatching(/^(Linux|macOS|Windows) \S+ \S+$/),
    "x-msh-os-version": expect.stringMatching(PRINTABLE),
    "x-msh-device-id": home.read(".kimi/device_id"),
  };
}

function likePi(host: PiHost) {
  return {
    "user-agent": expect.stringMatching(new RegExp(`^pi/${host.version} \\(pi-kimi-coder/${VERSION}\\)$`)),
    "x-msh-platform": "pi",
    "x-msh-version": host.version,
  };
}

/** The list of models is asked for with Authorization alone, as the official clients do. */
function expectPlain({ headers, accessToken }: LogEntry): void {
  expect(accessToken).toMatch(/^at-sim-/);
  expect(Object.keys(headers).filter((name) => name.startsWith("x-"))).toEqual([]);
  expect(headers["user-agent"]).not.toMatch(/kimi|pi\//i);
}

/** A turn with an expired login in a session: a refresh, a chat and the list of models. */
async function takeTurn(host: PiHost, { service, home, env, logInToKimiCli }: World, extra = {}) {
  logInToKimiCli("expired");
  const pi = startRpc(host, home, [...ourModel], env(extra));
  await pi.prompt("hello");
  await service.waitFor(({ kind, finished }) => kind === "models" && finished);
  await pi.close();
  const [refresh] = service.refreshes();
  const [chat] = service.chats();
  const models = service.log.find(({ kind }) => kind === "models");
  if (!refresh || !chat || !models) throw new Error("something was not asked");
  expect(service.refused()).toEqual([]);
  return { refresh, chat, models };
}

test.each(hosts)("pi $name follows kimi-cli's headers where kimi-cli sends them", async (host) => {
  const world = await createWorld();
  const { refresh, chat, models } = await takeTurn(host, world);
  expect(identityOf(refresh)).toEqual(likeKimiCli(host, world));
  expect(identityOf(chat)).toEqual(likeKimiCli(host, world));
  expectPlain(models);
});

test.each(hosts)("pi $name with KIMI_CODER_IDENTITY=pi imitates nobody", async (host) => {
  const world = await createWorld();
  const { refresh, chat, models } = await takeTurn(host, world, { KIMI_CODER_IDENTITY: "pi" });
  expect(identityOf(refresh)).toEqual(likePi(host));
  expect(identityOf(chat)).toEqual(likePi(host));
  expect(JSON.stringify([refresh.headers, chat.headers])).not.toMatch(/kimi[-_]?cli/i);
  expectPlain(models);
  expect(Object.keys(world.home.files())).not.toContain(".kimi/device_id");
});

describeInTmux.each(hosts)("/login on pi $name", (host) => {
  test.each(["kimi-cli", "pi"])("identifies itself as %s from the first request on", async (identity) => {
    const world = await createWorld();
    const { service, home, env } = world;
    service.deviceResponse({ interval: 0.2 });
    const pi = await startTmux(host, home, [], env({ KIMI_CODER_IDENTITY: identity }));
    await enterLogin(pi, host);
    await service.waitFor(({ kind, finished }) => kind === "models" && finished, 20_000);
    await pi.close();
    const api = service.log.filter(({ kind }) => ["models", "usages", "me"].includes(kind));
    const asked = service.log.filter((entry) => !api.includes(entry));
    expect(new Set(asked.map(({ kind }) => kind))).toEqual(new Set(["device_authorization", "device_poll"]));
    const expected = identity === "pi" ? likePi(host) : likeKimiCli(host, world);
    for (const entry of asked) expect(identityOf(entry)).toEqual(expected);
    for (const entry of api) expectPlain(entry);
  });
});
