/**
 * Whole conversations through the real pi of both hosts: the service refuses nothing, both send the same bytes, and
 * those are the recorded ones. The conversations of a host share three processes and run in order.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { PIXEL } from "../e2e/extensions/icon-tool.ts";
import { createHome, type Home } from "../support/home.ts";
import { hosts, olderHost } from "../support/hosts.ts";
import { type KimiService, startKimiService } from "../support/kimi-service/index.ts";
import type { Loopback } from "../support/loopback.ts";
import { ourModel } from "../support/pi.ts";
import { type RpcPi, startRpc, type Wanted } from "../support/rpc.ts";
import { type Choice, type Conversation, choose, newConversation, openConversation } from "./conversation.ts";
import { expectGolden } from "./golden.ts";
import { models } from "./models.ts";
import { normalise } from "./normalise.ts";
import { FOREIGN_THOUGHT, otherProviderModels, startOtherProvider } from "./other-provider.ts";
import { cachedPrefix, expectGrowing } from "./prefix.ts";
import { REFUSED_NAME } from "./refused-tool.ts";

/** Those that both hosts have. */
const levels = ["off", "minimal", "low", "medium", "high", "xhigh"];
const refusedTool = fileURLToPath(new URL("refused-tool.ts", import.meta.url));

describe.each(hosts)("pi $name", (host) => {
  let service: KimiService;
  let home: Home;
  let elsewhere: Loopback;
  let rpc: RpcPi;
  let judged = 0;
  const all: Conversation[] = [];

  const start = (...args: string[]) => {
    rpc = startRpc(host, home, args, { env: service.environment });
  };
  const follow = (conversation: Conversation) => {
    all.at(-1)?.end();
    all.push(conversation);
    return conversation;
  };
  const begin = async (choice: Choice) => follow(await newConversation(host, rpc, service, choice));
  const resume = async () => follow(await openConversation(host, rpc, service));
  const sent = ({ sessionId, bodies }: Conversation) =>
    bodies().map((body) => normalise(body, { work: home.work, sessionId }));
  const expectLastGolden = (name: string, conversation: Conversation) =>
    expectGolden(name, host, sent(conversation).at(-1));

  beforeAll(async () => {
    service = await startKimiService({ models });
    elsewhere = await startOtherProvider();
    home = createHome();
    home.writeKimiCli(service.issueLogin());
    home.write(".pi/agent/settings.json", JSON.stringify({ compaction: { keepRecentTokens: 1 } }));
    home.write(".pi/agent/models.json", otherProviderModels(elsewhere.url));
    home.write("work/note.txt", "the word is swordfish");
    writeFileSync(join(home.work, "pixel.png"), Buffer.from(PIXEL, "base64"));
  });

  afterAll(async () => {
    home.remove();
    await elsewhere.close();
    await service.close();
  });

  afterEach(() => {
    const answered = service.log.slice(judged);
    judged = service.log.length;
    expect(answered.filter(({ refused }) => refused)).toEqual([]);
  });

  test("runs a tool whose name and schema Kimi refuses", async () => {
    start(...ourModel, "--thinking", "off", "-e", refusedTool);
    const conversation = await resume();
    service.reply(
      {
        text: "Let me look.",
        toolCalls: [
          { name: "mcp_notes_find_one_afbf6e05", arguments: { word: "fish", order: "new", gone: true } },
        ],
      },
      { text: "There it is." },
    );
    await conversation.say("find the fish");

    expect(rpc.events.find(({ type }) => type === "tool_execution_start")).toMatchObject({
      toolName: REFUSED_NAME,
      args: { word: "fish", order: "new", gone: true },
    });
    expect(rpc.events.find(({ type }) => type === "tool_execution_end")).toMatchObject({ isError: false });
    expectLastGolden("refused-tool", conversation);
    expectGrowing(conversation.chats());
    await service.waitFor(({ kind, finished }) => kind === "models" && finished);
    await rpc.close();
  });

  test("resumes with --continue, the tool being gone and the list of models having come", async () => {
    start("--continue");
    const [before] = all;
    const conversation = await resume();
    expect(conversation.sessionId).toBe(before?.sessionId);
    await conversation.say("and now?");
    expectLastGolden("resumed-without-tool", conversation);
  });

  test("thinks as each model can at each level, and keeps what it thought", async () => {
    const table: Record<string, unknown> = {};
    for (const model of [...models.map(({ id }) => id), "kimi-k2.6"]) {
      const conversation = await begin({ model, level: "off" });
      const thinkingAt: Record<string, unknown> = {};
      for (const level of levels) {
        await choose(rpc, { model, level });
        await conversation.say(level);
        thinkingAt[level] = conversation.bodies().at(-1)?.thinking ?? "nothing";
      }
      const rest = sent(conversation).map(({ tools, messages, thinking, ...others }) => others);
      expect(rest).toEqual(levels.map(() => rest[0]));
      table[model] = { ...rest[0], thinking: thinkingAt };
      const prefixes = conversation.bodies().map(cachedPrefix);
      for (const [index, prefix] of prefixes.entries()) {
        expect(prefix.startsWith(prefixes[index - 1] ?? "")).toBe(true);
      }
      if (host === olderHost) continue;
      // The one level that only the newer pi has.
      await choose(rpc, { model, level: "max" });
      await conversation.say("max");
      expect(conversation.bodies().at(-1)?.thinking).toEqual(conversation.bodies().at(-2)?.thinking);
    }
    expectGolden("thinking", host, table);
  });

  test("sends images, pasted and read, to a model that sees", async () => {
    const conversation = await begin({ model: "kimi-for-coding", level: "high" });
    service.reply(
      { thinking: "A dot.", toolCalls: [{ name: "read", arguments: { path: "pixel.png" } }] },
      { text: "Two dots." },
    );
    await conversation.say("look", [{ type: "image", data: PIXEL, mimeType: "image/png" }]);
    await conversation.say("sure?");
    expectLastGolden("image", conversation);
    expectGrowing(conversation.chats());

    await choose(rpc, { model: "kimi-plain", level: "off" });
    await conversation.say("and you?");
    expectLastGolden("image-model-without-sight", conversation);
  });

  test("calls tools side by side and turn after turn", async () => {
    const conversation = await begin({ model: "k3", level: "high" });
    service.reply(
      {
        thinking: "Two at once.",
        toolCalls: [
          { name: "read", arguments: { path: "note.txt" } },
          { name: "bash", arguments: { command: "echo $((6*7))" } },
        ],
      },
      {
        thinking: "One more.",
        text: "Nearly there.",
        toolCalls: [{ name: "bash", arguments: { command: "true" } }],
      },
      { text: "swordfish, 42" },
    );
    await conversation.say("work");
    const messages = await conversation.say("thanks ✓ 🐟");
    expectLastGolden("tools", conversation);
    expectGrowing(conversation.chats());
    expect(messages.at(-1)).toMatchObject({
      usage: { cacheRead: conversation.chats().at(-1)?.usage?.cached_tokens },
    });
  });

  test("compacts under the same cache key, and goes on", async () => {
    const conversation = await begin({ model: "kimi-for-coding", level: "high" });
    await conversation.say("first");
    await conversation.say("second");
    // Two summaries: one of the turns before the last, one of the last turn's beginning. The older pi asks for both at once.
    service.reply({ thinking: "Shorter.", text: "In short." }, { thinking: "Shorter.", text: "In short." });
    await rpc.request({ type: "compact" });
    await conversation.say("third");
    const [one, other, third] = sent(conversation).slice(2);
    const limits = [one, other].map((body) => Number(body?.max_tokens)).sort((a, b) => b - a);
    // The newer pi limits a summary as it limits any answer of the model.
    expect(limits).toEqual(host === olderHost ? [13_107, 8_192] : [32_768, 32_768]);
    const summaries = [one, other].map((body) => ({ ...body, max_tokens: "<limit>" }));
    expectGolden("compaction", host, { summaries, third });
  });

  test("takes over what another provider began, and gives it back and takes it again", async () => {
    const conversation = await begin({ provider: "elsewhere", model: "other", level: "high" });
    await conversation.say("begin");
    expect(conversation.chats()).toEqual([]);
    await choose(rpc, { model: "kimi-for-coding", level: "high" });
    await conversation.say("go on");
    await choose(rpc, { provider: "elsewhere", model: "other", level: "high" });
    await conversation.say("your turn");
    await choose(rpc, { model: "kimi-for-coding", level: "high" });
    await conversation.say("back again");
    const last = JSON.stringify(sent(conversation).at(-1));
    // The older pi makes text of what another model thought, the newer leaves it out.
    expect(last.match(FOREIGN_THOUGHT) ?? []).toHaveLength(host === olderHost ? 3 : 0);
    expectGolden("other-provider", host, JSON.parse(last.replace(FOREIGN_THOUGHT, "")));
    expectGrowing(conversation.chats());
  });

  test("takes over what another Kimi model began", async () => {
    const conversation = await begin({ model: "kimi-for-coding", level: "high" });
    service.reply({ thinking: "Mine.", text: "Hello from one." });
    await conversation.say("begin");
    await choose(rpc, { model: "k3", level: "high" });
    await conversation.say("go on");
    expectLastGolden("other-model", conversation);
  });

  test("forgets a turn that was aborted in mid-stream, and keeps one whose tool was", async () => {
    const conversation = await begin({ model: "kimi-for-coding", level: "high" });
    const abortAt = async (message: string, moment: Wanted) => {
      const from = rpc.events.length;
      await rpc.request({ type: "prompt", message });
      await rpc.waitFor(moment, { from });
      await rpc.request({ type: "abort" });
      await rpc.waitFor(({ type }) => type === host.settled, { from });
    };
    await conversation.say("first");
    service.reply({ thinking: "A long thought that goes on.", text: "Never seen in whole, never said." });
    service.fault({ path: "chat", do: { stallStream: 5 } });
    await abortAt("second", ({ type }) => type === "message_update");
    await conversation.say("third");
    const command = "echo begun; sleep 60";
    service.reply({ thinking: "This takes long.", toolCalls: [{ name: "bash", arguments: { command } }] });
    await abortAt("fourth", ({ type, partialResult }) => {
      return type === "tool_execution_update" && JSON.stringify(partialResult).includes("begun");
    });
    await conversation.say("fifth");
    expectLastGolden("aborted", conversation);
    expectGrowing(conversation.chats());
  });

  test("asks again after an answer with nothing in it, and after one of thinking alone", async () => {
    const conversation = await begin({ model: "kimi-for-coding", level: "high" });
    service.reply({});
    await conversation.say("first");
    service.reply({ thinking: "Only a thought." });
    await conversation.say("second");
    await conversation.say("third");
    expectLastGolden("empty", conversation);
    expectGrowing(conversation.chats());
    await rpc.close();
  });

  test("resumes with --session where it was, cache and all", async () => {
    const before = all.find(({ bodies }) => bodies()[0]?.model === "k3" && bodies().length === 4);
    if (before === undefined) throw new Error("no session with tools");
    start("--session", before.sessionFile);
    const conversation = await resume();
    expect(conversation.sessionId).toBe(before.sessionId);
    await conversation.say("are you still there?");
    expectGrowing([...before.chats(), ...conversation.chats()]);
    await rpc.close();
  });

  test("compacts a resumed session under its cache key, before any turn", async () => {
    const before = all.find(({ bodies }) => bodies()[0]?.model === "k3" && bodies().length === 4);
    if (before === undefined) throw new Error("no session with tools");
    start("--session", before.sessionFile);
    const conversation = await resume();
    await rpc.request({ type: "compact" });
    expect(conversation.bodies().length).toBeGreaterThan(0);
    const keys = new Set(conversation.bodies().map(({ prompt_cache_key }) => prompt_cache_key));
    expect(keys).toEqual(new Set([before.sessionId]));
    await rpc.close();
  });

  test("has another cache key for every session", () => {
    const keys = all.map(({ bodies }) => new Set(bodies().map(({ prompt_cache_key }) => prompt_cache_key)));
    expect(keys).toEqual(all.map(({ sessionId }) => new Set([sessionId])));
    // Three of them were resumed.
    expect(new Set(all.map(({ sessionId }) => sessionId)).size).toBe(all.length - 3);
  });
});
