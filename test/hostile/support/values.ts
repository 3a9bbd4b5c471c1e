/** What a hostile server, file or environment may say: text that steers terminals, forges headers, or is no text. */
import fc from "fast-check";

/** A token as it could be told from everything else that stands in an answer or a file. */
export const SECRET = "at-hostile-0123456789abcdef";

const PIECES = [
  "\u001b[31m",
  "\u001b]0;title\u0007",
  "\u001b]8;;https://evil.example\u001b\\",
  "\u001b",
  "\u009b2J",
  "\u009d0;x\u009c",
  "\r\nX-Injected: 1",
  "\n",
  "\r",
  "\u2028",
  "\u202e",
  "\u200b",
  "\ufeff",
  "\u0000",
  "\ud800",
  "\t",
  " ",
  "é",
  "日本",
  "%0d%0a",
  "&refresh_token=x",
  "__proto__",
  "../../etc/passwd",
  "$(reboot)",
  "a",
  "0",
  "\\u001b",
];

/** Text that is anything but harmless. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.array(fc.constantFrom(...PIECES), { maxLength: 8 }).map((all) => all.join("")) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 40 }) },
  { weight: 2, arbitrary: fc.string({ maxLength: 20 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...PIECES), fc.integer({ min: 1, max: 1_000 }))
      .map(([piece, times]) => piece.repeat(times)),
  },
);

const NUMBERS = [
  0,
  -0,
  -1,
  1e308,
  5e-324,
  2 ** 31,
  2 ** 53,
  -(2 ** 63),
  1.5,
  1_800_000_000,
  1_800_000_000_000,
];

/** Any value of JSON, with names that mean something to JavaScript. */
export const hostileValue: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    hostileText,
    fc.constantFrom(...NUMBERS),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(null, true, false, "", "NaN", "1e9", "900"),
    fc.array(tie("value"), { maxLength: 4 }),
    fc
      .array(fc.tuple(hostileName(), tie("value")), { maxLength: 4 })
      .map((entries): unknown => Object.fromEntries(entries)),
  ),
})).value;

function hostileName(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom(
      "__proto__",
      "constructor",
      "toString",
      "length",
      "error",
      "message",
      "data",
      "usage",
      "id",
    ),
    hostileText,
  );
}

/** A value for a field: right, hostile, or missing. */
export function field(right: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 5, arbitrary: right },
    { weight: 2, arbitrary: hostileText },
    { weight: 1, arbitrary: hostileValue },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

/** Deeper than any recursion: 100,000 levels, valid or cut off. */
export const DEEP = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;

/** Object texts as they come off a disk or a wire: whole, torn, with a BOM or NULs in them, with more behind them. */
export function asText(value: fc.Arbitrary<unknown>): fc.Arbitrary<string> {
  const whole = fc
    .tuple(value, fc.constantFrom(undefined, 1, "\t"))
    .map(([one, space]) => JSON.stringify(one, null, space) ?? "");
  return fc.oneof(
    { weight: 8, arbitrary: whole },
    {
      weight: 2,
      arbitrary: fc.tuple(whole, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1))),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(whole, fc.nat(), fc.constantFrom("\u0000", "\ufeff", "}", '"', ",", "1e999", "\ud800"))
        .map(([text, at, more]) => {
          const place = at % (text.length + 1);
          return text.slice(0, place) + more + text.slice(place);
        }),
    },
    { weight: 1, arbitrary: whole.map((text) => `\ufeff${text}`) },
    { weight: 1, arbitrary: fc.tuple(whole, whole).map((both) => both.join("")) },
    { weight: 1, arbitrary: hostileText },
  );
}

/** As `JSON.parse` gives it, with `__proto__` as a name like any other; undefined where it is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Nothing that steers a terminal, breaks a line or turns the direction. */
export const SHOWN = /^[^\p{C}\u2028\u2029]*$/u;
