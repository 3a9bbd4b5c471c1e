/** What an assistant message, or the lack of one, says about how the run ended. */
import type { AssistantMessage } from "@mariozechner/pi-ai";
import { ABORTED, failureOf, type Said } from "./failure.ts";
import type { Failure, Outcome } from "./lifecycle.ts";

export const COMPLETED: Outcome = { state: "completed" };

export const NO_MODEL: Failure = {
  class: "no-model",
  message: "Kimi Coder: pi has no model; start it with --provider kimi-coder --model kimi-for-coding.",
  nextAction: "start it with --provider kimi-coder --model kimi-for-coding",
};

export const NO_KEY: Failure = {
  class: "no-login",
  message: "pi has neither login nor key for this model's provider.",
  nextAction: "log in to it in a pi started in a terminal, or choose another model",
};

/** undefined where tools are called: the run goes on. */
export function outcomeOf(message: AssistantMessage, said: Said | undefined): Outcome | undefined {
  switch (message.stopReason) {
    case "toolUse":
      return undefined;
    case "error":
      return { state: "error", error: failureOf(message.errorMessage ?? "", said) };
    case "aborted":
      return { state: "error", error: ABORTED };
    default:
      return COMPLETED;
  }
}

/** What it says, without its thinking. */
export function textOf({ content }: AssistantMessage): string {
  return content
    .flatMap((part) => (part.type === "text" ? [part.text] : []))
    .join("\n")
    .trim();
}
