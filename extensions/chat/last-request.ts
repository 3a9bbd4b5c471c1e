/** What was really sent last, for the status: the fields that decide about thinking, and how much of it was cached. */
import type { Usage } from "@mariozechner/pi-ai";
import { isJsonObject } from "../oauth/json-object.ts";

export interface SentRequest {
  /** As the server calls it. */
  readonly model: string;
  /** The field `thinking` as it was sent; undefined = it was not. */
  readonly thinking: unknown;
  /** In tokens. */
  readonly maxTokens: number | undefined;
  /** Of its answer; undefined while there is none. */
  readonly usage: Pick<Usage, "input" | "cacheRead" | "cacheWrite"> | undefined;
}

export interface LastRequest {
  /** Notes a body on its way; gives what notes its answer. */
  readonly note: (body: unknown) => (usage: Usage) => void;
  readonly look: () => SentRequest | undefined;
}

export function createLastRequest(): LastRequest {
  let last: SentRequest | undefined;
  return {
    note(body) {
      const fields = isJsonObject(body) ? body : {};
      const sent: SentRequest = {
        model: String(fields.model),
        thinking: fields.thinking,
        maxTokens: typeof fields.max_tokens === "number" ? fields.max_tokens : undefined,
        usage: undefined,
      };
      last = sent;
      return (usage) => {
        // pi 0.73 compacts with two requests at once.
        if (last === sent) last = { ...sent, usage };
      };
    },
    look: () => last,
  };
}
