/** Many real pi on one account whose limit is three requests at once. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hosts, type PiHost } from "../support/hosts.ts";
import { refusals } from "../support/kimi-service/index.ts";
import { ourModel, piArguments, piSurroundings, printPi, runPi } from "../support/pi.ts";
import { start } from "../support/processes.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { enter } from "../support/typing.ts";
import { eventually } from "../support/waiting.ts";
import { createWorld, type World } from "../support/world.ts";

const LIMIT = 3;
const WORKERS = 8;

async function narrowWorld(): Promise<World> {
  const world = await createWorld();
  world.logInToKimiCli();
  world.service.setParallelLimit(LIMIT);
  return world;
}

/** Every answer takes so many ms, in which its request counts. */
function slowAnswers({ service }: World, ms: number): void {
  service.fault({ path: "chat", times: 1_000, do: { delay: ms } });
}

async function workers({ home }: World, host: PiHost, surroundings: { env: Record<string, string> }) {
  const prompts = Array.from({ length: WORKERS }, (_, index) => `worker ${index}`);
  const runs = await Promise.all(
    prompts.map((prompt) => printPi(host, home, [prompt], { ...surroundings, timeoutMs: 100_000 })),
  );
  return {
    answers: runs.map(({ stdout }) => stdout.trim()),
    expected: prompts.map((prompt) => `You said: ${prompt}`),
    errors: runs.map(({ stderr }) => stderr).join(""),
  };
}

/** The names in the folders of the requests. */
function requests({ home }: World): string[] {
  const folder = join(home.agentDir, "kimi-coder-requests");
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      /ticket|held|choosing/.test(name),
    );
  } catch {
    return [];
  }
}

describe.each(hosts)("eight workers on pi $name", { timeout: 120_000 }, (host) => {
  test("stay within the limit that is set: no request is refused", async () => {
    const world = await narrowWorld();
    slowAnswers(world, 400);
    const { answers, expected, errors } = await workers(
      world,
      host,
      world.env({ KIMI_CODER_PARALLEL: `${LIMIT}` }),
    );
    expect(answers).toEqual(expected);
    expect(errors).toBe("");
    const { service } = world;
    expect(service.refused()).toEqual([]);
    expect(service.chats()).toHaveLength(WORKERS);
    expect(service.mostChatsAtOnce()).toBe(LIMIT);
    expect(requests(world)).toEqual([]);
  });

  test("take turns also where each has a PI_CODING_AGENT_DIR of its own", async () => {
    const world = await narrowWorld();
    const { service, home } = world;
    slowAnswers(world, 400);
    const prompts = Array.from({ length: LIMIT + 2 }, (_, index) => `worker ${index}`);
    const runs = await Promise.all(
      prompts.map((prompt, index) => {
        const own = { PI_CODING_AGENT_DIR: join(home.path, `agent-${index}`) };
        const surroundings = world.env({ KIMI_CODER_PARALLEL: `${LIMIT}`, ...own });
        return printPi(host, home, [prompt], { ...surroundings, timeoutMs: 100_000 });
      }),
    );
    expect(runs.map(({ stdout }) => stdout)).toEqual(prompts.map((prompt) => `You said: ${prompt}\n`));
    expect(service.refused()).toEqual([]);
    expect(service.mostChatsAtOnce()).toBe(LIMIT);
    expect(requests(world)).toEqual([]);
  });

  test("learn a limit that nobody knows, and all get their answers", async () => {
    const world = await narrowWorld();
    slowAnswers(world, 2_000);
    const { answers, expected } = await workers(world, host, world.env());
    expect(answers).toEqual(expected);
    expect(world.service.mostChatsAtOnce()).toBe(LIMIT);
    expect(requests(world)).toEqual([]);
  });
});

describe.each(hosts)("a pi $name that waits for a place", { timeout: 60_000 }, (host) => {
  test("learns the limit from the figures of the plan, and goes on at once when the holder is killed", async () => {
    const world = await createWorld();
    const { service, home } = world;
    world.logInToKimiCli();
    service.setParallelLimit(1);
    service.setUsages({ parallel: { limit: "1" } });
    await keepFigures(world, host);
    service.fault({ path: "chat", do: { stallStream: 2 } });
    const holder = start(host.node, piArguments(host, [...ourModel, "-p", "first"]), {
      ...piSurroundings(home, world.env()),
    });
    await service.waitFor(({ kind, status }) => kind === "chat" && status === 200);
    const waiter = printPi(host, home, ["second"], world.env());
    await eventually(
      () => (requests(world).filter((name) => name.includes("ticket-")).length === 2 ? true : undefined),
      () => requests(world).join("\n"),
      20_000,
    );
    expect(service.chats()).toHaveLength(1);
    holder.kill("SIGKILL");
    const killedAt = Date.now();
    await service.waitFor(({ body }) => JSON.stringify(body)?.includes("second") === true);
    expect(Date.now() - killedAt).toBeLessThan(1_000);
    expect((await waiter).stdout.trim()).toBe("You said: second");
    expect(service.refused()).toEqual([]);
    expect(requests(world)).toEqual([]);
  });
});

describe.each(hosts)("a 429 with retry-after on pi $name", { timeout: 60_000 }, (host) => {
  test("is waited for by the others too", async () => {
    const world = await createWorld();
    const { service, home } = world;
    world.logInToKimiCli();
    service.fault({ path: "chat", do: refusals.rateLimited(8) });
    const first = printPi(host, home, ["first"], world.env());
    const { at } = await service.waitFor(({ kind, status }) => kind === "chat" && status === 429);
    const second = printPi(host, home, ["second"], world.env());
    expect((await first).stdout.trim()).toBe("You said: first");
    expect((await second).stdout.trim()).toBe("You said: second");
    const [, ...later] = service.chats();
    expect(later.map((chat) => chat.at - at >= 8_000)).toEqual([true, true]);
  });
});

/** `/kimi usage` asks for them, and keeps them for all. */
async function keepFigures(world: World, host: PiHost): Promise<void> {
  await runPi(host, world.home, [...ourModel, "-p", "/kimi usage"], world.env());
  await eventually(
    () => ("kimi-coder-usage.json" in files(world) ? true : undefined),
    () => Object.keys(files(world)).join("\n"),
    5_000,
  );
}

function files({ home }: World): Record<string, true> {
  return Object.fromEntries(readdirSync(home.agentDir).map((name) => [name, true]));
}

describeInTmux.each(hosts)("the screen of pi $name", (host) => {
  test("says that a request waits, and Esc ends that at once", { timeout: 60_000 }, async () => {
    const world = await createWorld();
    const { service, home } = world;
    world.logInToKimiCli();
    const surroundings = world.env({ KIMI_CODER_PARALLEL: "1" });
    service.fault({ path: "chat", do: { stallStream: 2 } });
    const holder = start(host.node, piArguments(host, [...ourModel, "-p", "first"]), {
      ...piSurroundings(home, surroundings),
    });
    await service.waitFor(({ kind, status }) => kind === "chat" && status === 200);
    const pi = await startTmux(host, home, ourModel, surroundings);
    try {
      await enter(pi, "second");
      await pi.waitFor("waits for other requests of this account, number 1 in line");
      await pi.key("Escape");
      await pi.waitFor((screen) => /abort/i.test(screen) && !screen.includes("waits for other requests"));
      expect(service.chats()).toHaveLength(1);
      expect(requests(world).filter((name) => name.includes("ticket-"))).toHaveLength(1);
      holder.kill("SIGKILL");
      await pi.submit("third");
      await pi.waitFor("You said: third");
    } finally {
      await pi.close();
    }
  });
});
