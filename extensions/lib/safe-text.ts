/** Somebody else's text, made fit for one line of a terminal, and tokens, named without being given away. */
import { createHash } from "node:crypto";

/** Terminal escapes as a whole: CSI, then OSC and the other strings up to their end, then two-character ones. */
const ESCAPES =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[P\]X^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g;

/** Control, format (also the ones that turn the writing direction), private, unassigned and half characters. */
const UNPRINTABLE = /\p{C}/gu;

/** One line of at most `limit` characters without controls or terminal escapes; "" when nothing is left. Never throws. */
export function oneLine(text: string, limit: number): string {
  // Bounded before the expensive part; what is thrown away is at most escapes and spaces beyond four times the limit.
  const line = text
    .slice(0, limit * 4)
    .replace(ESCAPES, "")
    .replace(/\s+/gu, " ")
    .replace(UNPRINTABLE, "")
    .replace(/ {2,}/g, " ")
    .trim();
  const characters = Array.from(line);
  return characters.length <= limit
    ? line
    : `${characters
        .slice(0, limit - 1)
        .join("")
        .trimEnd()}…`;
}

/** At most `limit` bytes of UTF-8; a character that is cut through is left out. */
export function firstBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text).subarray(0, limit);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
}

/** JSON web tokens, bearer headers, and what providers' keys and tokens look like. */
const TOKENS = [
  /\bBearer\s+[\w.~+/=-]+/gi,
  /\beyJ[\w-]*(?:\.[\w-]*)*/g,
  /\b(?:sk|rt|at|dc)-[\w-]{6,}/g,
  /["']?\b(?:access|refresh|device|id)_?(?:token|code)\b["']?\s*[:=]\s*["']?[^\s"',}]+/gi,
];
/** Anything this long in one piece is no word; with digits among its letters, even less is none. */
const OPAQUE = /[\w~+=-]{20,}/g;

/** `text` without anything that could be a token or key. Ordinary words, URLs, times and numbers stay. */
export function withoutTokens(text: string): string {
  const known = TOKENS.reduce((rest, token) => rest.replace(token, "…"), text);
  return known.replace(OPAQUE, (piece) =>
    piece.length >= 40 || (/\d/.test(piece) && /[A-Za-z]/.test(piece)) ? "…" : piece,
  );
}

/** Printable ASCII without spaces (RFC 6749 appendix A.12): anything else would break, or forge, a header. */
export function isTokenText(value: unknown): value is string {
  return typeof value === "string" && value.length <= 16_384 && /^[\x21-\x7e]+$/.test(value);
}

/** The first 16 hex digits of the token's SHA-256: enough to tell tokens apart, useless to anybody else. */
export function fingerprint(token: string): string {
  return createHash("sha256").update(token).digest("hex").slice(0, 16);
}
