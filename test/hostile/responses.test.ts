/** Whatever the service, or something in its place, answers: values that are safe to send, to show and to keep, or none. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { classifyError } from "../../extensions/chat/errors/classify.ts";
import { judgeError } from "../../extensions/chat/errors/explain.ts";
import { eventFilter } from "../../extensions/chat/event-stream.ts";
import { Connection, chatFetch } from "../../extensions/chat/fetch.ts";
import { isJsonObject } from "../../extensions/lib/json.ts";
import { oneLine, withoutTokens } from "../../extensions/lib/safe-text.ts";
import { parseServerList, piModels, wireModel } from "../../extensions/models/list.ts";
import { parseDeviceAuthorization } from "../../extensions/oauth/device-authorization.ts";
import { parseToken } from "../../extensions/oauth/token-endpoint.ts";
import { survives } from "./support/cases.ts";
import { asText, DEEP, field, hostileText, hostileValue, parsed, SECRET, SHOWN } from "./support/values.ts";

const NOW = Date.UTC(2026, 10, 21);
const seconds = fc.oneof(
  fc.integer({ min: -10, max: 40_000_000 }),
  fc.double(),
  fc.integer().map(String),
  fc.constantFrom(1e-320, 2 ** 31, "900", "1e9", "Infinity"),
);

describe("the list of models", () => {
  const entry = fc.record(
    {
      id: field(fc.constantFrom("k3", "kimi-for-coding", "kimi-k2.6", "__proto__", "constructor", "../../x")),
      display_name: field(hostileText),
      context_length: field(seconds),
      supports_reasoning: field(fc.boolean()),
      supports_image_in: field(fc.boolean()),
      supports_thinking_type: field(fc.constantFrom("only", "no", "both")),
      think_efforts: field(
        fc.record({
          support: field(fc.boolean()),
          valid_efforts: field(fc.array(fc.constantFrom("low", "high", "max", "__proto__"))),
          default_effort: field(fc.constantFrom("low", "max")),
        }),
      ),
    },
    { requiredKeys: [] },
  );
  const body = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ data: fc.array(fc.oneof(entry, entry, hostileValue), { maxLength: 6 }) }),
    },
    { weight: 1, arbitrary: hostileValue },
  );

  survives("can be offered, shown and sent", asText(body), (text) => {
    const models = parseServerList(parsed(text));
    for (const { id, name } of models) {
      expect(id).toMatch(/^[\w./:@-]{1,100}$/);
      expect(name).toMatch(SHOWN);
      expect(name.length).toBeGreaterThan(0);
      expect(Array.from(name).length).toBeLessThanOrEqual(60);
      expect(wireModel(models, id).id).toBe(id);
    }
    for (const { id, name, contextWindow, maxTokens } of piModels(models, "1.6.0")) {
      expect(`${id} ${name}`).toMatch(SHOWN);
      expect(
        contextWindow > 0 && contextWindow <= 100_000_000 && maxTokens > 0 && maxTokens <= contextWindow,
      ).toBe(true);
    }
    return models.length > 0;
  });
});

describe("error texts", () => {
  const error = fc.record({
    error: field(
      fc.record({
        message: field(hostileText),
        type: field(fc.constantFrom("access_terminated_error", "rate_limit_reached_error")),
      }),
    ),
    message: field(hostileText),
  });
  const words = fc.oneof(
    asText(error),
    hostileText,
    hostileText.map((title) => `<html><title>${title}</title>`),
    hostileText.map((said) => `bad token ${SECRET} ${said}`),
    hostileText.map((said) => JSON.stringify({ error: { message: `${said} Bearer ${SECRET}\u001b[2J` } })),
  );
  const start = fc.constantFrom(
    "",
    "400 ",
    "401: ",
    "402 ",
    "403 ",
    "429: ",
    "500 ",
    "502 ",
    "Server requested 999s retry delay (max: 60s). 429 ",
  );
  const seen = fc.record({
    code: fc.option(hostileText, { nil: undefined }),
    retryAfter: fc.option(fc.nat(), { nil: undefined }),
    page: fc.boolean(),
  });

  survives(
    "become one line of bounded length without escapes or tokens",
    fc.tuple(start, words, seen),
    ([before, said, more]) => {
      const { kind, sentence } = judgeError(before + said, new Date(NOW), more);
      expect(sentence).toMatch(/^Kimi Coder: /);
      expect(sentence).toMatch(SHOWN);
      expect(sentence.length).toBeLessThan(1_000);
      expect(sentence).not.toContain(SECRET);
      expect(classifyError(before + said, more)).toBe(kind);
    },
  );

  survives(
    "and every other text that is shown is one line",
    fc.tuple(hostileText, fc.integer({ min: 1, max: 300 })),
    ([text, limit]) => {
      const line = oneLine(text, limit);
      expect(line).toMatch(SHOWN);
      expect(Array.from(line).length).toBeLessThanOrEqual(limit);
      expect(oneLine(line, limit)).toBe(line);
      expect(withoutTokens(`${line} ${SECRET}`)).not.toContain(SECRET);
    },
  );

  test.each([
    "\n",
    "\n ",
    "\r\n\t",
    " ",
    "\u001b]",
    "\u001b[0",
    "in 1 d ",
    "model not ",
    "<title",
    "{",
    '"message":"\\',
    "quota ",
    "…",
  ])("take no time that grows with the square of their length: %j", (piece) => {
    for (const before of ["", "400 ", "403: ", "502 <html>", '400: {"error":{"message":"']) {
      const text = before + piece.repeat(1_000_000 / piece.length);
      expect(quickest(() => judgeError(text, new Date(NOW), {}))).toBeLessThan(SOON);
    }
  });
});

/** ms; of three tries, for the machine may be busy. */
function quickest(run: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const begun = performance.now();
    run();
    return performance.now() - begun;
  });
  return Math.min(...times);
}

