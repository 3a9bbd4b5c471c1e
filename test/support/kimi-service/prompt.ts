/** The prompt as the service counts it: its text, its rough size in tokens, and how much of it was seen before. */
import { createHash } from "node:crypto";
import type { JsonObject } from "./types.ts";

const CHARACTERS_PER_TOKEN = 4;
const IMAGE_TOKENS = 1000;
/** Prompts remembered for each cache key. */
const REMEMBERED = 64;

/** Tools, then messages; what the model is told about thinking comes first, so that changing it loses the cache. */
export function promptText(body: JsonObject): string {
  const messages: unknown[] = Array.isArray(body.messages) ? body.messages : [];
  const head = { model: body.model, thinking: body.thinking, reasoning_effort: body.reasoning_effort };
  return [head, body.tools ?? [], ...messages]
    .map((part) => JSON.stringify(part, (_key, value: unknown) => shortenImage(value)))
    .join("\n");
}

/** An image costs the same whatever its bytes are, but other bytes make another prompt. */
function shortenImage(value: unknown): unknown {
  if (typeof value !== "string" || !value.startsWith("data:")) return value;
  const digest = createHash("sha256").update(value).digest("hex");
  return digest.padEnd(IMAGE_TOKENS * CHARACTERS_PER_TOKEN, ".");
}

export function countTokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

export function createPromptCache() {
  const seen = new Map<string, string[]>();
  return {
    /** How many tokens of this prompt an earlier one of the same key begins with; remembers the prompt. */
    enter(key: string | undefined, prompt: string): number {
      if (key === undefined) return 0;
      const earlier = seen.get(key) ?? [];
      const shared = Math.max(0, ...earlier.map((other) => sharedPrefix(other, prompt)));
      seen.set(key, [...earlier, prompt].slice(-REMEMBERED));
      return Math.floor(shared / CHARACTERS_PER_TOKEN);
    },
  };
}

function sharedPrefix(one: string, other: string): number {
  const end = Math.min(one.length, other.length);
  let at = 0;
  while (at < end && one.charCodeAt(at) === other.charCodeAt(at)) at += 1;
  return at;
}
