import { createServer, type ServerResponse } from "node:http";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reactionTo } from "../../extensions/errors/classify.ts";
import { classifyError, type ErrorClass, explainError } from "../../extensions/errors/explain.ts";
import { type Refusal, refusals } from "../support/kimi-service/answers.ts";
import { type Loopback, startLoopback } from "../support/loopback.ts";
import { adapterTexts, type HostName, hostVerdicts, type Verdict } from "./hosts.ts";

const now = new Date(2026, 10, 21, 13, 45, 20);
const hostNames: readonly HostName[] = ["0.73.1", "0.87.1"];

const page = (title: string) =>
  `<!DOCTYPE html>\n<html><head><title>${title}</title></head><body>no</body></html>`;
const html = (status: number, title: string) => (response: ServerResponse) => {
  response.writeHead(status, { "content-type": "text/html" }).end(page(title));
};
const json =
  ({ status, body, headers }: Refusal) =>
  (response: ServerResponse) => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  };
const says = (status: number, type: string, message: string) =>
  json({ status, body: { error: { type, message } } });
const events =
  (...lines: string[]) =>
  (response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(lines.map((line) => `data: ${line}\n\n`).join(""));
  };

interface Case {
  readonly answer: (response: ServerResponse) => void;
  readonly is: ErrorClass;
  /** What the sentence must say: the next action, and where the server has said something, that. */
  readonly told: readonly string[];
}

