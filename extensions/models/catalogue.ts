/** The models of this process: the list that was kept, and the asking for a newer one beside everything else. */
import type { Clock } from "../oauth/clock.ts";
import { type Account, type KeptList, keepList, readKeptList } from "./cache.ts";
import type { ModelsAnswer } from "./fetch.ts";
import type { ServerModel } from "./server-list.ts";

export interface CatalogueParts {
  /** The file with the last good list. */
  readonly path: string;
  /** The API that an account belongs to. */
  readonly baseUrl: (account: Account) => string;
  /** The list that pi was given when the process started; empty when there was none. */
  readonly registered: readonly ServerModel[];
  /** Asks the server; never throws. */
  readonly ask: (baseUrl: string, accessToken: string, signal: AbortSignal) => Promise<ModelsAnswer>;
  readonly clock: Clock;
}

/** How old a list may get, ms. */
const DAY = 86_400_000;

export type Catalogue = ReturnType<typeof createCatalogue>;

/** Asks for nothing by itself. */
export function createCatalogue({ path, baseUrl, ask, clock, ...given }: CatalogueParts) {
  let registered = given.registered;
  /** The access token with which the last attempt of this process failed: tried again only with another one. */
  let failedWith: string | undefined;
  let asking: Promise<readonly ServerModel[] | undefined> | undefined;
  const leaving = new AbortController();

  async function run(accessToken: string, owner: Account): Promise<readonly ServerModel[] | undefined> {
    const answer = await ask(baseUrl(owner), accessToken, leaving.signal);
    if (answer.state !== "listed") {
      failedWith = accessToken;
      return undefined;
    }
    failedWith = undefined;
    await keepList(path, baseUrl(owner), owner, { models: answer.models, fetchedAt: clock.now() });
    return answer.models;
  }

  function start(accessToken: string, owner: Account): Promise<readonly ServerModel[] | undefined> {
    const started = run(accessToken, owner).finally(() => {
      if (asking === started) asking = undefined;
    });
    asking = started;
    return started;
  }

  return {
    /** The list that pi was given; empty when there is none. */
    registered: () => registered,

    /**
     * Asks in the background when the kept list is older than a day, another account's, or not there; after a failure
     * only with another access token. What comes is for the next start. Returns at once, never throws.
     */
    keepUp(accessToken: string, owner: Account): void {
      if (leaving.signal.aborted || asking || failedWith === accessToken) return;
      // Read again: another process may have asked meanwhile.
      if (isFresh(readKeptList(path, baseUrl(owner), owner), clock.now())) return;
      void start(accessToken, owner);
    },

    /** Asks because somebody has just logged in, perhaps to another account, and hands the list to `register`. */
    async afterLogin(accessToken: string, owner: Account, register: () => void): Promise<void> {
      // A list that was asked for with the login of before must not be the one that stays.
      await asking;
      const models = await start(accessToken, owner);
      if (models === undefined) return;
      registered = models;
      register();
    },

    /**
     * For the end of the session: waits for what is under way, at most `timeout` ms, then gives it up, for nothing is
     * lost but the answer. From then on nothing is asked any more.
     */
    async settle(timeout: number): Promise<void> {
      const done = new AbortController();
      if (asking) await Promise.race([asking, clock.sleep(timeout, done.signal)]);
      done.abort();
      leaving.abort();
    },
  };
}

/** A list from the future means that the clock was set back: nobody knows how old it is. */
function isFresh(kept: KeptList | undefined, now: number): boolean {
  return kept !== undefined && kept.fetchedAt <= now && now - kept.fetchedAt < DAY;
}
