import { getEventListeners } from "node:events";
import type { RequestListener } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import { Connection, chatFetch as chatFetchAsked, lend } from "../../extensions/chat/fetch.ts";
import { startLoopback } from "../support/loopback.ts";

const real = fetch;
const chatFetch = (url: string, by: typeof fetch) =>
  chatFetchAsked(url, by, () => new Set(), new Connection());

async function serving(answer: RequestListener): Promise<string> {
  const server = await startLoopback(answer);
  onTestFinished(() => server.close());
  return server.url;
}

const finished = '"choices":[{"delta":{},"finish_reason":"stop"}]';
const usageEvent = `data: {${finished},"usage":{"cached_tokens":4}}\n\n`;
const completed = `data: {${finished},"usage":{"cached_tokens":4,"prompt_tokens_details":{"cached_tokens":4}}}\n\n`;

describe("the fetch of a chat", () => {
  test("completes the usage of a stream, whatever its type", async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { "content-type": "text/plain" });
      response.end(usageEvent);
    });
    expect(await (await chatFetch(url, real)(url)).text()).toBe(completed);
  });

  test("leaves requests to other hosts as they are", async () => {
    const asked: unknown[] = [];
    const answer = new Response(usageEvent, { headers: { "content-type": "text/event-stream" } });
    const guarded = chatFetch("https://api.kimi.com/coding/v1", async (...args) => {
      asked.push(args);
      return answer;
    });
    const init = { method: "POST" };
    expect(await guarded("https://elsewhere.example/v1/chat/completions", init)).toBe(answer);
    expect(asked).toEqual([["https://elsewhere.example/v1/chat/completions", init]]);
  });

  test("ends with its signal, and closes the connection when its reader loses interest", async () => {
    const closed: Promise<void>[] = [];
    const url = await serving((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(usageEvent);
      closed.push(new Promise((resolve) => response.once("close", resolve)));
    });
    const stop = new AbortController();
    const aborted = await chatFetch(url, real)(url, { signal: stop.signal });
    expect(getEventListeners(stop.signal, "abort").length).toBeGreaterThan(0);
    const rest = aborted.text();
    stop.abort();
    await expect(rest).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
    const unread = await chatFetch(url, real)(url);
    await unread.body?.cancel();
    await Promise.all(closed);
    expect(closed).toHaveLength(2);
  });
});

describe("the loan of the global fetch", () => {
  test("lasts from begin to end, and never begins again", () => {
    const guarded = chatFetch("https://api.kimi.com", real);
    const loan = lend(guarded);
    expect(globalThis.fetch).toBe(real);
    loan.begin();
    loan.begin();
    expect(globalThis.fetch).toBe(guarded);
    loan.end();
    expect(globalThis.fetch).toBe(real);
    loan.begin();
    expect(globalThis.fetch).toBe(real);
  });

  test("is over before anything else runs, though nobody ended it", async () => {
    const loan = lend(chatFetch("https://api.kimi.com", real));
    loan.begin();
    await Promise.resolve();
    expect(globalThis.fetch).toBe(real);
    loan.end();
    expect(globalThis.fetch).toBe(real);
  });

  test("of two leaves what was there before, in whatever order they end", async () => {
    const loans = [1, 2].map(() => {
      const loan = lend(chatFetch("https://api.kimi.com", fetch));
      loan.begin();
      return loan;
    });
    for (const loan of loans) loan.end();
    expect(globalThis.fetch).toBe(real);
  });

  test("leaves alone what somebody else has put there meanwhile", async () => {
    const theirs: typeof fetch = (...args) => real(...args);
    const loan = lend(chatFetch("https://api.kimi.com", real));
    loan.begin();
    globalThis.fetch = theirs;
    onTestFinished(() => {
      globalThis.fetch = real;
    });
    loan.end();
    await Promise.resolve();
    expect(globalThis.fetch).toBe(theirs);
  });
});

describe("the connection", () => {
  const failed = (message: string, code?: string) => Object.assign(new Error(message), code && { code });
  test.each([
    [failed("connect", "ECONNREFUSED"), "ECONNREFUSED"],
    [new TypeError("fetch failed", { cause: failed("dns", "ENOTFOUND") }), "ENOTFOUND"],
    [new TypeError("fetch failed", { cause: new AggregateError([failed("one", "ETIMEDOUT")]) }), "ETIMEDOUT"],
    [
      new TypeError("fetch failed", { cause: failed("Proxy response (403) !== 200 when HTTP Tunneling") }),
      "PROXY_403",
    ],
    [new TypeError("fetch failed", { cause: failed("") }), "PROXY_407"],
    [failed("who knows"), undefined],
  ])("says why there was none: %s", (error, code) => {
    const connection = new Connection();
    connection.failed(error);
    expect(connection.seen().code).toBe(code);
  });

  test("says what the latest answer was, and how long it asks to wait", () => {
    const connection = new Connection();
    connection.failed(failed("connect", "ECONNREFUSED"));
    const headers = { "content-type": "text/html; charset=utf-8", "retry-after": "7" };
    connection.answered(new Response("", { status: 429, headers }));
    expect(connection.seen()).toEqual({ code: undefined, retryAfter: 7_000, page: true });
  });
});
