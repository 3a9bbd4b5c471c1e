/** Tools of extensions through the real pi: pictures that they give, and tools that come in mid-session. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../extensions/lib/json.ts";
import { bodyOf, choose } from "../conformance/conversation.ts";
import { cachedPrefix, expectGrowing } from "../conformance/prefix.ts";
import { hosts, newerHost } from "../support/hosts.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/index.ts";
import { ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { createLoggedInWorld } from "../support/world.ts";
import { PIXEL } from "./extensions/icon-tool.ts";
import { LATE_NAME } from "./extensions/late-tool.ts";

const extension = (name: string) => fileURLToPath(new URL(`extensions/${name}.ts`, import.meta.url));

describe.each(hosts)("on pi $name", (host) => {
  test("a picture that Kimi cannot decode is left out, and the session goes on", async () => {
    const { service, home, env } = await createLoggedInWorld();
    service.reply(
      { toolCalls: [{ name: "show_icon", arguments: {} }] },
      { text: "A dot." },
      { text: "Yes." },
    );

    const first = await printPi(host, home, ["-e", extension("icon-tool"), "show it"], env());
    const second = await printPi(host, home, ["--continue", "sure?"], env());

    expect([first.stdout, second.stdout]).toEqual(["A dot.\n", "Yes.\n"]);
    expect(service.refused()).toEqual([]);
    const bodies = service.chats().map(({ body }) => JSON.stringify(body));
    expect(bodies).toHaveLength(3);
    for (const body of bodies.slice(1)) {
      expect(body).toContain("an image of image/x-icon was left out");
      // The newer pi has it made a PNG by itself already.
      expect(body).toContain(`data:image/png;base64,${PIXEL.slice(0, 16)}`);
    }
  });
});

describe(`on pi ${newerHost.name}`, () => {
  test.each([
    { model: "k3", kept: true },
    { model: "kimi-for-coding", kept: false },
  ])("a tool that comes in mid-session leaves the cache of $model whole: $kept", async ({ model, kept }) => {
    const { service, home, env } = await createLoggedInWorld({ models: modelsOfSeptember2026 });
    // The list of models is for the next start.
    await printPi(newerHost, home, ["hello"], env());
    await service.waitFor(({ kind, finished }) => kind === "models" && finished);
    const before = service.chats().length;

    const rpc = startRpc(newerHost, home, [...ourModel, "-e", extension("late-tool")], env());
    await choose(rpc, { model, level: "high" });
    const name = "mcp_box_peek_60242c03";
    service.reply(
      { thinking: "Open it.", toolCalls: [{ name: "open_box", arguments: {} }] },
      { thinking: "Look.", toolCalls: [{ name, arguments: { where: "left" } }] },
      { text: "A cat." },
    );
    const events = await rpc.prompt("what is in the box?");
    await rpc.close();

    expect(service.refused()).toEqual([]);
    expect(
      events.find(({ type, toolName }) => type === "tool_execution_end" && toolName === LATE_NAME),
    ).toMatchObject({ isError: false });
    const chats = service.chats().slice(before);
    const [first, second] = chats.map(bodyOf);
    if (first === undefined || second === undefined) throw new Error("a request is missing");
    const share = Number(chats[1]?.usage?.cached_tokens) / Number(chats[1]?.usage?.prompt_tokens);
    if (!kept) {
      expect(JSON.stringify(second.tools)).toContain(name);
      expect(share).toBeLessThan(0.9);
      return;
    }
    expect(second.tools).toEqual(first.tools);
    expect(cachedPrefix(second).startsWith(cachedPrefix(first))).toBe(true);
    expect(JSON.stringify(first)).not.toContain(name);
    expect(bringing(second)).toMatchObject([
      {
        role: "system",
        tools: [
          { function: { name, parameters: { properties: { where: { anyOf: [{}, {}, {}, {}, {}, {}] } } } } },
        ],
      },
    ]);
    expect(share).toBeGreaterThanOrEqual(0.9);
    expectGrowing(chats);
  });
});

function bringing({ messages }: JsonObject): unknown[] {
  if (!Array.isArray(messages)) throw new Error("no messages");
  return messages.filter((message) => "tools" in message);
}
