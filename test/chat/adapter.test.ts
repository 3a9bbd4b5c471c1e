import type { AssistantMessage, Context, SimpleStreamOptions } from "@mariozechner/pi-ai";
import { afterEach, expect, onTestFinished, test } from "vitest";
import {
  type AdapterParts,
  askAdapter,
  type RequestOptions,
  withOwnTurns,
} from "../../extensions/chat/adapter.ts";
import { Connection } from "../../extensions/chat/fetch.ts";
import { startLoopback } from "../support/loopback.ts";
import { account, model } from "./support.ts";

const real = globalThis.fetch;
afterEach(() => {
  expect(globalThis.fetch).toBe(real);
});

/** A service that says one word, and counts it. */
async function service(): Promise<string> {
  const server = await startLoopback((request, response) => {
    request.resume();
    const choice = { index: 0, delta: { content: "hi" }, finish_reason: "stop" };
    const usage = { prompt_tokens: 10, completion_tokens: 1, cached_tokens: 4 };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`data: ${JSON.stringify({ id: "x", choices: [choice], usage })}\n\ndata: [DONE]\n\n`);
  });
  onTestFinished(() => server.close());
  return server.url;
}

const hello: Context = { messages: [{ role: "user", content: "hi", timestamp: 1 }] };

const catalogue: AdapterParts["catalogue"] = { wireModel: (id) => ({ id, thinking: "none" }) };

/** Asks `baseUrl`, and gives the last event. */
async function ask(
  baseUrl: string,
  parts: Partial<AdapterParts> = {},
  options: RequestOptions = {},
  context = hello,
) {
  const all = {
    connection: new Connection(),
    caller: { addressFor: () => baseUrl },
    identity: async () => ({}),
    catalogue,
    lastRequest: { note: () => () => {} },
    ...parts,
  };
  const { events } = await askAdapter(all, { state: "key", key: "k", account }, model, context, options);
  const seen = [];
  for await (const event of events) seen.push(event);
  return seen.at(-1);
}

test("the global fetch is itself again before anybody else's code runs, whose request is the one that is noted", async () => {
  const during: unknown[] = [];
  const noted: unknown[] = [];
  const onPayload: SimpleStreamOptions["onPayload"] = () => {
    during.push(globalThis.fetch);
    return { model: "changed", messages: [], stream: true };
  };
  const shaping: AdapterParts["catalogue"] = {
    wireModel(id) {
      during.push(globalThis.fetch);
      return catalogue.wireModel(id);
    },
  };
  const note = (body: unknown) => {
    noted.push(body);
    return (usage: unknown) => noted.push(usage);
  };
  const last = await ask(await service(), { catalogue: shaping, lastRequest: { note } }, { onPayload });
  expect(during).toEqual([real, real]);
  expect(last).toMatchObject({ type: "done", message: { usage: { cacheRead: 4, input: 6 } } });
  expect(noted).toMatchObject([{ model: "changed" }, { input: 6, cacheRead: 4 }]);
});

test("an adapter that fails before it has a payload leaves the global fetch as it was", async () => {
  const broken: Context = JSON.parse('{"messages":[{"role":"user","content":null}]}');
  expect(await ask(await service(), {}, {}, broken)).toMatchObject({ type: "error" });
});

test("a fetch that the caller brings is the one that asks", async () => {
  const asked: unknown[] = [];
  const theirs: typeof fetch = (input, init) => {
    asked.push([input, init?.redirect]);
    return real(input, init);
  };
  const url = await service();
  expect(await ask(url, {}, { fetch: theirs })).toMatchObject({ type: "done" });
  expect(asked).toEqual([[`${url}/chat/completions`, "manual"]]);
});

test("the answers of our other models are signed with the one that is asked, those of other providers are not", () => {
  const question = { role: "user", content: "q", timestamp: 1 } as const;
  const answer = (provider: string, id: string): AssistantMessage => ({
    role: "assistant",
    content: [{ type: "text", text: "a" }],
    api: "openai-completions",
    provider,
    model: id,
    usage: { ...model.cost, totalTokens: 0, cost: { ...model.cost, total: 0 } },
    stopReason: "stop",
    timestamp: 1,
  });
  const others = answer("openai", "kimi-for-coding");
  const before: Context = { messages: [question, answer("kimi-coder", "kimi-k2.6"), others] };
  const copy = structuredClone(before);
  const after = withOwnTurns(before, { ...model, id: "k3" });
  expect(after).toEqual({ messages: [question, answer("kimi-coder", "k3"), others] });
  expect(before).toEqual(copy);
  expect(withOwnTurns(after, { ...model, id: "k3" })).toBe(after);
});
