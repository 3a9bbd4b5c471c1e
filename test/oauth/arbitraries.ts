/** Whatever a server may answer: nonsense, and bodies that are nearly right. */
import fc from "fast-check";
import { expect } from "vitest";
import type { FormAnswer } from "../../extensions/lib/http.ts";
import type { JsonObject } from "../../extensions/lib/json.ts";
import type { Token } from "../../extensions/oauth/token.ts";

const text = fc.oneof(
  fc.stringMatching(/^[\x21-\x7e]{1,40}$/),
  fc.string({ unit: "binary" }),
  fc.constantFrom("", "\u001b]0;evil\u0007", "a\r\nX-Evil: 1", "\u202e"),
);
const seconds = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.integer().map(String),
  fc.constantFrom("NaN", "1e9", "", null),
);

/** A field that is right, of another type, or missing. */
function field(right: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 5, arbitrary: right }, fc.jsonValue(), fc.constant(undefined));
}

export const anyObject: fc.Arbitrary<JsonObject> = fc.dictionary(fc.string(), fc.jsonValue());

export const anyTokenBody: fc.Arbitrary<JsonObject> = fc.oneof(
  anyObject,
  fc.record({
    access_token: field(text),
    refresh_token: field(text),
    expires_in: field(seconds),
    scope: field(text),
    token_type: field(text),
  }),
);

export const anyUri = fc.oneof(
  fc.webUrl({ withFragments: true, withQueryParameters: true }),
  fc.string({ unit: "binary" }),
  fc
    .tuple(
      fc.constantFrom("https://", "http://", "javascript:", "file://", "data:", "//", ""),
      fc.string({ unit: fc.constantFrom(..."abc./?#@:%$()`\"'\\;|&<>{}^*!~[] \n\t\u001b\u202eé日") }),
    )
    .map((parts) => parts.join("")),
);

export const anyDeviceBody: fc.Arbitrary<JsonObject> = fc.oneof(
  anyObject,
  fc.record({
    device_code: field(text),
    user_code: field(text),
    verification_uri: field(anyUri),
    verification_uri_complete: field(anyUri),
    expires_in: field(seconds),
    interval: field(seconds),
  }),
);

const anyErrorBody: fc.Arbitrary<JsonObject> = fc.record({
  error: field(
    fc.constantFrom(
      "invalid_grant",
      "authorization_pending",
      "slow_down",
      "expired_token",
      "access_denied",
      "server_error",
    ),
  ),
  error_description: fc.string(),
});

const status = fc.oneof(
  fc.constantFrom(200, 400, 401, 403, 404, 408, 429, 500, 503),
  fc.integer({ min: 0, max: 599 }),
);
const wait = fc.oneof(fc.constant({}), fc.record({ retryAfter: fc.nat() }));

export const anyAnswer: fc.Arbitrary<FormAnswer> = fc.oneof(
  fc
    .tuple(status, fc.oneof(anyTokenBody, anyErrorBody, anyObject), wait)
    .map(([status, body, wait]): FormAnswer => ({ state: "answered", status, body, ...wait })),
  fc.tuple(status, wait).map(([status, wait]): FormAnswer => ({ state: "not-json", status, ...wait })),
  fc
    .record({ sent: fc.boolean(), code: fc.constantFrom("ECONNRESET", "ECONNREFUSED", "ETIMEDOUT") })
    .map((lost): FormAnswer => ({ state: "lost", ...lost })),
);

/** That nothing in a token can break a header, a file or a calculation. */
export function expectToken(token: Token, now: number): void {
  expect(token.accessToken).toMatch(/^[\x21-\x7e]{1,16384}$/);
  expect(token.refreshToken).toMatch(/^[\x21-\x7e]{1,16384}$/);
  expect(token.lifetime).toBeGreaterThan(0);
  expect(token.lifetime).toBeLessThanOrEqual(366 * 86_400_000);
  expect(token.expiresAt).toBe(now + token.lifetime);
  expect(["string", "undefined"]).toContain(typeof token.scope);
  expect(["string", "undefined"]).toContain(typeof token.tokenType);
}
