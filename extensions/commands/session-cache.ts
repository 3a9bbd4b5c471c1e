/** How much of a session's prompts came from Kimi's cache, counted over the answers that pi has recorded. */
import { isJsonObject } from "../oauth/json-object.ts";

/** In tokens. */
export interface SessionCache {
  readonly answers: number;
  readonly prompt: number;
  readonly cached: number;
}

/** Counts the answers of `provider` in all branches: each of them was a request. */
export function sessionCache(entries: readonly unknown[], provider: string): SessionCache {
  const nothing: SessionCache = { answers: 0, prompt: 0, cached: 0 };
  return entries.reduce<SessionCache>((sum, entry) => {
    const message = isJsonObject(entry) && entry.type === "message" ? entry.message : undefined;
    if (!isJsonObject(message) || message.role !== "assistant" || message.provider !== provider) return sum;
    const { usage } = message;
    if (!isJsonObject(usage)) return sum;
    const cached = tokens(usage.cacheRead);
    const prompt = tokens(usage.input) + cached + tokens(usage.cacheWrite);
    // An answer that broke off was not counted by the service.
    if (prompt === 0) return sum;
    return { answers: sum.answers + 1, prompt: sum.prompt + prompt, cached: sum.cached + cached };
  }, nothing);
}

function tokens(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}

/** Whole percent, rounded down; undefined where nothing was asked. */
export function hitPercent({ prompt, cached }: Pick<SessionCache, "prompt" | "cached">): number | undefined {
  return prompt > 0 ? Math.floor((cached / prompt) * 100) : undefined;
}
