import { expect, onTestFinished, test } from "vitest";
import { watchConnection } from "../../extensions/chat/connection-watch.ts";
import { startLoopback } from "../support/loopback.ts";

/** A minute and a half before the date that RFC 9110 (section 5.6.7) writes in three ways. */
const now = Date.UTC(1994, 10, 6, 8, 48, 7);
const LONGEST = 9_999_999_000;

test.each([
  ["7", 7_000],
  ["0", 0],
  ["9999999", LONGEST],
  ["99999999", LONGEST],
  ["9".repeat(400), LONGEST],
  ["Sun, 06 Nov 1994 08:49:37 GMT", 90_000],
  ["Sunday, 06-Nov-94 08:49:37 GMT", 90_000],
  ["Sun Nov  6 08:49:37 1994", 90_000],
  ["Sun, 06 Nov 1994 08:48:07 GMT", 0],
  ["Sat, 05 Nov 1994 08:49:37 GMT", 0],
  ["Fri, 31 Dec 9999 23:59:59 GMT", LONGEST],
  ["Sun, 99 Nov 1994 08:49:37 GMT", undefined],
  ["soon", undefined],
  ["Sun 5", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["", undefined],
])("retry-after: %j", async (value, retryAfter) => {
  const { url, close } = await startLoopback((_request, response) => {
    response.writeHead(429, { "retry-after": value }).end();
  });
  const connection = watchConnection(() => now);
  onTestFinished(async () => {
    connection.stop();
    await close();
  });
  connection.aim(url);
  expect((await fetch(url)).status).toBe(429);
  expect(connection.seen().retryAfter).toBe(retryAfter);
});
