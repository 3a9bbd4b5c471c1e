/**
 * The words by which pi decides what to do about an error text: repeat, compact, or give up. Taken from 0.73.1
 * (core/agent-session.js, `_isRetryableError`; pi-ai utils/overflow.js) and 0.87.1 (pi-ai utils/retry.js,
 * utils/overflow.js), both put together. The server's own message must not say by accident what we do not mean:
 * `access_terminated_error` alone makes both hosts repeat a request four times.
 */

/** The one thing pi should do. */
export type Reaction = "retry" | "compact" | "show";

const REPEATS =
  /overloaded|high demand|provider.?returned.?error|rate.?limit|too many requests|429|50[0234]|52[04]|service.?unavailable|server.?error|internal.?error|request buffer limit|network.?error|connection.?(?:error|refused|lost)|websocket.?(?:closed|error)|other side closed|fetch failed|getaddrinfo|ENOTFOUND|EAI_AGAIN|upstream.?connect|reset before headers|socket hang up|socket connection was closed|ended (?:without|before)|http2 request did not get a response|timed? ?out|timeout|terminated|retry delay|retry your request|try your request again|ResourceExhausted/i;

/** What keeps the successor from repeating whatever else the text says. */
const GIVES_UP =
  /GoUsageLimitError|FreeUsageLimitError|Monthly usage limit reached|available balance|insufficient_quota|out of budget|quota exceeded|billing/i;

const COMPACTS =
  /(?:prompt|input) (?:is )?too long|request_too_large|exceeds the context window|maximum context length|input token count|maximum prompt length|reduce the length of the messages|maximum allowed input length|longer than the model|exceeds the limit of|available context size|greater than the context length|context window exceeds|exceeded model token limit|too large for model|configured context size|model_context_window_exceeded|range of input length|context[_ ]length[_ ]exceeded|too many tokens|token limit exceeded|\(no body\)/i;

/** What keeps both from compacting. */
const NEVER_COMPACTS = /rate limit|too many requests|Throttling error|Service unavailable/i;

const FORBIDDEN: Record<Reaction, readonly RegExp[]> = {
  retry: [GIVES_UP, COMPACTS],
  compact: [NEVER_COMPACTS],
  show: [REPEATS, COMPACTS],
};

export function saysRetry(text: string): boolean {
  return REPEATS.test(text) && !GIVES_UP.test(text);
}

/** `text` without the words that would make pi do anything but `reaction`; "…" stands in their places. */
export function withoutOtherReactions(text: string, reaction: Reaction): string {
  let left = text;
  for (let before = ""; before !== left; ) {
    before = left;
    for (const words of FORBIDDEN[reaction]) left = left.replace(words, "…");
  }
  return left;
}