/** The table of the service's errors, in its words. */
const cases: Record<string, Case> = {
  "an access token that is rejected for good": {
    answer: json(refusals.unauthorized),
    is: "login",
    told: ["/login kimi-coder", "may have expired"],
  },
  "no membership": {
    answer: json(refusals.membership),
    is: "membership",
    told: ["https://www.kimi.com/code"],
  },
  "the User-Agent gate": {
    answer: json(refusals.unknownAgent),
    is: "identity",
    told: ["KIMI_CODER_IDENTITY=pi", "Kimi CLI"],
  },
  "the weekly limit": {
    answer: json(refusals.weeklyLimit),
    is: "weekly",
    told: ["wait until the week renews"],
  },
  "the weekly limit with its end": {
    answer: says(
      403,
      "access_terminated_error",
      "You've reached your weekly usage limit. It resets in 20 minutes.",
    ),
    is: "weekly",
    told: ["wait until 14:06"],
  },
  "the 5-hour limit": {
    answer: json(refusals.fiveHourLimit),
    is: "fiveHours",
    told: ["wait until it renews"],
  },
  "the billing cycle's limit": {
    answer: says(403, "access_terminated_error", "You've reached your usage limit for this billing cycle."),
    is: "cycle",
    told: ["wait until it renews", "https://www.kimi.com/code"],
  },
  "a suspended account": {
    answer: json(refusals.suspended),
    is: "suspended",
    told: ["suspended", "Community Guidelines"],
  },
  "another terminated access": {
    answer: says(403, "access_terminated_error", "Your access was terminated."),
    is: "forbidden",
    told: ["https://www.kimi.com/code", "Your access was …."],
  },
  "too many requests at once": { answer: json(refusals.concurrency), is: "concurrency", told: ["try again"] },
  "a rate limit": { answer: json(refusals.rateLimited()), is: "rate", told: ["wait a minute"] },
  "an overloaded engine": { answer: json(refusals.overloaded), is: "overloaded", told: ["wait a minute"] },
  "an exhausted quota": {
    answer: json(refusals.quota),
    is: "quota",
    told: ["wait until it renews", "You exceeded your current quota"],
  },
  "an empty balance": {
    answer: says(
      429,
      "exceeded_current_quota_error",
      "Your account is suspended due to insufficient balance, please recharge.",
    ),
    is: "quota",
    told: ["https://www.kimi.com/code"],
  },
  "a quota with its end": {
    answer: says(
      429,
      "exceeded_current_quota_error",
      "You exceeded your current quota, retry after 20 minutes",
    ),
    is: "quota",
    told: ["wait until 14:06"],
  },
  "an overflow": {
    answer: json(refusals.overflow(262_144)),
    is: "overflow",
    told: ["/compact", "model token limit: 262144"],
  },
  "a body that is too large": {
    answer: html(413, "413 Request Entity Too Large"),
    is: "overflow",
    told: ["/compact"],
  },
  "a level that the model does not take": {
    answer: says(400, "invalid_request_error", "invalid thinking effort: must be one of low, high"),
    is: "level",
    told: ["/thinking"],
  },
  "a model that is gone": {
    answer: says(404, "resource_not_found_error", "Not found the model k4 or Permission denied"),
    is: "model",
    told: ["/model"],
  },
  "content that is filtered": {
    answer: says(400, "content_filter", "The request was rejected because it was considered high risk"),
    is: "filtered",
    told: ["other words"],
  },
  "another bad request": {
    answer: json(refusals.badRequest("tool_call_id is not found")),
    is: "rejected",
    told: ["(400)", "tool_call_id is not found"],
  },
  "a bad request that names 500 of something": {
    answer: json(refusals.badRequest("at most 500 tools")),
    is: "rejected",
    told: ["at most … tools"],
  },
  "a server error": {
    answer: says(500, "server_error", "internal"),
    is: "server",
    told: ["(500)", "try again"],
  },
  "an answer without a body": {
    answer: (response) => response.writeHead(503).end(),
    is: "server",
    told: ["(503)"],
  },
  "a gateway's page": {
    answer: html(502, "502 Bad Gateway"),
    is: "gateway",
    told: ["check the proxy", "502 Bad Gateway"],
  },
  "a status that only proxies know": {
    answer: html(522, "Connection timed out"),
    is: "gateway",
    told: ["(522)"],
  },
  "a redirect": {
    answer: (response) => response.writeHead(302).end(),
    is: "redirect",
    told: ["KIMI_CODE_BASE_URL", "not followed"],
  },
  "a redirect with a page": {
    answer: html(307, "Moved"),
    is: "redirect",
    told: ["KIMI_CODE_BASE_URL", "Moved"],
  },
  "a firewall's page": { answer: html(403, "Blocked"), is: "proxy", told: ["VPN", "Blocked"] },
  "an error in the middle of the stream": {
    answer: events(
      '{"error":{"type":"engine_overloaded_error","message":"The engine is currently overloaded"}}',
    ),
    is: "overloaded",
    told: ["try again"],
  },
  "an answer that the filter ends": {
    answer: events('{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}', "[DONE]"),
    is: "filtered",
    told: ["content filter"],
  },
  "a connection that breaks": {
    answer: (response) => response.destroy(),
    is: "connection",
    told: ["check the network"],
  },
  "a stream that breaks": {
    answer: (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', () => response.destroy());
    },
    is: "connection",
    told: ["check the network"],
  },
  "an answer that never comes": { answer: () => {}, is: "timeout", told: ["check the network"] },
};
const names = Object.keys(cases);

