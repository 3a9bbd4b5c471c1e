/** The quota in pi's footer: kept in line beside the turns, never in their way, and one warning before it ends. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import { footerText, quotaWarning } from "./footer-text.ts";
import type { KeptFigures } from "./kept.ts";
import type { Usage } from "./usage.ts";

export interface FooterParts {
  readonly usage: Pick<Usage, "last" | "refresh" | "stop">;
  readonly handKey: (ctx: ExtensionContext) => Promise<string | undefined>;
  /** ms since the epoch. */
  readonly now: () => number;
  /** The warnings that were given, by this process. */
  readonly warned: Set<string>;
}

/** How old figures may get before they are asked for again, by whichever pi process, ms. */
const EVERY = 3 * 60_000;
/** What pi knows our part of the footer by. */
const KEY = "kimi-coder";

export type Footer = ReturnType<typeof createFooter>;

export function createFooter({ usage, handKey, now, warned }: FooterParts) {
  let context: ExtensionContext | undefined;
  let selected = false;
  let text: string | undefined;
  let busy = false;
  /** When this process looked last, and when it looks again. */
  let lookedAt = 0;
  let nextAt = 0;

  /** Asks the session that is there now; pi throws where it was replaced meanwhile. */
  function inSession(task: (ui: ExtensionContext["ui"]) => void): void {
    try {
      if (context) task(context.ui);
    } catch {
      context = undefined;
    }
  }

  function draw(): void {
    inSession((ui) => ui.setStatus(KEY, selected ? text : undefined));
  }

  function show(kept: KeptFigures): void {
    text = footerText(kept, now());
    draw();
    const warning = selected ? quotaWarning(kept, now()) : undefined;
    const [strongest] = warning?.ids ?? [];
    if (!warning || strongest === undefined || warned.has(strongest)) return;
    for (const id of warning.ids) warned.add(id);
    inSession((ui) => ui.notify(warning.text, "warning"));
  }

  async function keepUp(ctx: ExtensionContext): Promise<void> {
    lookedAt = now();
    nextAt = lookedAt + EVERY;
    const key = await handKey(ctx);
    const kept = await usage.last(key);
    if (kept) show(kept);
    const age = kept ? now() - kept.fetchedAt : EVERY;
    // Figures from the future mean that the clock was set back: nobody knows how old they are.
    if (kept && age >= 0 && age < EVERY) {
      nextAt = kept.fetchedAt + EVERY;
      return;
    }
    const outcome = await usage.refresh(key);
    if (outcome.state === "fresh") return show(outcome.kept);
    if (outcome.state === "unavailable") text = undefined;
    // What is old says so by and by.
    else if (kept) text = footerText(kept, now());
    draw();
  }

  return {
    /** A session began, its model changed (`ours`: to one of this provider), or a turn is over. Never throws. */
    async update(ctx: ExtensionContext, ours: boolean): Promise<void> {
      context = ctx;
      selected = ours;
      draw();
      const due = now() >= nextAt || now() < lookedAt;
      if (!ours || busy || !due) return;
      busy = true;
      try {
        await keepUp(ctx);
      } catch {
        // Whatever it was, the next turn tries again.
      } finally {
        busy = false;
      }
    },

    /** The session ends. */
    stop(): void {
      context = undefined;
      usage.stop();
    },
  };
}

/** One set for the process: pi loads this file anew for /reload and /new. */
export function warnedInProcess(): Set<string> {
  const name = Symbol.for("pi-kimi-coder.quota-warnings");
  const there: unknown = Reflect.get(globalThis, name);
  if (there instanceof Set) return there;
  const fresh = new Set<string>();
  Reflect.set(globalThis, name, fresh);
  return fresh;
}