/** For a text of a megabyte, of which 20,000 characters are read, ms. */
const SOON = 120;

describe("the stream of a chat", () => {
  const usage = fc.record({
    prompt_tokens: field(fc.nat()),
    cached_tokens: field(fc.nat()),
    prompt_tokens_details: field(fc.record({ cached_tokens: field(fc.nat()) })),
  });
  const chunk = fc.oneof(
    fc.record({
      id: field(hostileText),
      usage: field(usage),
      choices: field(
        fc.array(field(fc.record({ delta: hostileValue, usage: field(usage) })), { maxLength: 3 }),
      ),
    }),
    hostileValue,
  );
  const line = fc
    .tuple(
      fc.constantFrom("data: ", "data:", ": ", "event: ", ""),
      asText(chunk),
      fc.constantFrom("\n", "\n\n", "\r\n", ""),
    )
    .map((all) => all.join(""));

  survives(
    "comes out the same wherever it is cut, and says nothing that was not said",
    fc.tuple(fc.array(line, { maxLength: 5 }), fc.nat(), fc.nat()),
    ([lines, one, two]) => {
      const stream = Buffer.from(lines.join(""));
      const [from = 0, to = 0] = [one % (stream.length + 1), two % (stream.length + 1)].sort((a, b) => a - b);
      const whole = filter([stream]);
      expect(filter([stream.subarray(0, from), stream.subarray(from, to), stream.subarray(to)])).toBe(whole);
      // What is added is the details, where cached tokens were said beside them; the rest stays as it is.
      const before = stream.toString().split("\n");
      const after = whole.split("\n");
      expect(after.length).toBe(before.length);
      for (const [index, said] of before.entries()) {
        if (after[index] === said) continue;
        expect(said).toContain("cached_tokens");
        const [had, has] = [said, after[index] ?? ""].map((text) => parsed(text.replace(/^data: ?/, "")));
        expect(withoutDetails(has)).toEqual(withoutDetails(had));
      }
    },
  );

  test.each(["x", ": comment\n", "data: x\r\n"])("ends where an event does not: %j", async (piece) => {
    let poured = 0;
    let hungUp = false;
    const chunk = Buffer.from(piece.repeat(65_536 / piece.length));
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        poured += chunk.length;
        if (poured < 100_000_000) controller.enqueue(chunk);
        else controller.close();
      },
      cancel() {
        hungUp = true;
      },
    });
    const headers = { "content-type": "text/event-stream" };
    const ask = asking(async () => new Response(body, { headers }));
    const answer = await ask("https://api.kimi.com/x/chat/completions");
    await expect(answer.text()).rejects.toThrow("an event of more than 8 MB");
    expect(hungUp).toBe(true);
    expect(poured).toBeLessThan(9_000_000);
  });

  test("passes on a chunk of 100,000 levels as it is", () => {
    const said = Buffer.from(`data: {"choices":[{"delta":${DEEP}}],"usage":{"cached_tokens":4}}\n\n`);
    expect(filter([said])).toBe(said.toString());
  });
});

function asking(answer: typeof fetch): typeof fetch {
  return chatFetch("https://api.kimi.com/x", answer, () => new Set(), new Connection());
}

/** What comes out for a stream that arrives in these pieces and then ends in order, without that end. */
function filter(pieces: readonly Uint8Array[]): string {
  const { push, end } = eventFilter(() => new Set());
  const ending = '\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n';
  return ([...pieces, Buffer.from(ending)].map(push).join("") + end()).slice(0, -ending.length);
}

function withoutDetails(chunk: unknown): string {
  return JSON.stringify(chunk, (key, value: unknown) => {
    if (key !== "usage" || !isJsonObject(value)) return value;
    const { prompt_tokens_details: _, ...rest } = value;
    return rest;
  });
}

test("100,000 levels in any answer are an answer like any other", () => {
  for (const text of [
    DEEP,
    "[".repeat(100_000),
    `{"access_token":${DEEP},"error":${DEEP},"device_code":${DEEP},"data":${DEEP}}`,
  ]) {
    const value = parsed(text);
    expect(parseServerList(value)).toEqual([]);
    if (!isJsonObject(value)) continue;
    expect(parseDeviceAuthorization(value, NOW)).toBeUndefined();
    expect(parseToken(value, NOW)).toBeUndefined();
  }
  const list = parsed(
    `{"data":[{"id":"k3","think_efforts":${DEEP},"display_name":${DEEP},"context_length":${DEEP}}]}`,
  );
  expect(parseServerList(list)).toMatchObject([{ id: "k3", name: "k3", efforts: [] }]);
  expect(judgeError(`400: {"error":{"message":"x","details":${DEEP}}}`, new Date(NOW), {}).sentence).toMatch(
    SHOWN,
  );
});