describe("an error of the service", () => {
  let server: Loopback;
  let closed: string;
  let verdicts: Readonly<Record<HostName, Verdict>>;
  const texts: Record<HostName, readonly string[]> = { "0.73.1": [], "0.87.1": [] };

  beforeAll(async () => {
    server = await startLoopback((request, response) => {
      const name = names[Number(/^\/(\d+)\//.exec(request.url ?? "")?.[1])];
      request.resume().on("end", () => cases[name ?? ""]?.answer(response));
    });
    closed = await closedPort();
    const requests = names.map((name, index) => ({
      baseUrl: `${server.url}/${index}`,
      timeoutMs: name === "an answer that never comes" ? 200 : 20_000,
    }));
    const nobody = [{ baseUrl: closed }, { baseUrl: "https://no-such-host.invalid" }];
    verdicts = await hostVerdicts();
    for (const host of hostNames) texts[host] = await adapterTexts(host, [...requests, ...nobody]);
  });
  afterAll(() => server.close());

  const table = hostNames.flatMap((host) => names.map((name, index) => ({ host, name, index })));
  test.each(table)("$name on pi $host is explained, and pi does the right thing", ({ host, name, index }) => {
    const text = texts[host][index] ?? "";
    const { is, told } = cases[name] ?? { is: "unknown", told: [] };
    expect(text).not.toBe("");
    expect(classifyError(text)).toBe(is);
    const sentence = explainError(text, now);
    for (const part of told) expect(sentence).toContain(part);
    for (const judge of hostNames) expect(verdicts[judge](sentence)).toBe(reactionTo(is));
  });

  test.each(hostNames)("without an answer is told from what the system said, on pi %s", (host) => {
    const [refused, unknown] = texts[host].slice(names.length);
    expect(explainError(refused ?? "", now, { code: "ECONNREFUSED" })).toBe(
      "Kimi Coder: connection refused by Kimi's server or a proxy; check the proxy settings, and KIMI_CODE_BASE_URL if it is set. (the system: ECONNREFUSED)",
    );
    expect(explainError(unknown ?? "", now, { code: "ENOTFOUND" })).toContain("DNS");
    expect(explainError(unknown ?? "", now)).toContain("connection error");
  });

  const codes: ReadonlyArray<readonly [string, ErrorClass]> = [
    ["ENOTFOUND", "name"],
    ["EAI_AGAIN", "name"],
    ["ECONNREFUSED", "refused"],
    ["ECONNRESET", "connection"],
    ["UND_ERR_CONNECT_TIMEOUT", "connectTimeout"],
    ["ETIMEDOUT", "connectTimeout"],
    ["CERT_HAS_EXPIRED", "certificate"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "certificate"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "certificate"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "certificate"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "certificate"],
    ["PROXY_407", "proxyLogin"],
    ["PROXY_403", "proxy"],
  ];
  test.each(codes)("%s means %s to the user, and both hosts react to it", (code, kind) => {
    for (const text of ["Connection error.", "Request timed out."]) {
      if (text.startsWith("Request") && kind === "connection") continue;
      expect(classifyError(text, { code })).toBe(kind);
      for (const host of hostNames)
        expect(verdicts[host](explainError(text, now, { code }))).toBe(reactionTo(kind));
    }
  });

  /** Words that lead the hosts astray when a server says them, among what servers say. */
  const trap = fc.constantFrom(
    "terminated",
    "access_terminated_error",
    "timeout",
    "429",
    "500",
    "rate limit",
    "ratelimit",
    "overloaded",
    "server error",
    "billing",
    "quota exceeded",
    "insufficient_quota",
    "available balance",
    "too many tokens",
    "prompt is too long",
    "exceeded model token limit: 5",
    "exceeds the limit of 100",
    "too many requests",
    "(no body)",
    "retry delay",
    "Monthly usage limit reached",
    "week",
    "5-hour",
    "concurrent",
    "membership",
    "thinking",
    "timed out",
    "context_length_exceeded",
    "connection error",
    "Throttling error:",
    "ENOTFOUND",
    "high demand",
    "ended without",
    "fetch failed",
  );
  const message = fc
    .array(fc.oneof(trap, trap, fc.string({ maxLength: 12 })), { maxLength: 8 })
    .map((words) => words.join(" "));
  const status = fc.constantFrom(
    undefined,
    400,
    401,
    402,
    403,
    404,
    407,
    408,
    413,
    422,
    429,
    500,
    502,
    503,
    524,
  );
  const type = fc.constantFrom(
    "",
    "access_terminated_error",
    "permission_error",
    "rate_limit_reached_error",
    "exceeded_current_quota_error",
  );

  test("whatever a server says, both hosts do what is right for the class of the error", () => {
    fc.assert(
      fc.property(status, type, message, fc.boolean(), (code, kind, said, asNewer) => {
        const body = asNewer ? `: ${JSON.stringify({ message: said, type: kind })}` : ` ${said}`;
        const text = code === undefined ? said : `${code}${body}`;
        const sentence = explainError(text, now);
        const wanted = reactionTo(classifyError(text));
        for (const host of hostNames)
          expect([sentence, verdicts[host](sentence)]).toEqual([sentence, wanted]);
      }),
      { numRuns: 3000 },
    );
  });
});

describe("the sentence", () => {
  test("names the key, not the login, where a key was sent", () => {
    const sentence = explainError("401 Invalid Authentication", now, { key: true });
    expect(sentence).toContain("KIMI_CODER_API_KEY");
    expect(sentence).not.toContain("type /login kimi-coder to log in again");
  });

  test("of a page that came with 200 says that it was no answer of Kimi", () => {
    expect(classifyError("Stream ended without finish_reason", { page: true })).toBe("proxy");
  });

  test.each([
    [{ retryAfter: 90_000 }, "429 rate limit reached", "wait until 13:47"],
    [{}, "Server requested 1200s retry delay (max: 60s). 429 slow down", "wait until 14:06"],
    [{}, "403 weekly usage limit, try again in 1 h 15 min", "wait until 15:01"],
    [{}, "403 weekly usage limit, try again in 3 days", "wait until Tue 13:46"],
    [{}, "403 weekly usage limit, try again in 10 days", "wait until 1 Dec 13:46"],
    [{}, "403 weekly usage limit, try again in 99 days", "wait until the week renews"],
    [{}, `403 weekly usage limit until ${new Date(2026, 10, 21, 14, 5).toISOString()}`, "wait until 14:05"],
    [{}, "403 weekly usage limit until 2020-01-01T00:00:00Z", "wait until the week renews"],
  ])("tells the time when waiting ends: %o %s", (seen, text, told) => {
    expect(explainError(text, now, seen)).toContain(told);
  });

  test("has no stack trace and no terminal escapes", () => {
    const text = "TypeError: x is not a function\n    at run (/home/a/b.js:1:2)\n    at go (c.js)";
    expect(explainError(text, now)).toMatch(/\(pi: TypeError: x is not a function\)$/);
    expect(explainError("400 a\u001b]0;owned\u0007b\u001b[31mc\u009b2Jd\u202ee\r\nf", now)).toMatch(
      /\(Kimi: abcde f\)$/,
    );
  });

  const secret = fc.oneof(
    fc.stringMatching(/^(at|rt|dc)-sim-[a-z0-9]{8,20}$/),
    fc.stringMatching(/^sk-[A-Za-z0-9]{20,40}$/),
    fc.stringMatching(/^eyJ[A-Za-z0-9_-]{10,30}\.[A-Za-z0-9_-]{10,30}\.[A-Za-z0-9_-]{10,30}$/),
    fc.stringMatching(/^[A-Za-z0-9_-]{40,60}$/),
    fc.stringMatching(/^[a-f]{4}[0-9]{4}[a-f0-9]{24}$/),
  );

  test("never holds a token that the server repeated", () => {
    const around = fc.constantFrom("", " ", "'", '"', "Bearer ", "token=", "(");
    fc.assert(
      fc.property(
        secret,
        around,
        around,
        fc.constantFrom("400 ", "403: ", "502 ", ""),
        (token, before, after, status) => {
          const told = explainError(`${status}bad ${before}${token}${after} given`, now);
          expect(told).not.toContain(token);
          expect(told).not.toContain(token.slice(0, 16));
        },
      ),
    );
  });

  test("is one printable line of bounded length for any text", () => {
    const text = fc.oneof(fc.string({ unit: "binary", maxLength: 400 }), fc.string(), fc.json());
    const status = fc.constantFrom("", "400 ", "401: ", "403 ", "429: ", "500 ", "502 <html>");
    fc.assert(
      fc.property(status, text, fc.option(fc.string(), { nil: undefined }), (start, rest, code) => {
        const sentence = explainError(`${start}${rest}`, now, { code });
        expect(sentence).toMatch(/^Kimi Coder: [^\p{C}\n\r\u2028\u2029]+$/u);
        expect(sentence.length).toBeLessThan(1000);
      }),
      { numRuns: 1000 },
    );
  });

  test("is made quickly from a text of any length", () => {
    for (const piece of ["in 1 d ", "a", "{", '"message":"', "model ", "<", "\u001b]"]) {
      const before = performance.now();
      explainError(`400 ${piece.repeat(1_000_000 / piece.length)}`, now);
      expect(performance.now() - before).toBeLessThan(5_000);
    }
  });
});

/** The URL of a port of loopback on which nobody listens. */
async function closedPort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return `http://127.0.0.1:${address.port}`;
}
