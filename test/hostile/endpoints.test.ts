/** Answers that are endless, slow, deep, compressed, misplaced or not meant for us: bounded in time and memory, by a real server. */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { fetchUsage } from "../../extensions/quota/usage.ts";
import { moduleRunner, translatedOnce } from "../credentials/support/processes.ts";
import { startLoopback } from "../support/loopback.ts";
import { run } from "../support/processes.ts";
import { DEEP } from "./support/values.ts";

const SCRIPT = fileURLToPath(new URL("support/ask-endpoints.ts", import.meta.url));
const HANGS = 40_000;
/** For all endpoints at once, in bytes above what the process had when it asked. */
const MOST_MEMORY = 120_000_000;

interface Report {
  readonly outcomes: Readonly<Record<string, { readonly outcome: unknown; readonly ms: number }>>;
  readonly grown: number;
}

const ENDPOINTS = ["chat", "device", "models", "poll", "refresh", "usage"];

async function askHostile(answer: RequestListener): Promise<Report> {
  const server = await startLoopback(answer);
  onTestFinished(() => server.close());
  const { stdout, stderr, exitCode } = await run(process.execPath, [moduleRunner, SCRIPT, server.url], {
    cwd: dirname(SCRIPT),
    env: translatedOnce,
    timeoutMs: HANGS,
    traced: false,
  });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout);
}

/** So many bytes, as fast as they are taken. */
function pour(response: ServerResponse, bytes: number, piece = "x".repeat(65_536)): void {
  let left = bytes;
  const more = () => {
    while (left > 0 && !response.destroyed) {
      left -= piece.length;
      if (!response.write(piece)) return;
    }
    if (!response.destroyed) response.end();
  };
  response.on("drain", more);
  more();
}

function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write(" "), 50);
  response.on("close", () => clearInterval(timer));
}

const bomb = gzipSync(Buffer.alloc(50_000_000, " "));
const tokens =
  '{"access_token":"a","refresh_token":"r","device_code":"d","user_code":"u","data":[{"id":"k3"}]';

/** What is answered, whatever is asked; `ms` bounds the answer. */
const HOSTILE: Record<
  string,
  { readonly answer: (response: ServerResponse, status: number) => void; readonly ms?: number }
> = {
  "50 MB": {
    answer: (response, status) => {
      response.writeHead(status, { "content-type": "application/json" }).write(`${tokens},"x":"`);
      pour(response, 50_000_000);
    },
  },
  "50 MB that were 50 kB on the way": {
    answer: (response, status) =>
      response
        .writeHead(status, { "content-type": "application/json", "content-encoding": "gzip" })
        .end(bomb),
  },
  "a byte now and then": {
    answer: (response, status) => {
      response.writeHead(status, { "content-type": "application/json" }).write(tokens);
      drip(response);
    },
    ms: 12_000,
  },
  "100,000 levels": {
    answer: (response, status) => response.writeHead(status).end(`{"data":${DEEP},"error":${DEEP}}`),
  },
  "fewer bytes than it said": {
    answer: (response, status) => {
      response.writeHead(status, { "content-length": "1000" }).write(tokens);
      setTimeout(() => response.destroy(), 50);
    },
  },
  "a page that says it is JSON": {
    answer: (response, status) =>
      response.writeHead(status, { "content-type": "application/json" }).end("<html>\u001b[2J</html>"),
  },
  "headers without end": {
    answer: (response) => {
      const { socket } = response;
      socket?.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => socket?.write(`x-${"y".repeat(8_000)}: z\r\n`), 5);
      socket?.on("close", () => clearInterval(timer));
    },
  },
};

/** Of the chat only what is no stream is bounded: a stream is as long as the model speaks. */
const statusFor = ({ url }: IncomingMessage) => (url?.startsWith("/chat") ? 500 : 200);

test.each(Object.entries(HOSTILE))(
  "%s is no answer to anything, soon and in little memory",
  async (_, { answer, ms: limit = 5_000 }) => {
    const { outcomes, grown } = await askHostile((request, response) => {
      request.resume();
      answer(response, statusFor(request));
    });
    expect(Object.keys(outcomes).sort()).toEqual(ENDPOINTS);
    for (const [endpoint, { outcome, ms }] of Object.entries(outcomes)) {
      const text = JSON.stringify(outcome);
      const cut = /"status":500,"length":(?:\d{1,4}|[1-5]\d{4}|6[0-5]\d{3}),|"lost"/;
      expect(text).toMatch(endpoint === "chat" ? cut : /"state":"(?:failed|unusable|lost)"/);
      expect(text).not.toMatch(/access_token|\\u001b/);
      expect(ms).toBeLessThan(limit);
    }
    expect(grown).toBeLessThan(MOST_MEMORY);
  },
);

/** For the two questions about the quota together, ms. */
const QUOTA_TIMEOUT = 3_000;

describe("the figures of the plan are there when /me is", () => {
  const failures: typeof HOSTILE = {
    silence: { answer: () => {} },
    "status 500": { answer: (response) => response.writeHead(500).end(tokens) },
    "a name that is none": { answer: (response) => response.end('{"user_level_name":{"toString":1}}') },
  };

  test.each(Object.entries(failures))("%s", async (_, { answer }) => {
    const asked: (string | undefined)[] = [];
    const server = await startLoopback((request, response) => {
      asked.push(request.url);
      if (request.url === "/me") answer(response, 200);
      else response.end('{"parallel":{"limit":"7"},"user":{"membership":{"level":"LEVEL_TRIAL"}}}');
    });
    onTestFinished(() => server.close());
    const begun = performance.now();
    const { signal } = new AbortController();
    const found = await fetchUsage(
      { baseUrl: server.url, fetch, timeout: QUOTA_TIMEOUT },
      "access-1",
      signal,
    );
    // Whoever waits for the figures waits no longer than for one question.
    expect(performance.now() - begun).toBeLessThan(QUOTA_TIMEOUT * 0.8);
    expect(asked.sort()).toEqual(["/me", "/usages"]);
    expect(found).toMatchObject({ state: "figures", figures: { plan: "Trial", parallelLimit: 7 } });
  });
});

test.each([302, 307])("a redirect to another host is not followed (%i)", async (status) => {
  const strangers: IncomingMessage[] = [];
  const stranger = await startLoopback((request, response) => {
    strangers.push(request);
    response.end("{}");
  });
  onTestFinished(() => stranger.close());
  const { outcomes } = await askHostile((request, response) => {
    request.resume();
    response.writeHead(status, { location: `${stranger.url}/x` }).end();
  });
  expect(Object.keys(outcomes).sort()).toEqual(ENDPOINTS);
  for (const { outcome } of Object.values(outcomes))
    expect(JSON.stringify(outcome)).toContain(String(status));
  expect(strangers).toEqual([]);
});
