/** The event with which a request ends that pi's adapter never saw. */
import type { Api, AssistantMessage, AssistantMessageEvent, Model } from "@mariozechner/pi-ai";

/** Recorded under the adapter's api, as its own messages are. */
export function failureEvent(
  model: Model<Api>,
  aborted: boolean,
  errorMessage: string,
): AssistantMessageEvent {
  const reason = aborted ? "aborted" : "error";
  const error: AssistantMessage = {
    role: "assistant",
    content: [],
    api: "openai-completions",
    provider: model.provider,
    model: model.id,
    usage: {
      input: 0,
      output: 0,
      cacheRead: 0,
      cacheWrite: 0,
      totalTokens: 0,
      cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 },
    },
    stopReason: reason,
    errorMessage,
    timestamp: Date.now(),
  };
  return { type: "error", reason, error };
}
