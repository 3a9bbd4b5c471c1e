import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cachedTokensFilter } from "../../extensions/chat/cached-tokens.ts";

/** What comes out of the filter for a stream that arrives in these pieces. */
function filter(pieces: readonly Uint8Array[]): Buffer {
  const { push, end } = cachedTokensFilter();
  const out = pieces.map((piece) => push(piece));
  return Buffer.concat([...out, end()].filter((bytes) => bytes !== undefined));
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return sorted.slice(1).map((to, index) => bytes.subarray(sorted[index], to));
}

const event = (chunk: unknown) => `data: ${JSON.stringify(chunk)}\n\n`;
const filterText = (text: string) => filter([Buffer.from(text)]).toString();

describe("cached tokens", () => {
  it("said beside the details are said in them too, in both usage objects", () => {
    const usage = { prompt_tokens: 9, cached_tokens: 4 };
    const told = { ...usage, prompt_tokens_details: { cached_tokens: 4 } };
    expect(filterText(event({ id: "x", choices: [], usage }))).toBe(
      event({ id: "x", choices: [], usage: told }),
    );
    expect(filterText(event({ choices: [{ index: 0, delta: {}, usage }] }))).toBe(
      event({ choices: [{ index: 0, delta: {}, usage: told }] }),
    );
  });

  it("join details that say something else", () => {
    const usage = { cached_tokens: 4, prompt_tokens_details: { audio_tokens: 1 } };
    expect(filterText(event({ usage }))).toBe(
      event({ usage: { cached_tokens: 4, prompt_tokens_details: { audio_tokens: 1, cached_tokens: 4 } } }),
    );
  });

  it("are found where lines end in CRLF, and in the last line without an end", () => {
    const line = `data:${JSON.stringify({ usage: { cached_tokens: 4 } })}`;
    const told = `data:${JSON.stringify({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } } })}`;
    expect(filterText(`${line}\r\n\r\n${line}`)).toBe(`${told}\r\n\r\n${told}`);
  });

  it.each([
    event({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 0 } } }),
    event({ usage: { prompt_tokens_details: { cached_tokens: 4 } } }),
    event({ usage: { cached_tokens: "4" } }),
    event({ usage: null, choices: [null, { usage: [] }] }),
    event({ choices: [{ delta: { content: '"cached_tokens": 4' } }] }),
    'data:  { "usage" : { "cached_tokens" : 4.0 , "prompt_tokens_details":{"cached_tokens":4} } }\n\n',
    ": cached_tokens\n\n",
    'data: {"usage":{"cached_tokens":4}\n\n',
    "data: [DONE]\n\n",
    "cached_tokens",
    "",
  ])("leave what needs nothing, or says nothing, byte for byte: %j", (text) => {
    expect(filterText(text)).toBe(text);
  });

  it("come out the same wherever the stream is cut, also inside a character", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 20 });
    const usage = fc.record({ prompt_tokens: fc.nat(), cached_tokens: fc.nat() }, { requiredKeys: [] });
    const line = fc.oneof(
      text.map((content) => event({ choices: [{ delta: { content } }] })),
      usage.map((said) => event({ choices: [], usage: said })),
      usage.map((said) => event({ choices: [{ delta: { content: "€𝄞" }, usage: said }] })),
      text.map((comment) => `: ${comment.replace(/[\r\n]/g, "")} cached_tokens\r\n`),
    );
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (lines, places) => {
          const stream = Buffer.from(lines.join(""));
          const whole = filter([stream]);
          expect(filter(cut(stream, places)).equals(whole)).toBe(true);
          expect(filter(Array.from(stream, (byte) => Buffer.of(byte))).equals(whole)).toBe(true);
          const untouched = lines.filter((one) => !one.includes('"cached_tokens"')).join("");
          expect(filter([Buffer.from(untouched)]).toString()).toBe(untouched);
        },
      ),
    );
  });

  it("pass bytes that are no text as they are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (pieces) => {
        expect(filter(pieces).equals(Buffer.concat(pieces))).toBe(true);
      }),
    );
  });

  it("never hold back more than a line, and of an endless one no more than 256 KiB", () => {
    const { push } = cachedTokensFilter();
    const piece = Buffer.alloc(65_536, "a");
    let inside = 0;
    for (let pieces = 1; pieces <= 100; pieces++) {
      inside += piece.length - (push(piece)?.length ?? 0);
      expect(inside).toBeLessThanOrEqual(262_144);
    }
    expect(inside).toBe(0);
    // The end of that line is not taken for a line of its own; the next one is read again.
    const line = event({ usage: { cached_tokens: 4 } });
    expect(push(Buffer.from(`${line}${line}`))?.toString()).toBe(
      `${line}${event({ usage: { cached_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } } })}`,
    );
  });
});
