import { createAssistantMessageEventStream, type SimpleStreamOptions } from "@mariozechner/pi-ai";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Usable } from "../../extensions/caller.ts";
import { createJudge, createStream } from "../../extensions/chat/stream.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { mustLoad, NOT_LOADED } from "../../extensions/lib/lazy.ts";
import type { Refusal } from "../../extensions/queue/tickets.ts";
import { startLoopback } from "../support/loopback.ts";
import { account, model } from "./support.ts";

const now = new Date(2026, 10, 21, 13, 45, 20);
const key: Usable = { state: "key", key: "k", account };
const token: Usable = { state: "token", accessToken: "a", store: kimiCliStore("/kimi"), account };

const explain = () => import("../../extensions/chat/errors/explain.ts");

interface Circumstances {
  readonly bearer?: Usable;
  readonly signal?: AbortSignal;
  readonly load?: typeof explain;
  readonly windows?: () => Promise<[]>;
  readonly onPayload?: SimpleStreamOptions["onPayload"];
  readonly isWatched?: boolean;
}

const noWindows = async (): Promise<[]> => [];

/** What the user reads after a prompt to `baseUrl`, how the turn ended, and how long it waited before asking again, ms. */
async function ask(baseUrl: string, circumstances: Circumstances = {}) {
  const { bearer = token, load = explain, windows = noWindows, isWatched = true } = circumstances;
  const { signal, onPayload } = circumstances;
  const waits: number[] = [];
  let asked: number | undefined;
  const place = {
    async enter() {
      if (asked !== undefined) waits.push(asked);
      return asked !== undefined;
    },
    refused({ retryAfter }: Refusal) {
      asked = retryAfter;
    },
    served() {},
    release() {},
  };
  const stream = createStream({
    caller: {
      current: async () => bearer,
      afterRejection: async () => bearer,
      addressFor: () => baseUrl,
      prepare() {},
    },
    identity: async () => ({}),
    lastRequest: { note: () => () => {} },
    screen: { sessionId: undefined, sayAtEnd() {}, noteFailure() {}, isWatched },
    catalogue: { wireModel: (id) => ({ id, thinking: "none" }), keepUp() {} },
    judge: createJudge(() => now.getTime(), windows, load),
    queue: { place: () => place },
  });
  const out = createAssistantMessageEventStream();
  stream(
    out,
    model,
    { messages: [{ role: "user", content: "hi", timestamp: 1 }] },
    {
      ...(signal && { signal }),
      ...(onPayload && { onPayload }),
    },
  );
  const { stopReason, errorMessage = "" } = await out.result();
  return { stopReason, errorMessage, waits };
}

async function answering(...args: Parameters<typeof startLoopback>): Promise<string> {
  const server = await startLoopback(...args);
  onTestFinished(() => server.close());
  return server.url;
}

function refusing(status: number, type: string, message: string, headers: object = {}): Promise<string> {
  return answering((_request, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify({ error: { type, message } }));
  });
}

const call = { index: 0, id: "c", type: "function", function: { name: "read", arguments: "{}" } };

test.each([
  ["in a session that goes on", true, { content: "hey" }, "stop", 1],
  ["in print mode before a tool runs", false, { tool_calls: [call] }, "tool_calls", 1],
  ["in print mode at the end", false, { content: "hey" }, "stop", 0],
])("what a failure needs is loaded after an answer %s: %s", async (_where, isWatched, delta, end, times) => {
  const url = await answering((_request, response) => {
    const chunk = { choices: [{ index: 0, delta, finish_reason: end }] };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
  });
  let loaded = 0;
  const load = () => {
    loaded += 1;
    return explain();
  };
  const { errorMessage } = await ask(url, { load, isWatched });
  expect([errorMessage, loaded]).toEqual(["", times]);
});

describe("a turn that fails", () => {
  test("says so where what it needs for that is no longer there", async () => {
    const load = () => Promise.reject(new Error("Cannot find module './explain.ts'"));
    const { stopReason, errorMessage } = await ask(await refusing(500, "", ""), { load });
    expect([stopReason, errorMessage]).toEqual(["error", NOT_LOADED]);
  });

  test("says so in the same words where what it needs to send the request is no longer there", async () => {
    const onPayload = () => mustLoad(Promise.reject(new Error("Cannot find module './schema-repair.ts'")));
    expect((await ask(await refusing(500, "", ""), { onPayload })).errorMessage).toBe(NOT_LOADED);
    const { judge } = createJudge(() => now.getTime(), noWindows);
    const onNewerPi = `${NOT_LOADED}: Cannot find module '/home/a/schema-repair.ts'`;
    expect(await judge(onNewerPi, {})).toMatchObject({ sentence: NOT_LOADED });
  });

  test("says what the service says where only the figures of the plan cannot be had", async () => {
    const windows = () => Promise.reject(new Error("Cannot find module './kept.ts'"));
    const { errorMessage } = await ask(await refusing(403, "", "weekly usage limit"), { windows });
    expect(errorMessage).toContain("the plan's weekly limit is used up; wait until it resets, or");
  });

  test("waits as long as the service asks, twice, before pi hears of it", async () => {
    const url = await refusing(429, "rate_limit_reached_error", "rate limit", { "retry-after": "7" });
    const { errorMessage, waits } = await ask(url);
    expect(errorMessage).toContain("rate limit");
    expect(waits).toEqual([7_000, 7_000]);
  });

  test("is not repeated when a limit of the plan is used up, whatever retry-after says", async () => {
    const url = await refusing(429, "exceeded_current_quota_error", "exceeded quota", { "retry-after": "7" });
    expect(await ask(url)).toEqual({
      stopReason: "error",
      errorMessage: expect.stringContaining("wait until it resets 13:46, in 1 m"),
      waits: [],
    });
  });

  test("asks for another login after the second 401, and for another key where one was sent", async () => {
    const url = await refusing(401, "", "no");
    expect((await ask(url)).errorMessage).toContain("/login kimi-coder to log in again");
    expect((await ask(url, { bearer: key })).errorMessage).toContain("KIMI_CODER_API_KEY");
  });

  test("tells nobody there, no such name and no trusted certificate from each other", async () => {
    const server = await startLoopback((_request, response) => response.end());
    await server.close();
    expect((await ask(server.url)).errorMessage).toContain("connection refused");
    expect((await ask("http://no-such-host.invalid")).errorMessage).toMatch(/DNS.*(ENOTFOUND|EAI_AGAIN)/);
    const plain = await answering((_request, response) => response.end());
    expect((await ask(plain.replace("http:", "https:"))).errorMessage).toContain("certificate");
  });

  test("names the proxy where one wants a password", async () => {
    expect((await ask(await refusing(407, "", ""))).errorMessage).toContain("HTTPS_PROXY");
  });

  test("takes a page that comes with 200 for no answer", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(200, { "content-type": "text/html" });
      response.end("<html><title>Log in to Hotel</title></html>");
    });
    const { stopReason, errorMessage } = await ask(url);
    expect(stopReason).toBe("error");
    expect(errorMessage).toContain("network's login page");
  });

  test("takes an error that comes with 200 for an answer that broke off", async () => {
    expect((await ask(await refusing(200, "", "no"))).errorMessage).toContain(
      "the connection to Kimi broke off",
    );
  });

  test("is left alone when the user stopped it", async () => {
    const stop = new AbortController();
    const { stopReason, errorMessage } = await ask(await answering(() => stop.abort()), {
      signal: stop.signal,
    });
    expect([stopReason, errorMessage]).toEqual(["aborted", "Request was aborted."]);
  });
});
