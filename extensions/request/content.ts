/** One form for what a message says: a string, or the parts that are left when the empty ones are gone. */
import type { JsonObject } from "./json.ts";
import * as json from "./json.ts";

// Taken out once: see json.ts.
const { hasOnlyKeys, isBlank, isObject } = json;

export type Content = string | readonly JsonObject[];

const TEXT_KEYS: ReadonlySet<string> = new Set(["type", "text"]);
const MEDIA_KEYS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["image_url", new Set(["type", "image_url"])],
  ["video_url", new Set(["type", "video_url"])],
]);

/** Kimi takes data and what was uploaded to it; it fetches nothing, and an empty file is no image. */
const SENDABLE = /^(?:data:[a-z]+\/[a-z0-9.+-]+;base64,.|ms:\/\/.)/i;
const LEFT_OUT = "(an image that cannot be sent was left out)";

/**
 * The canonical form of `content`; undefined when nothing is left of it. A single text becomes a string, as kimi-code
 * sends it, whichever of the two forms the host chose; parts lose `cache_control`; what needs nothing stays the same
 * object. Blank text is dropped ("text content is empty"), and so are parts that the service does not know.
 */
export function canonicalContent(content: unknown): Content | undefined {
  if (typeof content === "string") return isBlank(content) ? undefined : content;
  if (!Array.isArray(content)) return undefined;

  let changed = false;
  const parts: JsonObject[] = [];
  for (const given of content) {
    const part = canonicalPart(given);
    if (part !== given) changed = true;
    if (part !== undefined) parts.push(part);
  }
  const [first] = parts;
  if (first === undefined) return undefined;
  if (parts.length === 1 && typeof first.text === "string") return first.text;
  return changed ? parts : content;
}

function canonicalPart(part: unknown): JsonObject | undefined {
  if (typeof part === "string") return isBlank(part) ? undefined : { type: "text", text: part };
  if (!isObject(part)) return undefined;
  if (part.type === "text") {
    if (typeof part.text !== "string" || isBlank(part.text)) return undefined;
    return hasOnlyKeys(part, TEXT_KEYS) ? part : { type: "text", text: part.text };
  }
  if (typeof part.type !== "string") return undefined;
  const keys = MEDIA_KEYS.get(part.type);
  if (keys === undefined) return undefined;
  const media = part[part.type];
  const url = isObject(media) ? media.url : media;
  if (typeof url !== "string" || !SENDABLE.test(url)) return { type: "text", text: LEFT_OUT };
  if (!isObject(media)) return { type: part.type, [part.type]: { url } };
  return hasOnlyKeys(part, keys) ? part : { type: part.type, [part.type]: media };
}
