import { createServer } from "node:http";
import { type Api, createAssistantMessageEventStream, type Model } from "@mariozechner/pi-ai";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Account, Usable } from "../../extensions/caller.ts";
import { toolNames } from "../../extensions/chat/payload/tools.ts";
import { createJudge, createStream } from "../../extensions/chat/stream.ts";
import { kimiCliStore } from "../../extensions/credentials/stores.ts";
import { NOT_LOADED } from "../../extensions/lib/lazy.ts";
import { startLoopback } from "../support/loopback.ts";

const now = new Date(2026, 10, 21, 13, 45, 20);
const account: Account = { owner: "key", path: "f", baseUrl: "", region: "kimi.com", id: "one" };
const key: Usable = { state: "key", key: "k", account };
const token: Usable = { state: "token", accessToken: "a", store: kimiCliStore("/kimi"), account };

/** What the user reads after a prompt to `baseUrl`, and how the turn ended. */
async function ask(
  baseUrl: string,
  bearer: Usable,
  signal?: AbortSignal,
  slept: number[] = [],
  load = () => import("../../extensions/chat/errors/explain.ts"),
  isWatched = true,
) {
  const model: Model<Api> = {
    id: "m",
    name: "m",
    api: "kimi-coder",
    provider: "kimi-coder",
    baseUrl,
    reasoning: false,
    input: ["text"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: 1000,
    maxTokens: 10,
  };
  const stream = createStream({
    caller: { current: async () => bearer, afterRejection: async () => bearer },
    identity: async () => ({}),
    baseUrl: () => baseUrl,
    note: () => () => {},
    screen: { sessionId: undefined, sayAtEnd: () => {}, isWatched },
    shape: (payload) => ({ body: payload, toolNames: toolNames([]) }),
    judge: createJudge(() => now.getTime(), load),
    failed: () => {},
    answered: () => {},
    windows: async () => [],
    queue: {
      place: () => {
        let asked: number | undefined;
        return {
          enter: async () => {
            if (asked !== undefined) slept.push(asked);
            return asked !== undefined;
          },
          refused: ({ retryAfter }) => {
            asked = retryAfter;
          },
          served() {},
          release() {},
        };
      },
    },
  });
  const options = signal ? { signal } : {};
  const out = createAssistantMessageEventStream();
  stream(out, model, { messages: [{ role: "user", content: "hi", timestamp: 1 }] }, options);
  const { stopReason, errorMessage = "" } = await out.result();
  return { stopReason, errorMessage };
}

async function answering(...args: Parameters<typeof startLoopback>): Promise<string> {
  const server = await startLoopback(...args);
  onTestFinished(() => server.close());
  return server.url;
}

const call = { index: 0, id: "c", type: "function", function: { name: "read", arguments: "{}" } };

test.each([
  ["in a session that goes on", true, { content: "hey" }, "stop", 1],
  ["in print mode before a tool runs", false, { tool_calls: [call] }, "tool_calls", 1],
  ["in print mode at the end", false, { content: "hey" }, "stop", 0],
] as const)(
  "what a failure needs is loaded after an answer %s: %s",
  async (_where, watched, delta, end, times) => {
    const url = await answering((_request, response) => {
      const chunks = [
        { choices: [{ index: 0, delta }] },
        {
          choices: [{ index: 0, delta: {}, finish_reason: end }],
          usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
        },
      ];
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")}data: [DONE]\n\n`);
    });
    let loaded = 0;
    const load = () => {
      loaded += 1;
      return import("../../extensions/chat/errors/explain.ts");
    };
    const { errorMessage } = await ask(url, token, undefined, [], load, watched);
    expect([errorMessage, loaded]).toEqual(["", times]);
  },
);

describe("a turn that fails", () => {
  test("says so where what it needs for that is no longer there", async () => {
    const url = await answering((_request, response) => response.writeHead(500).end("{}"));
    const gone = () => Promise.reject(new Error("Cannot find module './explain.ts'"));
    expect(await ask(url, token, undefined, [], gone)).toEqual({
      stopReason: "error",
      errorMessage: NOT_LOADED,
    });
  });

  test("says what the service says, and until when to wait", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(429, { "retry-after": "90", "content-type": "application/json" });
      response.end('{"error":{"type":"rate_limit_reached_error","message":"slow down"}}');
    });
    expect(await ask(url, token)).toEqual({
      stopReason: "error",
      errorMessage:
        "Kimi Coder: the plan's rate limit is reached; wait until 13:47 and try again. (Kimi: slow down)",
    });
  });

  test("waits as long as the service asks, twice, before pi hears of it", async () => {
    const slept: number[] = [];
    let asked = 0;
    const url = await answering((_request, response) => {
      asked += 1;
      response.writeHead(429, { "retry-after": "7", "content-type": "application/json" });
      response.end('{"error":{"type":"rate_limit_reached_error","message":"rate limit"}}');
    });
    expect((await ask(url, token, undefined, slept)).errorMessage).toContain("rate limit");
    expect({ asked, slept }).toEqual({ asked: 3, slept: [7_000, 7_000] });
  });

  test("is not repeated when a limit of the plan is used up, whatever retry-after says", async () => {
    const slept: number[] = [];
    let asked = 0;
    const url = await answering((_request, response) => {
      asked += 1;
      response.writeHead(429, { "retry-after": "7", "content-type": "application/json" });
      response.end(
        '{"error":{"type":"exceeded_current_quota_error","message":"You exceeded your current quota"}}',
      );
    });
    expect((await ask(url, token, undefined, slept)).errorMessage).toContain(
      "wait until it resets 13:46, in 1 m",
    );
    expect({ asked, slept }).toEqual({ asked: 1, slept: [] });
  });

  test("asks for another login after the second 401, and for another key where one was sent", async () => {
    const url = await answering((_request, response) => {
      response.writeHead(401, { "content-type": "application/json" }).end('{"error":{"message":"no"}}');
    });
    expect((await ask(url, token)).errorMessage).toContain("/login kimi-coder to log in again");
    expect((await ask(url, key)).errorMessage).toContain("KIMI_CODER_API_KEY");
  });

  test("tells nobody there, no such name and no trusted certificate from each other", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    if (address === null || typeof address === "string") throw new Error("the server has no port");
    expect((await ask(`http://127.0.0.1:${address.port}`, token)).errorMessage).toContain(
      "connection refused",
    );
    expect((await ask("http://no-such-host.invalid", token)).errorMessage).toMatch(
      /DNS.*(ENOTFOUND|EAI_AGAIN)/,
    );
    const plain = await answering((_request, response) => response.end());
    expect((await ask(plain.replace("http:", "https:"), token)).errorMessage).toContain("certificate");
  });

  test("names the proxy where one wants a password", async () => {
    const url = await answering((_request, response) => response.writeHead(407).end());
    expect((await ask(url, token)).errorMessage).toContain("HTTPS_PROXY");
  });

  test("takes a page that comes with 200 for no answer", async () => {
    const url = await answering((_request, response) => {
      response
        .writeHead(200, { "content-type": "text/html" })
        .end("<html><title>Log in to Hotel</title></html>");
    });
    const { stopReason, errorMessage } = await ask(url, token);
    expect(stopReason).toBe("error");
    expect(errorMessage).toContain("network's login page");
  });

  test("is left alone when the user stopped it", async () => {
    const stop = new AbortController();
    const url = await answering(() => stop.abort());
    expect(await ask(url, token, stop.signal)).toEqual({
      stopReason: "aborted",
      errorMessage: "Request was aborted.",
    });
  });
});
