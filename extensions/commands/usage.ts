/** `/kimi usage`: how much of the plan is used, on the screen, to an RPC client, or on stdout. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import type { Clock } from "../oauth/clock.ts";
import type { KeptFigures } from "../usage/kept.ts";
import { layout, withoutColour } from "../usage/layout.ts";
import { report } from "../usage/report.ts";
import type { Usage } from "../usage/usage.ts";
import { SLOW, sayProblem } from "../usage/words.ts";
import type { Run } from "./kimi.ts";
import { isTerminal } from "./terminal.ts";

export interface UsageCommandParts {
  readonly usage: Usage;
  readonly handKey: (ctx: ExtensionContext) => Promise<string | undefined>;
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
    const key = await parts.handKey(ctx);
    const unavailable = await usage.unavailable(key);
    const kept = unavailable === undefined ? await usage.last(key) : undefined;
    if (unavailable === undefined && !json && onScreen) {
      const { showUsage } = await import("./usage-screen.ts");
      return showUsage(ctx, { usage, key, kept, now: clock.now });
    }
    const outcome =
      unavailable === undefined
        ? await within(PATIENCE, usage.refresh(key), clock)
        : ({ state: "unavailable", message: unavailable } as const);
    // From the shell nobody else uses what is still under way, and it must not keep pi from ending.
    if (!hasUI) usage.stop();
    const shown = outcome?.state === "fresh" ? outcome.kept : kept;
    const problem = sayProblem(outcome);
    const now = clock.now();
    if (json) {
      reply.json(report(shown, problem, now));
      if (!shown) reply.fail();
      return;
    }
    if (!shown) return reply.complain(problem ?? SLOW);
    const width = hasUI ? USUAL_COLUMNS : (parts.columns ?? USUAL_COLUMNS);
    reply.say(asText(shown, problem, now, width));
  };
}

function asText(kept: KeptFigures, problem: string | undefined, now: number, width: number): string {
  const notice = problem === undefined ? undefined : ({ text: problem, tone: "error" } as const);
  return layout({ kept, notice, now }, width, withoutColour)
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
