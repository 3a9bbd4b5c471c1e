/** What an error of the adapter means: to the user, and to the other requests of the account. */
import type { Refusal } from "../concurrency/notes.ts";
import { classifyError, type ErrorClass, explainError, isTransient, type Seen } from "../errors/explain.ts";

export interface Verdict {
  readonly kind: ErrorClass;
  /** For the user. */
  readonly sentence: string;
  /** What all requests of the account should know of it; undefined where it is none of their business. */
  readonly refusal: Refusal | undefined;
}

/** Never throws. */
export function judgeError(text: string, now: Date, seen: Seen): Verdict {
  const kind = classifyError(text, seen);
  const { retryAfter } = seen;
  const concurrency = kind === "concurrency";
  const tooMany = concurrency || kind === "rate" || kind === "overloaded";
  const shared = tooMany || (retryAfter !== undefined && isTransient(text, seen));
  return {
    kind,
    sentence: explainError(text, now, seen),
    refusal: shared ? { concurrency, retryAfter } : undefined,
  };
}
