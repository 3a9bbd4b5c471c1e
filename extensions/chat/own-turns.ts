/** Which earlier answers are ours: those of every Kimi model, not only of the one that is asked now. */
import type { Api, AssistantMessage, Context, Message, Model } from "@mariozechner/pi-ai";

/**
 * Signs the answers of the provider's other models with this one. To pi's adapters another model's thinking is text of
 * its answer; Kimi's own goes back as `reasoning_content`. A context that needs nothing is the same object.
 */
export function withOwnTurns(context: Context, { provider, id }: Model<Api>): Context {
  const isOthers = (message: Message): message is AssistantMessage =>
    message.role === "assistant" && message.provider === provider && message.model !== id;
  if (!context.messages.some(isOthers)) return context;
  return {
    ...context,
    messages: context.messages.map((message) => (isOthers(message) ? { ...message, model: id } : message)),
  };
}
