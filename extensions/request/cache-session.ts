/** Under which session Kimi keeps what a request begins with: the conversation's own, for pi's summaries of it too. */

export interface CacheOptions {
  readonly sessionId?: string | undefined;
  /** "none" = pi wants nothing kept. */
  readonly cacheRetention?: string | undefined;
}

/**
 * Tells the session of each request of one conversation. pi 0.73.1 asks for summaries without a session and 0.87.1
 * under one that it makes up each time (with `cacheRetention: "none"`); both get that of the latest turn. A summary
 * before the first turn of the process has only what pi says.
 */
export function createCacheSession(): (options: CacheOptions | undefined) => string | undefined {
  let latest: string | undefined;
  return ({ sessionId, cacheRetention } = {}) => {
    if (sessionId === undefined || cacheRetention === "none") return latest ?? sessionId;
    latest = sessionId;
    return sessionId;
  };
}
