/** What the hosts' answers mean: whether the service works, takes the login, and agrees about the time. */
import { sayDuration } from "../usage/words.ts";
import { bad, type Check, none, ok } from "./check.ts";
import type { Answer } from "./network.ts";

/** With what the API was asked. */
export type AskedWith = "login" | "key" | "nothing";

const TRY_LATER = "try again later";

export function checkApi(host: string, answer: Answer, asked: AskedWith): Check {
  const name = `API at ${host}`;
  const common = checkAnswer(name, answer);
  if (common || answer.state === "lost") return common ?? none(name, "no answer");
  const { status } = answer;
  switch (status) {
    case 200:
      return ok(name, asked === "nothing" ? "answers" : `answers, and takes the ${asked}`);
    case 401:
      if (asked === "nothing") return ok(name, "answers, and asks for a login");
      return asked === "key"
        ? bad(name, "does not take the API key (401)", "correct the key, or remove it to use a login")
        : bad(
            name,
            "does not take the access token (401)",
            "send a request, which renews it; else /login kimi-coder",
          );
    case 402:
      return bad(name, "says that the account has no membership (402)", "renew the plan at Kimi");
    case 403:
      return bad(
        name,
        "refuses this account (403)",
        "type /kimi usage: a quota may be used up, or the account stopped",
      );
    case 404:
      return bad(name, "is not Kimi's (404)", "correct or unset KIMI_CODE_BASE_URL");
    case 429:
      return bad(name, "has too many requests (429)", TRY_LATER);
    default:
      return bad(name, `answers with status ${status}`, TRY_LATER);
  }
}

export function checkAuthorizationServer(host: string, answer: Answer): Check {
  const name = `Authorization server at ${host}`;
  return checkAnswer(name, answer, true) ?? ok(name, "answers");
}

/** What is the same for both; undefined when it answers. `mayRedirect`: its front page may be elsewhere. */
function checkAnswer(name: string, answer: Answer, mayRedirect = false): Check | undefined {
  if (answer.state === "lost") {
    return bad(
      name,
      `does not answer (${answer.code})`,
      "see the way to it above; if that is fine, try again later",
    );
  }
  const { status } = answer;
  if (status >= 300 && status < 400 && !mayRedirect) {
    const fix = "correct KIMI_CODE_BASE_URL, or log in to the network or proxy you are on";
    return bad(name, `redirects to another address (${status})`, fix);
  }
  return status >= 500 ? bad(name, `has an error of its own (${status})`, TRY_LATER) : undefined;
}

/** Tokens end at a time: more than so many ms apart and a clock may take one for valid that is not. */
const MOST_SKEW = 60_000;

export function checkClock(answers: readonly Answer[]): Check {
  const name = "Clock";
  const skew = answers
    .map((answer) => (answer.state === "answered" ? answer.skew : undefined))
    .find(isNumber);
  if (skew === undefined) return none(name, "no server has said what time it is");
  if (Math.abs(skew) <= MOST_SKEW) return ok(name, "agrees with the server's");
  const how = skew > 0 ? "behind" : "ahead of";
  return bad(
    name,
    `${sayDuration(Math.abs(skew))} ${how} the server's`,
    "let this machine set its clock by the network (NTP)",
  );
}

function isNumber(value: number | undefined): value is number {
  return value !== undefined;
}
