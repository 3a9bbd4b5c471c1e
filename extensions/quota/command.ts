/** `/kimi usage`: how much of the plan is used, on the screen, to an RPC client, or on stdout. */

import type { Clock } from "../lib/clock.ts";
import { isTerminal, type Run } from "../reply.ts";
import type { KeptFigures } from "./figures.ts";
import { layout, withoutColour } from "./layout.ts";
import { report } from "./report.ts";
import { showUsage } from "./screen.ts";
import { readBeginning, sessionUse } from "./session-use.ts";
import { accountIn, SLOW, type Usage, type UsageOutcome } from "./usage.ts";

/** How long a shell or an RPC client waits for the answer, ms. */
const PATIENCE = 10_000;
/** Of what is no screen of pi's. */
const COLUMNS = 80;

export function usage({ usage, clock }: { readonly usage: Usage; readonly clock: Clock }): Run {
  return async ({ ctx, options, reply }) => {
    const json = options.has("--json");
    // Asked before anything is waited for: pi throws where the session was replaced meanwhile.
    const { hasUI } = ctx;
    const onScreen = isTerminal(ctx);
    const entries = ctx.sessionManager.getEntries();
    const sight = await usage.look(ctx);
    const kept = usage.known(sight);
    const beginning = readBeginning(entries, accountIn(sight));
    const session = (figures: KeptFigures | undefined) => sessionUse(entries, beginning, figures);
    if (sight.kind !== "none" && !json && onScreen) {
      return showUsage(ctx, { usage, sight, kept, session, now: clock.now });
    }
    const answered = new AbortController();
    const slow: UsageOutcome = { state: "failed", problem: SLOW };
    const patience = clock.sleep(PATIENCE, answered.signal).then(() => slow);
    const outcome = await Promise.race([usage.refresh(sight), patience]);
    answered.abort();
    // From the shell, what is still under way serves no one, and it must not keep pi from ending.
    if (!hasUI) usage.stop();
    const shown = outcome.state === "fresh" ? outcome.kept : kept;
    const problem = outcome.state === "fresh" ? undefined : outcome.problem;
    const now = clock.now();
    if (json) {
      reply.json(report(shown, session(shown), problem, now));
      if (!shown) reply.fail();
      return;
    }
    if (!shown && problem !== undefined) return reply.complain(problem);
    const view = { kept: shown, session: session(shown), asking: false, problem, now };
    const lines = layout(view, COLUMNS, withoutColour);
    reply.say(lines.map((line) => line.trimEnd()).join("\n"));
  };
}
