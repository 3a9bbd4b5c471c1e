/** One form for what a message says: a string, or the parts that are left when the empty ones are gone. */
import { isBlank, isJsonObject as isObject, type JsonObject } from "../../lib/json.ts";

export type Content = string | readonly JsonObject[];

/** Inline data; an empty file is nothing. Kimi fetches nothing from elsewhere. */
const INLINE = /^data:([^,]{0,100});base64,(?=.)/i;

/**
 * The canonical form of `content`; undefined when nothing is left of it. A single text becomes a string, as kimi-code
 * sends it, whichever of the two forms the host chose; parts lose `cache_control`. Blank text is dropped ("text content
 * is empty"), and so are parts that the service does not know.
 */
export function canonicalContent(content: unknown): Content | undefined {
  if (typeof content === "string") return isBlank(content) ? undefined : content;
  if (!Array.isArray(content)) return undefined;

  const parts = content.map(canonicalPart).filter((part) => part !== undefined);
  const [first] = parts;
  if (first === undefined) return undefined;
  return parts.length === 1 && typeof first.text === "string" ? first.text : parts;
}

function canonicalPart(part: unknown): JsonObject | undefined {
  if (!isObject(part)) return undefined;
  switch (part.type) {
    case "text":
      if (typeof part.text !== "string" || isBlank(part.text)) return undefined;
      return { type: "text", text: part.text };
    case "image_url":
      return picture(isObject(part.image_url) ? part.image_url.url : undefined);
    default:
      return undefined;
  }
}

/**
 * A picture that Kimi decodes, under the type that its bytes have: tools label a PNG as application/octet-stream, too.
 * Any other one would be refused ("unsupported image format") at this turn and, standing in the history, at every later
 * one (MoonshotAI/kimi-cli#2017, #1076), so the model is told of it instead.
 */
function picture(address: unknown): JsonObject {
  const url = typeof address === "string" ? address : "";
  const [head = "", label = ""] = INLINE.exec(url) ?? [];
  const data = url.slice(head.length);
  const type = head === "" ? undefined : decodedType(data.slice(0, 24));
  if (type === undefined) return { type: "text", text: leftOut(label) };
  const strict = isLoose(data) ? Buffer.from(data, "base64").toString("base64") : data;
  return { type: "image_url", image_url: { url: `data:${type};base64,${strict}` } };
}

/** Base64 with line breaks (RFC 2045) or for URLs (RFC 4648 §5), which Kimi is not known to take. No regex, for speed. */
function isLoose(text: string): boolean {
  return ["\n", "-", "_"].some((character) => text.includes(character));
}

/** What kimi-code sends, told by the first bytes. */
function decodedType(base64: string): string | undefined {
  const bytes = Buffer.from(base64, "base64").toString("latin1");
  if (bytes.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (bytes.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^GIF8[79]a/.test(bytes)) return "image/gif";
  return bytes.startsWith("RIFF") && bytes.startsWith("WEBP", 8) ? "image/webp" : undefined;
}

function leftOut(label: string): string {
  const kind = /^image\/[a-z0-9.+-]+$/i.test(label) ? label.toLowerCase() : "an unknown type";
  return `(an image of ${kind} was left out: it is none of png, jpeg, gif and webp)`;
}
