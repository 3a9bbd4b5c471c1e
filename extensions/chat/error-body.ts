/**
 * An answer that is no event stream, cut to what an error needs: pi's adapter reads the whole of it, however long it is
 * and however slowly it comes.
 */

/** In bytes; an error of the service has a few hundred. */
const LARGEST = 65_536;
/** From the first look at it to its end, ms. */
const LONGEST = 10_000;

/** Ends where the body ends, after 64 KiB, or after ten seconds. Errors and the reader's cancelling pass through. */
export function bounded(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = LARGEST;
  let timer: NodeJS.Timeout | undefined;
  let cut = false;

  function end(controller: ReadableStreamDefaultController<Uint8Array>): void {
    cut = true;
    clearTimeout(timer);
    controller.close();
    reader.cancel().catch(() => {});
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        timer ??= setTimeout(() => end(controller), LONGEST).unref();
        try {
          const { done, value } = await reader.read();
          if (cut) return;
          if (value) controller.enqueue(value.subarray(0, left));
          left -= value?.length ?? 0;
          if (done || left <= 0) end(controller);
        } catch (error) {
          clearTimeout(timer);
          if (!cut) throw error;
        }
      },
      cancel(reason) {
        clearTimeout(timer);
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
