/** `/thinking high` in a session, on the pi that has no such command and on the one that has. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { keepList } from "../../extensions/models/catalogue.ts";
import { hosts, olderHost } from "../support/hosts.ts";
import { defaultModels } from "../support/kimi-service/index.ts";
import { ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { describeInTmux, startTmux } from "../support/tmux.ts";
import { createLoggedInWorld, type World } from "../support/world.ts";

/** A login, and the list of models from an earlier run. */
async function createKnownWorld(): Promise<World> {
  const world = await createLoggedInWorld();
  const { service, home } = world;
  const account = { owner: "kimi-cli", path: home.kimiCliPath, baseUrl: service.baseUrl } as const;
  const path = join(home.agentDir, "kimi-coder-models.json");
  await keepList(path, account, { data: defaultModels }, service.now());
  return world;
}

describeInTmux.each(hosts)("/thinking on pi $name", (host) => {
  const largest = host === olderHost ? "xhigh" : "max";

  test("completes the levels that differ, says what is set, and is sent as Kimi understands it", async () => {
    const { service, home, env } = await createKnownWorld();
    const pi = await startTmux(host, home, [...ourModel, "--thinking", "off"], env());
    await pi.waitFor("using kimi-cli credentials");
    await pi.ready();
    await pi.type("/thinking ");
    const levels = await pi.waitFor((screen) => screen.includes(largest));
    expect(levels).toMatch(new RegExp(`off[\\s\\S]*low[\\s\\S]*high[\\s\\S]*${largest}`));
    expect(levels).not.toMatch(/minimal|medium/);
    await pi.type("high");
    if (host === olderHost) await pi.waitFor((screen) => !screen.includes("→ "));
    else await pi.key("Escape");
    await pi.key("Enter");
    await pi.waitFor(/thinking[^\n]*high/i);
    await pi.submit("hello");
    await pi.waitFor("You said: hello");
    expect(service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "enabled", effort: "high" } });
    expect(service.chats()).toHaveLength(1); // the command itself was not sent to the model
    // A level that is not offered becomes the one it equals, also where the command is pi's own.
    await pi.submit("/thinking minimal");
    await pi.waitFor("Thinking is low, which is what this model has for minimal.");
    await pi.submit("hello again");
    await pi.waitFor("You said: hello again");
    expect(service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "enabled", effort: "low" } });
    await pi.submit("/thinking medium");
    await pi.waitFor("Thinking is high, which is what this model has for medium.");
    // pi's own words for what is no level.
    await pi.submit("/thinking lots");
    await pi.waitFor(/choose one of|Available levels:/);
  });
});

test.each(hosts)(
  "on pi $name a level from the command line or the settings is taken for what it equals",
  async (host) => {
    const { service, home, env } = await createKnownWorld();
    const largest = host === olderHost ? "xhigh" : "max";
    for (const [level = "", taken] of [
      ["minimal", "low"],
      ["xhigh", largest],
    ]) {
      const rpc = startRpc(host, home, [...ourModel, "--thinking", level], env());
      expect(await rpc.request({ type: "get_state" })).toMatchObject({ thinkingLevel: taken });
      await rpc.close();
    }
    home.write(".pi/agent/settings.json", JSON.stringify({ defaultThinkingLevel: "medium" }));
    const rpc = startRpc(host, home, ourModel, env());
    expect(await rpc.request({ type: "get_state" })).toMatchObject({ thinkingLevel: "high" });
    await rpc.prompt("hello");
    expect(service.chats().at(-1)?.body).toMatchObject({ thinking: { type: "enabled", effort: "high" } });
    await rpc.close();
  },
);

test("/thinking on pi 0.73.1 answers in RPC and print mode, also to what it does not know", async () => {
  const { service, home, env } = await createKnownWorld();
  const rpc = startRpc(olderHost, home, ourModel, env());
  expect(await rpc.say("/thinking low")).toBe("Thinking is low.");
  expect(await rpc.say("/thinking lots")).toBe("Thinking is still low; choose one of off, low, high, xhigh.");
  expect(await rpc.say("/thinking")).toMatch(/^Thinking is low; choose one of /);
  expect(await rpc.say("/thinking max")).toBe("Thinking is xhigh, which is what this model has for max.");
  expect(await rpc.say("/thinking off")).toBe("Thinking is off.");
  await rpc.prompt("hello");
  expect(service.chats()).toMatchObject([{ body: { thinking: { type: "disabled" } } }]);
  await rpc.close();

  expect(await printPi(olderHost, home, ["/thinking high"], env())).toMatchObject({
    stderr: "Thinking is high.\n",
    exitCode: 0,
  });
});
