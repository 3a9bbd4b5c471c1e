/**
 * The token this extension lives on: one access token, one rotating refresh token, and when they end.
 * Milliseconds inside; seconds only on the wire and in the files of other programs.
 */
export interface Token {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** When the access token ends, in ms since the epoch. */
  readonly expiresAt: number;
  /** The access token's whole life in ms, as the server gave it (`expires_in` is in s). */
  readonly lifetime: number;
  readonly scope: string | undefined;
  readonly tokenType: string | undefined;
}

/** Access tokens live 15 minutes; stands in where a store does not say how long its token lived. */
export const USUAL_LIFETIME = 900_000;

const SHORTEST_MARGIN = 300_000;

/** Whether the access token can still be sent at `now` (ms). */
export function isValid(token: Token, now: number): boolean {
  return now < token.expiresAt;
}

/**
 * Whether it is time for a new access token: less than five minutes or less than half of its life is left,
 * whichever is more. The rule of kimi-cli and kimi-code, so that all of them renew at the same moment.
 */
export function needsRefresh(token: Token, now: number): boolean {
  return token.expiresAt - now < Math.max(SHORTEST_MARGIN, token.lifetime / 2);
}
