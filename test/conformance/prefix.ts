/** The part of a request that Kimi caches, and whether a conversation keeps it from turn to turn. */
import { expect } from "vitest";
import type { JsonObject } from "../../extensions/lib/json.ts";
import type { LogEntry } from "../support/kimi-service/index.ts";
import { bodyOf } from "./conversation.ts";

/** Tools, then messages, as they are written. */
export function cachedPrefix({ tools = [], messages }: JsonObject): string {
  if (!Array.isArray(messages)) throw new Error("no messages");
  return [tools, ...messages].map((part) => JSON.stringify(part)).join("\n");
}

/** Every request begins with the whole one before it, and the service has counted that much as cached. */
export function expectGrowing(chats: readonly LogEntry[]): void {
  for (const [index, chat] of chats.entries()) {
    const before = chats[index - 1];
    if (before === undefined) continue;
    const [earlier, later] = [bodyOf(before), bodyOf(chat)];
    expect(Object.keys(later)).toEqual(Object.keys(earlier));
    const prefix = cachedPrefix(earlier);
    expect(cachedPrefix(later).slice(0, prefix.length)).toBe(prefix);
    expect(later.thinking).toEqual(earlier.thinking);
    expect(later.model).toBe(earlier.model);
    // The service rounds down what was cached and up what was sent.
    const sent = before.usage?.prompt_tokens ?? Number.NaN;
    expect(chat.usage?.cached_tokens).toBeGreaterThanOrEqual(sent - 1);
  }
}
