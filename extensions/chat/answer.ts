/** What is wrong with an answer that ended in order, and how an answer ends that was cut short or never began. Pure. */
import type { Api, AssistantMessage, AssistantMessageEvent, Model } from "@mariozechner/pi-ai";
import type { Fault } from "./errors/classify.ts";

const SECTION = "<|tool_calls_section_begin|>";
/** A call in the marks with which Kimi's models write it, where the service should have read them, and nothing behind it. */
const CALL =
  /^\s*<\|tool_call_begin\|>\s*[\w.-]+:\d+\s*<\|tool_call_argument_begin\|>(?:(?!<\|tool_calls_section_end\|>)[\s\S])*(?:<\|tool_calls_section_end\|>)?$/;

/** Never throws. */
export function faultOf(message: AssistantMessage): Fault | undefined {
  const { content, stopReason } = message;
  const text = content
    .map((block) => (block.type === "text" ? block.text : ""))
    .join("")
    .trim();
  if (content.some(({ type }) => type === "toolCall")) {
    // pi 0.73 would run it with the arguments that are there; its successor tells the model.
    return stopReason === "length" && !isOfSuccessor(message) ? "cutCall" : undefined;
  }
  if (text === "") return stopReason === "length" ? "allThinking" : "noAnswer";
  return stopReason === "toolUse" || endsInCall(text) ? "lostCall" : undefined;
}

function endsInCall(text: string): boolean {
  const at = text.lastIndexOf(SECTION);
  return at >= 0 && CALL.test(text.slice(at + SECTION.length));
}

function isOfSuccessor(message: AssistantMessage): boolean {
  return "rawStopReason" in message;
}

/**
 * The events with which an answer ends whose text was cut at a limit of the output; none for any other.
 *
 * pi 0.73 says nothing of it. Its successor takes an answer that is shorter than the model's `maxTokens` out of the
 * conversation, compacts and asks again, since it cannot know that the service gives less (utils/overflow.js,
 * `isRecoverableLength`): with nothing to compact, the answer is gone. So ours ends with stop reason "stop", and a
 * sentence at its end tells people, programs and the model. An answer that reached `maxTokens` is left to the successor,
 * which shows it with a sentence of its own.
 */
export function cutShort(message: AssistantMessage, { maxTokens }: Model<Api>): AssistantMessageEvent[] {
  const { content, stopReason, usage } = message;
  if (stopReason !== "length" || content.some(({ type }) => type === "toolCall")) return [];
  if (isOfSuccessor(message) && usage.output >= maxTokens) return [];
  const text = `[Kimi Coder: cut off here, at ${usage.output.toLocaleString("en-US")} tokens of output; say "go on" for the rest.]`;
  const partial: AssistantMessage = {
    ...message,
    content: [...content, { type: "text", text }],
    stopReason: "stop",
  };
  const contentIndex = content.length;
  return [
    { type: "text_start", contentIndex, partial },
    { type: "text_delta", contentIndex, delta: text, partial },
    { type: "text_end", contentIndex, content: text, partial },
    { type: "done", reason: "stop", message: partial },
  ];
}

/** The event with which a request ends that pi's adapter never saw; recorded under its api, as its own messages are. */
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
