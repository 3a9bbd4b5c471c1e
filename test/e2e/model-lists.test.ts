/** The list of models through the real pi: when it comes, for whom it is kept, what is sent, and what models.json changes. */
import { describe, expect, test, vi } from "vitest";
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import { bodyOf, choose } from "../conformance/conversation.ts";
import { allHosts, hosts, newerHost } from "../support/hosts.ts";
import { modelsOfSeptember2026 } from "../support/kimi-service/index.ts";
import { ourModel, printPi, runPi } from "../support/pi.ts";
import { type RpcPi, startRpc } from "../support/rpc.ts";
import { createLoggedInWorld, createWorld } from "../support/world.ts";

const KEPT = ".pi/agent/kimi-coder-models.json";

/** What pi offers of ours, by id. */
async function offered(rpc: RpcPi): Promise<Readonly<Record<string, JsonObject>>> {
  const { models } = await rpc.request({ type: "get_available_models" });
  const all: readonly unknown[] = Array.isArray(models) ? models : [];
  return Object.fromEntries(
    all
      .filter(isJsonObject)
      .filter(({ provider }) => provider === "kimi-coder")
      .map((model) => [String(model.id), model]),
  );
}

/** pi offers k3 at the latest some moments after the list has come. */
async function expectOffered(rpc: RpcPi): Promise<void> {
  await vi.waitFor(async () => expect(Object.keys(await offered(rpc))).toContain("k3"), {
    timeout: 20_000,
    interval: 100,
  });
  expect(await offered(rpc)).toMatchObject({
    "kimi-for-coding": { name: "Kimi for Coding", contextWindow: 1_048_576 },
    k3: { name: "K3", contextWindow: 1_048_576, reasoning: true, thinkingLevelMap: { off: null } },
    "kimi-k2.6": { name: "Kimi K2.6, now Kimi for Coding" },
  });
}

describe.each(allHosts)("on pi $name", (host) => {
  test("a login's list that arrives in the first session is offered at once, with all that follows", async () => {
    const { service, home, env } = await createLoggedInWorld({ models: modelsOfSeptember2026 });
    service.fault({ path: "models", do: { delay: 1_000 } });
    const rpc = startRpc(host, home, ourModel, env());
    await expectOffered(rpc);
    // The model in use is the one of the list as well.
    expect(await rpc.request({ type: "get_state" })).toMatchObject({
      model: { id: "kimi-for-coding", contextWindow: 1_048_576 },
    });
    await choose(rpc, { model: "kimi-for-coding", level: "medium" });
    await rpc.prompt("hello");
    await choose(rpc, { model: "k3", level: "high" });
    await rpc.prompt("and you?");
    await rpc.request({ type: "new_session" });
    // Those that the service no longer has come last.
    expect(Object.keys(await offered(rpc)).slice(-2)).toEqual(["kimi-k2.6", "kimi-k2-thinking"]);
    await rpc.prompt("and now?");
    await rpc.close();
    const thinking = { type: "enabled", effort: "high" };
    expect(service.chats().map(bodyOf)).toMatchObject([
      { model: "kimi-for-coding", thinking },
      { model: "k3", thinking, max_tokens: 131_072 },
      { thinking },
    ]);
    expect(service.refused()).toEqual([]);
    expect(service.log.filter(({ kind }) => kind === "models")).toHaveLength(1);
  });
});

describe.each(hosts)("on pi $name", (host) => {
  test("a key has a list of its own, asked for with the key and kept by its fingerprint", async () => {
    const { service, home, env } = await createWorld({ models: modelsOfSeptember2026 });
    const [key, other] = ["sk-kimi-one", "sk-kimi-other"];
    for (const one of [key, other]) service.apiKeys.add(one);
    const withKey = (one: string) => env({ KIMI_CODER_API_KEY: one });
    const rpc = startRpc(host, home, ourModel, withKey(key));
    await rpc.prompt("hello");
    await expectOffered(rpc);
    await choose(rpc, { model: "k3", level: "high" });
    await rpc.prompt("and you?");
    await rpc.close();
    expect(service.chats().at(-1)?.body).toMatchObject({
      model: "k3",
      thinking: { type: "enabled", effort: "high" },
      max_tokens: 131_072,
    });
    const asked = () => service.log.filter(({ kind }) => kind === "models");
    expect(asked().map(({ headers }) => headers.authorization)).toEqual([`Bearer ${key}`]);
    expect(home.files()[KEPT]).toBe("600");
    expect(home.read(KEPT)).not.toContain(key);

    // The older pi prints the list to stderr where stdin is no terminal.
    const listed = async (one: string) => {
      const { stdout, stderr } = await runPi(host, home, ["--list-models", "k3"], withKey(one));
      return stdout + stderr;
    };
    expect(await listed(key)).toMatch(/kimi-coder +k3 /);
    expect(await listed(other)).not.toMatch(/kimi-coder +k3 /);
    expect(asked()).toHaveLength(1);

    // A run that prints asks beside its answer.
    const print = await printPi(host, home, ["hello"], withKey(other));
    expect(print.stdout).toBe("You said: hello\n");
    expect(asked().map(({ headers }) => headers.authorization)).toEqual([`Bearer ${key}`, `Bearer ${other}`]);
    expect(await listed(other)).toMatch(/kimi-coder +k3 /);
  });

  test("a key that pi was given by hand has one too", async () => {
    const { service, home, env } = await createWorld({ models: modelsOfSeptember2026 });
    service.apiKeys.add("sk-kimi-hand");
    const args = ["--provider", "kimi-coder", "--api-key", "sk-kimi-hand"];
    const first = await runPi(host, home, [...args, "--model", "kimi-for-coding", "-p", "hello"], env());
    expect(first.stdout).toBe("You said: hello\n");
    expect(service.log.filter(({ kind }) => kind === "models")).toHaveLength(1);
    const second = await runPi(host, home, [...args, "--model", "k3", "-p", "and you?"], env());
    expect(second.stdout).toBe("You said: and you?\n");
    expect(service.chats().at(-1)?.body).toMatchObject({ model: "k3", max_tokens: 131_072 });
  });
});

test(`on pi ${newerHost.name} what models.json says of the provider and of a model wins`, async () => {
  const { service, home, env } = await createLoggedInWorld();
  const own = {
    baseUrl: `${service.url}/proxy/v1`,
    modelOverrides: { "kimi-for-coding": { contextWindow: 99_000 } },
    models: [{ id: "mine", contextWindow: 64_000 }],
  };
  home.write(".pi/agent/models.json", JSON.stringify({ providers: { "kimi-coder": own } }));
  const rpc = startRpc(newerHost, home, ourModel, env());
  const models = await offered(rpc);
  expect(Object.keys(models)).toEqual(["kimi-for-coding", "kimi-k2.6", "kimi-k2-thinking", "mine"]);
  expect(models).toMatchObject({ "kimi-for-coding": { contextWindow: 99_000 } });
  await rpc.close();
  await printPi(newerHost, home, ["hello"], env());
  expect(service.log.find(({ path }) => path.startsWith("/proxy/"))?.path).toBe("/proxy/v1/chat/completions");
  expect(service.chats()).toEqual([]);
});
