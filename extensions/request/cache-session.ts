/** Under which session Kimi keeps what a request begins with: the conversation's own, for pi's summaries of it too. */

export interface CacheOptions {
  readonly sessionId?: string | undefined;
  /** "none" = pi wants nothing kept. */
  readonly cacheRetention?: string | undefined;
}

/**
 * The session of a request. pi 0.73.1 asks for summaries without one and 0.87.1 under one that it makes up each time
 * (with `cacheRetention: "none"`); both get `open`, the id of the session that is open.
 */
export function cacheSession(
  { sessionId, cacheRetention }: CacheOptions = {},
  open: () => string | undefined,
): string | undefined {
  return sessionId === undefined || cacheRetention === "none" ? (open() ?? sessionId) : sessionId;
}
