/** The models of this process: the list that was kept, and the asking for a newer one beside everything else. */
import type { Account } from "../caller.ts";
import type { GetAnswer } from "../lib/http.ts";
import { isJsonObject } from "../lib/json.ts";
import { inTurn } from "../lib/lazy.ts";
import { accountFingerprint, parseServerList, readKeptList, type ServerModel, wireModel } from "./list.ts";

export interface CatalogueParts {
  /** The file with the last good list. */
  readonly path: string;
  /** The list that pi was given when the process started; empty when there was none. */
  readonly registered: readonly ServerModel[];
  /** Asks the server. */
  readonly ask: (baseUrl: string, bearer: string, signal: AbortSignal) => Promise<GetAnswer>;
  /** Offers itself to pi with these models, in mid-session too. */
  readonly provider: { offer(models: readonly ServerModel[]): void };
  /** ms since the epoch. */
  readonly now: () => number;
}

/** How old a list may get, ms. */
const DAY = 86_400_000;

/** Asks for nothing by itself. */
export function createCatalogue({ path, ask, provider, now, ...given }: CatalogueParts) {
  let registered = given.registered;
  /** With what the last attempt of this process failed: tried again only with another token or key. */
  let failedWith: string | undefined;
  /**
   * Whose list came last in this process, and when: the file does not say it where it cannot be written, or where a pi
   * of another account has written it since.
   */
  let fetched: { readonly account: string; readonly at: number } | undefined;
  let asking: Promise<void> | undefined;
  const leaving = new AbortController();
  /** Then the list is for the next process: an offer makes pi read its files under its lock. */
  let isEnding = false;

  async function run(bearer: string, account: Account): Promise<void> {
    const answer = await ask(account.baseUrl, bearer, leaving.signal);
    const body = answer.state === "answered" ? answer.value : undefined;
    const models = parseServerList(body);
    failedWith = models.length === 0 ? bearer : undefined;
    if (models.length === 0) return;
    fetched = { account: account.id, at: now() };
    await keepList(path, account, body, now());
    use(models);
  }

  function use(models: readonly ServerModel[]): void {
    if (JSON.stringify(models) === JSON.stringify(registered)) return;
    registered = models;
    if (!isEnding) provider.offer(models);
  }

  function start(bearer: string, account: Account): Promise<void> {
    const started = run(bearer, account)
      .catch(() => {}) // files that were moved meanwhile: the next request says so
      .finally(() => {
        if (asking === started) asking = undefined;
      });
    asking = started;
    return started;
  }

  return {
    /** What a request for pi's model `id` says. */
    wireModel: (id: string) => wireModel(registered, id),

    /**
     * Asks in the background when the kept list is older than a day, another account's, or not there; after a failure
     * only with another token or key. What comes, or another process has kept, is offered at once. Returns at once,
     * never throws.
     */
    keepUp(bearer: string, account: Account): void {
      if (leaving.signal.aborted || asking || failedWith === bearer) return;
      // Read again: another process may have asked meanwhile.
      const kept = readKeptList(path, account.baseUrl, account);
      if (kept && isFresh(kept.fetchedAt, now())) use(kept.models);
      else if (fetched?.account !== account.id || !isFresh(fetched.at, now())) void start(bearer, account);
    },

    /** Asks for the list right after a login, which may be to another account. */
    async afterLogin(accessToken: string, account: Account): Promise<void> {
      // The request made with the previous login ends first, so that its list is not kept last.
      await asking;
      await start(accessToken, account);
    },

    /**
     * For the end of the process: waits for what is under way until `late`, then gives it up, for nothing is lost but the
     * answer. From now on nothing is offered, and in the end nothing asked any more.
     */
    async end(late: Promise<unknown>): Promise<void> {
      isEnding = true;
      await Promise.race([asking, late]);
      leaving.abort();
    },
  };
}

/** In ms since the epoch. A list from the future means that the clock was set back: its age is not known. */
function isFresh(fetchedAt: number, now: number): boolean {
  return fetchedAt <= now && now - fetchedAt < DAY;
}

/** Replaces the kept list (0600, atomic). Never throws; where it cannot be written the next start has the old one. */
export async function keepList(
  path: string,
  account: Pick<Account, "owner" | "path" | "baseUrl">,
  body: unknown,
  fetchedAt: number,
): Promise<void> {
  const { keepJson } = await inTurn(() => import("../lib/replace-file.ts"));
  const data = isJsonObject(body) ? body.data : undefined;
  const { baseUrl } = account;
  keepJson(path, { fetchedAt, baseUrl, account: accountFingerprint(account), data });
}

/** Limit for the list, for which no request waits, in ms. */
const TIMEOUT = 20_000;
/** In bytes; many times what 64 models need. */
const LARGEST_ANSWER = 128 * 1024;

/** `GET /models`. `signal` may end it at any time: nothing is lost but the answer. */
export async function fetchModels(baseUrl: string, bearer: string, signal: AbortSignal): Promise<GetAnswer> {
  const { getJson } = await inTurn(() => import("../lib/http.ts"));
  return getJson({ baseUrl, fetch, timeout: TIMEOUT }, "/models", bearer, LARGEST_ANSWER, signal);
}
