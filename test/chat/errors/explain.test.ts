import type { ServerResponse } from "node:http";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  classifyError,
  type ErrorClass,
  reactionTo,
  type Seen,
} from "../../../extensions/chat/errors/classify.ts";
import { judgeError } from "../../../extensions/chat/errors/explain.ts";
import { count } from "../../support/counts.ts";
import { type Refusal, refusals } from "../../support/kimi-service/answers.ts";
import { type Loopback, startLoopback } from "../../support/loopback.ts";
import { adapterTexts, type HostName, hostVerdicts, type Verdict } from "./hosts.ts";

const now = new Date(2026, 10, 21, 13, 45, 20);
const explainError = (text: string, at: Date, seen: Seen = {}) => judgeError(text, at, seen).sentence;
const hostNames: readonly HostName[] = ["0.73.1", "1.6.0"];

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

/** The service's errors, in its words: https://www.kimi.com/code/docs/en/kimi-code/error-reference.html, and reports. */
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
    told: ["wait until it resets"],
  },
  "the 5-hour limit": {
    answer: json(refusals.fiveHourLimit),
    is: "fiveHours",
    told: ["wait until it resets"],
  },
  "the billing cycle's limit": {
    answer: says(403, "access_terminated_error", "You've reached your usage limit for this billing cycle."),
    is: "cycle",
    told: ["wait until it resets", "https://www.kimi.com/code"],
  },
  "the 5-hour limit, as a period's": {
    answer: says(
      429,
      "rate_limit_reached_error",
      "You've reached your usage limit for this period. Your quota will be refreshed in the next period.",
    ),
    is: "fiveHours",
    told: ["wait until it resets"],
  },
  "a suspended account": {
    answer: json(refusals.suspended),
    is: "suspended",
    told: ["suspended", "Community Guidelines"],
  },
  "an account that was ended": {
    answer: says(403, "access_terminated_error", "Access terminated."),
    is: "suspended",
    told: ["community guidelines"],
  },
  "another terminated access": {
    answer: says(403, "access_terminated_error", "Your access was terminated."),
    is: "forbidden",
    told: ["https://www.kimi.com/code", "Your access was …."],
  },
  "too many requests at once": { answer: json(refusals.concurrency), is: "concurrency", told: ["try again"] },
  "too many requests at once, among the rates": {
    answer: says(
      429,
      "rate_limit_reached_error",
      "Your account org-1<ak-1> request reached organization max concurrency: 3, please try again after 1 seconds",
    ),
    is: "concurrency",
    told: ["try again"],
  },
  "an overloaded engine": { answer: json(refusals.overloaded), is: "overloaded", told: ["wait a minute"] },
  "an exhausted quota": {
    answer: json(refusals.quota),
    is: "quota",
    told: ["wait until it resets", "You exceeded your current quota"],
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
  "an overflow": {
    answer: json(refusals.overflow(262_144)),
    is: "overflow",
    told: ["/compact", "model token limit: 262144"],
  },
  "an input of too many tokens": {
    answer: says(400, "invalid_request_error", "Input token length too long"),
    is: "overflow",
    told: ["/compact", "Input token length too long"],
  },
  "messages that are too large": {
    answer: says(400, "invalid_request_error", "total message size 5943865 exceeds limit 2097152"),
    is: "overflow",
    told: ["/compact", "total message size 5943865"],
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
  "an address that is not Kimi's": {
    answer: json(refusals.notFound),
    is: "address",
    told: ["KIMI_CODE_BASE_URL", "https://api.kimi.com/coding/v1"],
  },
  "a picture that cannot be decoded": {
    answer: says(400, "invalid_request_error", "Invalid request: unsupported image format"),
    is: "picture",
    told: ["picture", "/tree"],
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
  "a server error": {
    answer: says(500, "server_error", "internal"),
    is: "server",
    told: ["(500)", "try again"],
  },
  "a gateway's page": {
    answer: html(502, "502 Bad Gateway"),
    is: "gateway",
    told: ["check the proxy", "502 Bad Gateway"],
  },
  "a redirect": {
    answer: (response) => response.writeHead(302).end(),
    is: "redirect",
    told: ["KIMI_CODE_BASE_URL", "not followed"],
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
  "an answer that never comes": { answer: () => {}, is: "timeout", told: ["check the network"] },
};
const names = Object.keys(cases);

describe("an error of the service", () => {
  let server: Loopback;
  let verdicts: Readonly<Record<HostName, Verdict>>;
  const texts: Record<HostName, readonly string[]> = { "0.73.1": [], "1.6.0": [] };

  beforeAll(async () => {
    server = await startLoopback((request, response) => {
      const name = names[Number(/^\/(\d+)\//.exec(request.url ?? "")?.[1])];
      request.resume().on("end", () => cases[name ?? ""]?.answer(response));
    });
    const requests = names.map((name, index) => ({
      baseUrl: `${server.url}/${index}`,
      timeoutMs: name === "an answer that never comes" ? 200 : 20_000,
    }));
    verdicts = await hostVerdicts();
    for (const host of hostNames) texts[host] = await adapterTexts(host, requests);
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

  const codes: ReadonlyArray<readonly [string, ErrorClass]> = [
    ["ENOTFOUND", "name"],
    ["ECONNREFUSED", "refused"],
    ["ECONNRESET", "connection"],
    ["UND_ERR_CONNECT_TIMEOUT", "connectTimeout"],
    ["CERT_HAS_EXPIRED", "certificate"],
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
      { numRuns: count(300, 3_000) },
    );
  });
});

test("an answer that is none has a sentence to which both hosts react as they should", async () => {
  const verdicts = await hostVerdicts();
  for (const fault of ["noAnswer", "allThinking", "lostCall", "cutCall"] as const) {
    const sentence = explainError("", now, { fault, output: 32_768 });
    for (const host of hostNames)
      expect([sentence, verdicts[host](sentence)]).toEqual([sentence, reactionTo(fault)]);
    expect(sentence).toMatch(/^Kimi Coder: [^;]+; [^;]+\.$/);
  }
});

test("silence for longer than pi waits names the setting, where the host has one", async () => {
  const verdicts = await hostVerdicts();
  for (const [text, code] of [
    ["Request timed out.", undefined],
    ["terminated", "UND_ERR_BODY_TIMEOUT"],
  ] as const) {
    const sentence = explainError(text, now, { code, patience: 300_000 });
    expect(sentence).toMatch(/Kimi was silent for 300 s; .*raise httpIdleTimeoutMs or .* in pi's settings/);
    for (const host of hostNames) expect(verdicts[host](sentence)).toBe("retry");
  }
  expect(explainError("Request timed out.", now)).not.toContain("httpIdleTimeoutMs");
});

describe("the end of a limit", () => {
  const at = (hours: number) => now.getTime() + hours * 3_600_000;
  const week = { kind: "week", usedPercent: 100, resetsAt: at(61) };
  const windows = [
    { kind: "5h", usedPercent: 40, resetsAt: at(3) },
    week,
    { kind: "month", usedPercent: 95, resetsAt: at(200) },
  ];

  test.each([
    ["403 You've reached your weekly usage limit.", "resets Tue 02:46, in 3 d"],
    ["403 usage limit, refreshed in the next 5-hour window", "resets 16:46, in 3 h"],
    ["403 You've reached your usage limit for this billing cycle.", "resets 29 Nov 21:46, in 8 d"],
    // Whatever may be the one that stops it.
    ["429 You exceeded your current quota", "resets 29 Nov 21:46, in 8 d"],
    // What the service says is newer.
    ["403 weekly usage limit. It resets in 2 hours.", "resets 15:46, in 2 h"],
  ])("is known from the last figures: %s", (text, told) => {
    expect(explainError(text, now, { windows })).toContain(`wait until it ${told}`);
  });

  test("is not told from figures that are older than it, or of another limit", () => {
    const past = [{ kind: "week", usedPercent: 100, resetsAt: at(-1) }];
    expect(explainError("403 weekly usage limit", now, { windows: past })).toContain(
      "wait until it resets, or",
    );
    // Kimi calls the week a billing cycle, too.
    const cycle = [week, { kind: "month", usedPercent: 40, resetsAt: at(200) }];
    expect(explainError("403 usage limit for this billing cycle", now, { windows: cycle })).toContain(
      "resets Tue 02:46, in 3 d",
    );
    const other = [{ kind: "5h", usedPercent: 40, resetsAt: at(1) }];
    for (const text of ["403 weekly usage limit", "429 You exceeded your current quota"])
      expect(explainError(text, now, { windows: other })).toContain("wait until it resets, or");
  });
});

test("of a picture that Kimi refuses it is said where it is from", () => {
  const refused = (...messages: readonly unknown[]) =>
    explainError("400 unsupported image format", now, { sent: { messages } });
  const picture = {
    role: "user",
    content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }],
  };
  const call = { id: "shot:0", type: "function", function: { name: "screenshot", arguments: "{}" } };
  const other = { id: "bash:1", type: "function", function: { name: "bash", arguments: "{}" } };
  const result = { role: "tool", content: "taken", tool_call_id: "shot:0" };
  const otherResult = { role: "tool", content: "done", tool_call_id: "bash:1" };
  expect(refused(picture)).toContain("the newest picture of this session (from a message)");
  expect(refused(picture, { role: "assistant", tool_calls: [call] }, result, picture)).toContain(
    "the newest picture of this session (from the tool screenshot)",
  );
  // pi puts the pictures of all tools of a turn behind the results of all.
  expect(refused({ role: "assistant", tool_calls: [call, other] }, result, otherResult, picture)).toContain(
    "the newest picture of this session (from the tool screenshot or bash)",
  );
  expect(refused({ role: "user", content: "no picture" })).toContain("cannot read a picture of this session");
});

describe("the sentence", () => {
  test.each([
    [{ retryAfter: 90_000 }, "429 rate limit reached", "wait until 13:47"],
    [
      { retryAfter: 1_200_000 },
      "Server requested 1200s retry delay (max: 60s). 429 slow down",
      "wait until 14:06",
    ],
    [{}, "403 weekly usage limit, try again in 1 h 15 min", "wait until it resets 15:01, in 75 m"],
    [{}, "403 weekly usage limit, try again in 99 days", "wait until it resets, or"],
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
});
