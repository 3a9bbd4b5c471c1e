import { expect, test } from "vitest";
import { Connection } from "../../extensions/chat/fetch.ts";

/** A minute and a half before the date that RFC 9110 (section 5.6.7) writes in three ways. */
const now = Date.UTC(1994, 10, 6, 8, 48, 7);
const LONGEST = 9_999_999_000;

test.each([
  ["7", 7_000],
  ["0", 0],
  ["9".repeat(400), LONGEST],
  ["Sun, 06 Nov 1994 08:49:37 GMT", 90_000],
  ["Sunday, 06-Nov-94 08:49:37 GMT", 90_000],
  ["Sun Nov  6 08:49:37 1994", 90_000],
  ["Sat, 05 Nov 1994 08:49:37 GMT", 0],
  ["Fri, 31 Dec 9999 23:59:59 GMT", LONGEST],
  ["Sun, 99 Nov 1994 08:49:37 GMT", undefined],
  ["soon", undefined],
  ["-1", undefined],
  ["", undefined],
])("retry-after: %j", (value, retryAfter) => {
  const connection = new Connection(() => now);
  connection.answered(new Response("", { status: 429, headers: { "retry-after": value } }));
  expect(connection.seen().retryAfter).toBe(retryAfter);
});

test.each([
  [Object.assign(new Error("connect"), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
  [
    new TypeError("fetch failed", { cause: Object.assign(new Error("dns"), { code: "ENOTFOUND" }) }),
    "ENOTFOUND",
  ],
  [
    new TypeError("fetch failed", {
      cause: new AggregateError([Object.assign(new Error("one"), { code: "ETIMEDOUT" })]),
    }),
    "ETIMEDOUT",
  ],
  [
    new TypeError("fetch failed", { cause: new Error("Proxy response (403) !== 200 when HTTP Tunneling") }),
    "PROXY_403",
  ],
  [new TypeError("fetch failed", { cause: new Error("") }), "PROXY_407"],
  [new Error("who knows"), undefined],
])("why there was no connection: %s", (error, code) => {
  const connection = new Connection();
  connection.failed(error);
  expect(connection.seen().code).toBe(code);
});

test("an answer takes the failure before it away", () => {
  const connection = new Connection();
  connection.failed(Object.assign(new Error("connect"), { code: "ECONNREFUSED" }));
  connection.answered(new Response("", { headers: { "content-type": "text/html; charset=utf-8" } }));
  expect(connection.seen()).toEqual({ code: undefined, retryAfter: undefined, page: true });
});
