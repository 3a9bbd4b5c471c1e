/** `/kimi usage`: how much of the plan is used, on the screen, to an RPC client, or on stdout. */

import { PROVIDER } from "../configuration.ts";
import type { Clock } from "../lib/clock.ts";
import { inTurn } from "../lib/lazy.ts";
import { isTerminal, type Run } from "../reply.ts";
import type { KeptFigures } from "./kept.ts";
import { layout, type View, withoutColour } from "./layout.ts";
import { report } from "./report.ts";
import { readBeginning, sessionUse } from "./session-use.ts";
import { accountIn, type Usage } from "./usage.ts";
import { SLOW, sayProblem } from "./words.ts";

export interface UsageCommandParts {
  readonly usage: Usage;
  readonly clock: Clock;
  /** Columns of the terminal that print mode writes to; undefined where it writes to none. */
  readonly columns: number | undefined;
}

/** How long a shell or an RPC client waits for the answer, ms. */
const PATIENCE = 10_000;
const USUAL_COLUMNS = 80;

export function usage(parts: UsageCommandParts): Run {
  const { usage, clock } = parts;
  return async ({ ctx, options, reply }) => {
    const json = options.has("--json");
    // Asked before anything is waited for: pi throws where the session was replaced meanwhile.
    const { hasUI } = ctx;
    const onScreen = isTerminal(ctx);
    const entries = ctx.sessionManager.getEntries();
    const sight = await usage.look(ctx);
    const unavailable = sight.kind === "none" ? sight.message : undefined;
    const kept = usage.known(sight);
    const beginning = readBeginning(entries, accountIn(sight));
    const session = (figures: KeptFigures | undefined) => sessionUse(entries, PROVIDER, beginning, figures);
    if (unavailable === undefined && !json && onScreen) {
      const { showUsage } = await inTurn(() => import("./screen.ts"));
      return showUsage(ctx, { usage, sight, kept, session, now: clock.now });
    }
    const outcome =
      unavailable === undefined
        ? await within(PATIENCE, usage.refresh(sight), clock)
        : ({ state: "unavailable", message: unavailable } as const);
    // From the shell, what is still under way serves no one, and it must not keep pi from ending.
    if (!hasUI) usage.stop();
    const shown = outcome?.state === "fresh" ? outcome.kept : kept;
    const problem = sayProblem(outcome);
    const now = clock.now();
    if (json) {
      reply.json(report(shown, session(shown), problem, now));
      if (!shown) reply.fail();
      return;
    }
    if (!shown) return reply.complain(problem ?? SLOW);
    const notice = problem === undefined ? undefined : ({ text: problem, tone: "error" } as const);
    const width = hasUI ? USUAL_COLUMNS : (parts.columns ?? USUAL_COLUMNS);
    reply.say(asText({ kept: shown, session: session(shown), notice, now }, width));
  };
}

function asText(view: View, width: number): string {
  return layout(view, width, withoutColour)
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Undefined when it takes longer than `patience` ms. */
async function within<T>(patience: number, work: Promise<T>, clock: Clock): Promise<T | undefined> {
  const done = new AbortController();
  const late = clock.sleep(patience, done.signal).then(() => undefined);
  const first = await Promise.race([work, late]);
  done.abort();
  return first;
}
