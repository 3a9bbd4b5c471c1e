/** The figures of this process: the last known ones, and the asking for newer ones, once for all who want them. */

import type { Caller, SessionNow, Sight, Usable } from "../caller.ts";
import type { Clock } from "../lib/clock.ts";
import { type Api, type GetFailure, getJson } from "../lib/http.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import type { Region } from "../region.ts";
import { essence, type Figures, parseFigures } from "./figures.ts";
import { type KeptFigures, keepAnswer, readKeptFigures } from "./kept.ts";

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
  readonly clock: Clock;
}

export type UsageOutcome =
  | { readonly state: "fresh"; readonly kept: KeptFigures; readonly region: Region }
  /** There is nothing to ask with; no request was made. `message` is a whole sentence. */
  | { readonly state: "unavailable"; readonly message: string }
  | { readonly state: "failed"; readonly failure: GetFailure; readonly region: Region };

export type Usage = ReturnType<typeof createUsage>;

/** Asks for nothing by itself. */
export function createUsage({ path, caller, ask = askReally, clock }: UsageParts) {
  const asking = new Map<string | undefined, Promise<UsageOutcome>>();
  let leaving = new AbortController();

  async function run(sight: Sight, signal: AbortSignal): Promise<UsageOutcome> {
    const bearer = await caller.bearerFor(sight);
    if (bearer.state === "none") return { state: "unavailable", message: bearer.message };
    const outcome = await askAs(bearer, signal);
    const rejected = outcome.state === "failed" && isRejection(outcome.failure);
    if (!rejected || bearer.state === "key") return outcome;
    const again = await caller.afterRejection(bearer);
    return again.state === "none" ? { state: "unavailable", message: again.message } : askAs(again, signal);
  }

  async function askAs(bearer: Usable, signal: AbortSignal): Promise<UsageOutcome> {
    const { region, baseUrl, id } = bearer.account;
    const answer = await ask(baseUrl, bearer.state === "key" ? bearer.key : bearer.accessToken, signal);
    if (answer.state !== "figures") return { state: "failed", failure: answer, region };
    const kept = { figures: answer.figures, fetchedAt: clock.now() };
    await keepAnswer(path, id, answer.answer, kept.fetchedAt);
    return { state: "fresh", kept, region };
  }

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
     * Asks the server, or joins those who are asking. A 401 costs one renewal and one repetition. Never throws. It is
     * bounded, but by the sum of the exchanges it takes: whoever has somebody waiting races it against a shorter time.
     */
    refresh(sight: Sight): Promise<UsageOutcome> {
      const account = accountIn(sight);
      const under = asking.get(account);
      if (under) return under;
      const started = run(sight, leaving.signal).finally(() => asking.delete(account));
      asking.set(account, started);
      return started;
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

function isRejection(failure: GetFailure): boolean {
  return failure.state === "refused" && failure.status === 401;
}
