/** The figures of this process: the last known ones, the asking for newer ones, and what is said where none come. */

import type { Caller, SessionNow, Sight, Usable } from "../caller.ts";
import type { Clock } from "../lib/clock.ts";
import { type Api, type GetFailure, getJson } from "../lib/http.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { planPage, type Region } from "../region.ts";
import { essence, type Figures, type KeptFigures, parseFigures } from "./figures.ts";
import { keepAnswer, readKeptFigures } from "./kept.ts";

/** Somebody may be waiting, ms for each exchange. */
const TIMEOUT = 10_000;
/** Bytes. */
const LARGEST_ANSWER = 64 * 1024;

/** `answer` is as much of it as is kept. */
export type UsageAnswer =
  | { readonly state: "figures"; readonly figures: Figures; readonly answer: JsonObject }
  | GetFailure;

/**
 * Asks `GET /usages` and `GET /me` at once. The plan's name of `/me` comes before that of `/usages`, and is not missed
 * where it does not come. Never throws. `signal` may end it at any time: nothing is lost but the answer.
 */
export async function fetchUsage(api: Api, bearer: string, signal: AbortSignal): Promise<UsageAnswer> {
  const [usages, me] = await Promise.all([
    getJson(api, "/usages", bearer, LARGEST_ANSWER, signal),
    // The figures do not wait long for a name.
    getJson({ ...api, timeout: Math.ceil(api.timeout / 3) }, "/me", bearer, LARGEST_ANSWER, signal),
  ]);
  if (usages.state !== "answered") return usages;
  if (!isJsonObject(usages.value)) return { state: "unusable" };
  const name = me.state === "answered" && isJsonObject(me.value) ? me.value.user_level_name : undefined;
  const whole = { ...usages.value, user_level_name: name };
  const figures = parseFigures(whole);
  return figures ? { state: "figures", figures, answer: essence(whole, figures) } : { state: "unusable" };
}

export interface UsageParts {
  /** The file with the last good figures. */
  readonly path: string;
  readonly caller: Pick<Caller, "look" | "bearerFor" | "afterRejection">;
  /** Asks the server, which tests do themselves; never throws. */
  readonly ask?: (baseUrl: string, bearer: string, signal: AbortSignal) => Promise<UsageAnswer>;
  readonly clock: Pick<Clock, "now">;
}

export type UsageOutcome =
  | { readonly state: "fresh"; readonly kept: KeptFigures }
  /** `problem` is a whole sentence. */
  | { readonly state: "failed"; readonly problem: string };

export type Usage = ReturnType<typeof createUsage>;

/** Asks for nothing by itself. */
export function createUsage({ path, caller, ask = askReally, clock }: UsageParts) {
  let leaving = new AbortController();

  return {
    /** The file with the last good figures. */
    path,

    /** What a request of this session would be sent with. Looks at files only; never throws. */
    look: (session: SessionNow): Promise<Sight> => caller.look(session),

    /** The last known figures of that account. Looks at a file only; never throws. */
    known: (sight: Sight): KeptFigures | undefined => {
      const account = accountIn(sight);
      return account === undefined ? undefined : readKeptFigures(path, account);
    },

    /**
     * Asks the server. A 401 costs one renewal and one repetition. Never throws. May take as long as all of its exchanges
     * together, so a caller that keeps a user waiting sets a shorter limit.
     */
    async refresh(sight: Sight): Promise<UsageOutcome> {
      const { signal } = leaving;
      const askAs = (bearer: Usable) =>
        ask(bearer.account.baseUrl, bearer.state === "key" ? bearer.key : bearer.accessToken, signal);
      let bearer = await caller.bearerFor(sight);
      if (bearer.state === "none") return { state: "failed", problem: bearer.message };
      let answer = await askAs(bearer);
      if (bearer.state === "token" && answer.state === "refused" && answer.status === 401) {
        bearer = await caller.afterRejection(bearer);
        if (bearer.state === "none") return { state: "failed", problem: bearer.message };
        answer = await askAs(bearer);
      }
      const { id, region } = bearer.account;
      if (answer.state !== "figures")
        return { state: "failed", problem: `Kimi Coder: ${why(answer, region)}` };
      const kept = { figures: answer.figures, fetchedAt: clock.now() };
      keepAnswer(path, id, answer.answer, kept.fetchedAt);
      return { state: "fresh", kept };
    },

    /** For the end of the session: gives up what is under way, for nothing is lost but the answer. */
    stop(): void {
      leaving.abort();
      leaving = new AbortController();
    },
  };
}

/** Whose figures they are, see Account; undefined where no account is asked. */
export function accountIn(sight: Sight): string | undefined {
  return sight.kind === "none" ? undefined : sight.account?.id;
}

function askReally(baseUrl: string, bearer: string, signal: AbortSignal): Promise<UsageAnswer> {
  return fetchUsage({ baseUrl, fetch, timeout: TIMEOUT }, bearer, signal);
}

// ── What is said where none come ──

const NO_ANSWER = "Kimi does not answer about the quota; try again in a minute.";
/** The same, said before the wait is over. */
export const SLOW = `Kimi Coder: ${NO_ANSWER}`;

function why(failure: GetFailure, region: Region): string {
  switch (failure.state) {
    case "lost":
      return failure.code === "ETIMEDOUT" || failure.code === "ABORT_ERR"
        ? NO_ANSWER
        : `Kimi cannot be reached for the quota (${failure.code}); check the network and proxy, and try again.`;
    case "unusable":
      return "Kimi's answer about the quota cannot be understood; try again, and update pi-kimi-coder if it stays so.";
    case "refused":
      return whyRefused(failure.status, region);
  }
}

function whyRefused(status: number, region: Region): string {
  switch (status) {
    case 401:
      return "Kimi does not accept the login or key for the quota; type /login kimi-coder, or correct KIMI_CODER_API_KEY.";
    case 402:
      return `this account has no active Kimi membership; renew the plan at ${planPage(region)}.`;
    case 403:
      return `Kimi does not show this account its quota; look at the plan at ${planPage(region)}.`;
    case 404:
      return `Kimi has no quota at this address (404); correct KIMI_CODE_BASE_URL if it is set, else look at ${planPage(region)}.`;
    default:
      return status >= 300 && status < 400
        ? "Kimi's address only redirects to another one; correct KIMI_CODE_BASE_URL if it is set, else check the proxy."
        : `Kimi answered ${status} about the quota; try again in a minute.`;
  }
}
