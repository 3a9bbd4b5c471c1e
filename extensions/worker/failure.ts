/** What an assistant message says about its run: the text of the answer, or why there is none, for a program. */
import type { AssistantMessage } from "@mariozechner/pi-ai";
import { classifyError, type ErrorClass } from "../chat/errors/classify.ts";
import { oneLine, withoutTokens } from "../lib/safe-text.ts";
import type { Why } from "../screen.ts";

/** The classes of the service's errors, and of what happens before a request is sent. */
export type FailureClass =
  | ErrorClass
  | "no-login"
  | "own-key"
  | "logged-out"
  | "login-file"
  | "renewal"
  | "configuration"
  | "aborted"
  | "interrupted"
  | "not-started"
  | "no-model";

export interface Failure {
  readonly class: FailureClass;
  /** One sentence. */
  readonly message: string;
  readonly nextAction: string;
}

/** How a run, or one attempt at it, ended. */
export type Outcome = { readonly state: "completed" } | { readonly state: "error"; readonly error: Failure };

/** A sentence of this extension, and the class that it was made for, which its words alone do not tell. */
export interface Said {
  readonly sentence: string;
  readonly class: FailureClass;
}

/** What is read of an assistant message. */
export type Answer = Pick<AssistantMessage, "content" | "stopReason" | "errorMessage">;

export const COMPLETED: Outcome = { state: "completed" };

export const ABORTED: Outcome = {
  state: "error",
  error: { class: "aborted", message: "The turn was aborted.", nextAction: "send the prompt again" },
};

export const INTERRUPTED: Outcome = {
  state: "error",
  error: {
    class: "interrupted",
    message: "pi ended before the turn did.",
    nextAction: "start pi again with the same session and send the prompt again",
  },
};

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

/** In print mode: a command alone was asked (exit code 0), or pi said on stderr why there was no turn. */
export function withoutTurn(code: number): Outcome | { readonly state: "idle" } {
  if (code === 0) return { state: "idle" };
  const message = `pi ended with exit code ${code} before a turn began.`;
  return {
    state: "error",
    error: { class: "not-started", message, nextAction: "read what pi wrote to stderr" },
  };
}

/** What its last message makes of a run. */
export function outcomeOf(answer: Answer, said: Said | undefined): Outcome {
  switch (answer.stopReason) {
    case "error":
      return { state: "error", error: failureOf(answer.errorMessage ?? "", said) };
    case "aborted":
      return ABORTED;
    default:
      return COMPLETED;
  }
}

/** What the message says, without its thinking. */
export function textOf({ content }: Answer): string {
  return content
    .flatMap((part) => (part.type === "text" ? [part.text] : []))
    .join("\n")
    .trim();
}

export function classOf(why: Why): FailureClass {
  if (typeof why === "string") return why;
  const { kind } = why;
  switch (kind) {
    case "problem":
      return "login-file";
    case "refused":
      return "login";
    case "failed":
      return "renewal";
    default:
      return kind;
  }
}

/** Characters. */
const LONGEST_MESSAGE = 1_000;

/** The failure behind the error text of an assistant message; `said` is what this extension said last. */
export function failureOf(text: string, said: Said | undefined): Failure {
  const message = oneLine(withoutTokens(oneLine(text, 4 * LONGEST_MESSAGE)), LONGEST_MESSAGE);
  return {
    class: said && text.includes(said.sentence) ? said.class : classifyError(text),
    message: message === "" ? "pi gave no reason." : message,
    nextAction: nextAction(message),
  };
}

/** Our sentences end with it: `Kimi Coder: <what>; <next action>. (Kimi: …)`. */
function nextAction(message: string): string {
  const [, action] = /Kimi Coder: [^;]*; (.+?)\.(?= \(|$)/.exec(message) ?? [];
  return action ?? "read the message, and send the prompt again";
}
