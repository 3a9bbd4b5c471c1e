/** Many real pi on one account whose limit is two requests at once. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, type PiHost } from "../support/hosts.ts";
import { refusals } from "../support/kimi-service/index.ts";
import { ourModel, printPi, startPrintPi } from "../support/pi.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { eventually } from "../support/waiting.ts";
import { createLoggedInWorld, type World } from "../support/world.ts";

const LIMIT = 2;

async function narrowWorld(): Promise<World> {
  const world = await createLoggedInWorld();
  world.service.setParallelLimit(LIMIT);
  return world;
}

/**
 * Prompts pi once in each of `environments` at the same time, and expects every answer, the first of which come when it
 * `isTime`; what all wrote to stderr.
 */
async function answered(
  world: World,
  host: PiHost,
  environments: readonly Record<string, string>[],
  isTime: () => boolean,
) {
  const release = world.service.hold({ path: "chat", times: environments.length });
  const prompts = environments.map((_, index) => `worker ${index}`);
  const answers = Promise.all(
    prompts.map((prompt, index) => printPi(host, world.home, [prompt], world.env(environments[index]))),
  );
  await eventually(
    () => isTime() || undefined,
    () => `chats ${world.service.chats().length}, requests ${requests(world).length}`,
    100_000,
  );
  release();
  const runs = await answers;
  expect(runs.map(({ stdout, stderr }) => stdout || stderr)).toEqual(
    prompts.map((prompt) => `You said: ${prompt}\n`),
  );
  return runs.map(({ stderr }) => stderr).join("");
}

/** The files of the requests. */
function requests({ home }: World): string[] {
  const folder = join(home.path, ".local", "state", "kimi-coder-requests");
  try {
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
    return names.filter((name) => name.includes("request-")).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

describe.each(hosts)("workers on pi $name", (host) => {
  test("stay within the limit that is set, whichever folder each has, and write nothing under ~/.pi", async () => {
    const world = await narrowWorld();
    const { service, home } = world;
    const folders = Array.from({ length: 4 }, (_, index) => join(home.path, `agent-${index}`));
    const environments = folders.map((folder) => ({
      KIMI_CODER_PARALLEL: `${LIMIT}`,
      PI_CODING_AGENT_DIR: folder,
    }));
    // The file of one that waits has a byte in it.
    const waits = (file: string) => statSync(file, { throwIfNoEntry: false })?.size === 1;
    const areWaiting = () => requests(world).filter(waits).length === environments.length - LIMIT;
    const isTime = () => service.chats().length > LIMIT || (service.chats().length === LIMIT && areWaiting());
    expect(await answered(world, host, environments, isTime)).toBe("");
    expect(service.refused()).toEqual([]);
    expect(service.chats()).toHaveLength(environments.length);
    expect(service.mostChatsAtOnce()).toBe(LIMIT);
    expect(requests(world)).toEqual([]);
    expect(existsSync(join(home.path, ".pi"))).toBe(false);
  });

  test("learn a limit that nobody knows, and all get their answers", async () => {
    const world = await narrowWorld();
    const { service } = world;
    await answered(world, host, [{}, {}, {}, {}], () => service.refused().length > 0);
    expect(service.mostChatsAtOnce()).toBe(LIMIT);
    expect(requests(world)).toEqual([]);
  });
});

describe.each(hosts)("a pi $name that waits for a place", (host) => {
  test("learns the limit from the figures of the plan, and goes on at once when the holder is killed", async () => {
    const world = await createLoggedInWorld();
    const { service, home } = world;
    service.setParallelLimit(1);
    service.setUsages({ parallel: { limit: "1" } });
    // It keeps what it has asked for, for all.
    await printPi(host, home, ["/kimi usage"], world.env());
    expect(home.files()).toHaveProperty([".pi/agent/kimi-coder-usage.json"]);
    service.fault({ path: "chat", do: { stallStream: 2 } });
    const holder = startPrintPi(host, home, ["first"], world.env());
    await service.waitFor(({ kind, status }) => kind === "chat" && status === 200);
    const waiter = printPi(host, home, ["second"], world.env());
    await eventually(
      () => (requests(world).length === 2 ? true : undefined),
      () => requests(world).join("\n"),
    );
    expect(service.chats()).toHaveLength(1);
    holder.kill("SIGKILL");
    const killedAt = Date.now();
    await service.waitFor(({ body }) => JSON.stringify(body)?.includes("second") === true);
    expect(Date.now() - killedAt).toBeLessThan(10_000);
    expect((await waiter).stdout.trim()).toBe("You said: second");
    expect(service.refused()).toEqual([]);
    expect(requests(world)).toEqual([]);
  });
});

describe.each(hosts)("a 429 with retry-after on pi $name", (host) => {
  test("is waited for by the others too", async () => {
    const world = await createLoggedInWorld();
    const { service, home } = world;
    service.fault({ path: "chat", do: refusals.rateLimited(5) });
    const first = printPi(host, home, ["first"], world.env());
    const { at } = await service.waitFor(({ kind, status }) => kind === "chat" && status === 429);
    const second = printPi(host, home, ["second"], world.env());
    expect((await first).stdout.trim()).toBe("You said: first");
    expect((await second).stdout.trim()).toBe("You said: second");
    const [, ...later] = service.chats();
    expect(later.map((chat) => chat.at - at >= 5_000)).toEqual([true, true]);
  });
});

describeInTmux.each(hosts)("the screen of pi $name", (host) => {
  test("says that a request waits, in the status file too, and Esc ends that at once", async () => {
    const world = await createLoggedInWorld();
    const { service, home } = world;
    const surroundings = world.env({ KIMI_CODER_PARALLEL: "1" });
    service.fault({ path: "chat", do: { stallStream: 2 } });
    const holder = startPrintPi(host, home, ["first"], surroundings);
    await service.waitFor(({ kind, status }) => kind === "chat" && status === 200);
    const status = join(home.work, "status.json");
    const limited = { KIMI_CODER_PARALLEL: "1", KIMI_CODER_STATUS_FILE: status };
    const pi = await startTmux(host, home, ourModel, world.env(limited));
    await enter(pi, "second");
    await pi.waitFor("waits for other requests of this account, number 1 in line");
    const { waiting } = JSON.parse(readFileSync(status, "utf8"));
    expect(waiting).toMatchObject({ note: expect.stringContaining("number 1 in line") });
    await pi.key("Escape");
    await pi.waitFor((screen) => /abort/i.test(screen) && !screen.includes("waits for other requests"));
    expect(service.chats()).toHaveLength(1);
    expect(requests(world)).toHaveLength(1);
    holder.kill("SIGKILL");
    await pi.submit("third");
    await pi.waitFor("You said: third");
  });
});
