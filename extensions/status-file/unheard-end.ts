/**
 * The end of a run that pi does not tell: 0.73.1's `compact` (core/agent-session.js) stops listening to the agent and
 * aborts it then, so that the run's `agent_end` reaches nobody.
 */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";

/** Long enough for an `agent_end` that is told to come first, ms. */
const QUESTION_EVERY = 200;

/** Calls `ended` once the run under way was aborted and pi does nothing more. Keeps no process alive. */
export function whenAborted(ctx: Pick<ExtensionContext, "signal" | "isIdle">, ended: () => void): void {
  const ask = () => {
    try {
      if (ctx.isIdle()) ended();
      else askLater();
    } catch {
      // The session was replaced meanwhile.
    }
  };
  const askLater = () => {
    setTimeout(ask, QUESTION_EVERY).unref();
  };
  ctx.signal?.addEventListener("abort", askLater, { once: true });
}
