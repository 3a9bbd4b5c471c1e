/** What bounds an exchange with a server: time, and the size of its answer. */

/**
 * Runs `work` with a signal that fires after `timeout` ms, or when `outer` does. The timer is our own: the garbage
 * collector of Node 20 takes an `AbortSignal.timeout` away that only `AbortSignal.any` holds, and with it the limit.
 */
export async function withinTime<T>(
  timeout: number,
  outer: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(new DOMException("no answer in time", "TimeoutError")), timeout);
  timer.unref();
  const follow = () => end.abort(outer?.reason);
  if (outer?.aborted) follow();
  outer?.addEventListener("abort", follow);
  try {
    return await work(end.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", follow);
  }
}

/** The text of an answer of at most `largest` bytes; undefined where there is more, or nothing. */
export async function readText({ body }: Response, largest: number): Promise<string | undefined> {
  if (!body) return undefined;
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > largest) return undefined; // leaving the loop cancels the body
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
