/**
 * How many tokens a prompt takes, counted without a tokenizer and without reading it: enough to keep the output cap
 * inside what the context leaves.
 */
import * as json from "./json.ts";

// Taken out once: see json.ts.
const { isObject } = json;

/** pi's own measure (0.87.1): four characters a token; what is counted in bytes is worse for us, hence safer. */
const BYTES_PER_TOKEN = 4;
const IMAGE_TOKENS = 1_500;
const MESSAGE_TOKENS = 8;
/** What pi 0.87.1 leaves free for the estimate's error. */
const SAFETY_TOKENS = 4_096;
/** A long prompt that was merely estimated too high must not be cut down to an answer of one word. */
const SHORTEST_ANSWER = 1_024;

/**
 * The output cap in tokens: `asked`, or what `contextWindow` leaves of it, at least 1. `toolsLength` is that of the tools
 * as JSON, in UTF-16 units. Where the estimate leaves next to nothing the service decides: it refuses what does not fit with the very error on which pi compacts.
 */
export function outputCap(
  asked: number,
  contextWindow: number,
  messages: readonly unknown[],
  toolsLength: number,
): number {
  const cap = Math.max(1, Math.floor(asked));
  if (!(contextWindow > 0)) return cap;
  const free = contextWindow - SAFETY_TOKENS - Math.ceil(toolsLength / BYTES_PER_TOKEN);
  // UTF-8 takes at most three bytes for a UTF-16 unit: nearly always this settles it, and lengths cost nothing.
  const atMost = tokensOf(messages, (text) => text.length * 3);
  const left = atMost + cap <= free ? cap : free - tokensOf(messages, Buffer.byteLength);
  return Math.min(cap, Math.max(Math.min(SHORTEST_ANSWER, contextWindow), left));
}

function tokensOf(messages: readonly unknown[], bytesOf: (text: string) => number): number {
  let bytes = 0;
  let tokens = messages.length * MESSAGE_TOKENS;
  const add = (value: unknown) => {
    if (typeof value === "string") bytes += bytesOf(value);
  };
  for (const message of messages) {
    if (!isObject(message)) continue;
    add(message.content);
    add(message.reasoning_content);
    if (Array.isArray(message.content)) {
      for (const part of message.content) {
        if (!isObject(part)) continue;
        if (part.type === "text") add(part.text);
        else tokens += IMAGE_TOKENS;
      }
    }
    if (Array.isArray(message.tool_calls)) {
      for (const call of message.tool_calls) {
        if (!isObject(call) || !isObject(call.function)) continue;
        add(call.function.name);
        add(call.function.arguments);
      }
    }
  }
  return tokens + Math.ceil(bytes / BYTES_PER_TOKEN);
}
