/** Why there was no answer, for a program: the class, one sentence, and what to do. */
import type { Unavailable } from "../credentials/access.ts";
import { classifyError, type ErrorClass } from "../errors/classify.ts";
import { oneLine, withoutTokens } from "../server-text.ts";
import type { Failure } from "./lifecycle.ts";

/** What happens before a request is sent, beside the classes of the service's errors. */
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

/** A sentence of this extension, and the class it was made for: the words alone do not tell it. */
export interface Said {
  readonly sentence: string;
  readonly class: FailureClass;
}

const LONGEST_MESSAGE = 1_000;

/** What the service said, or why nothing was sent. */
export type Why = ErrorClass | Unavailable | "configuration";

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

export const ABORTED: Failure = {
  class: "aborted",
  message: "The turn was aborted.",
  nextAction: "send the prompt again",
};

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
