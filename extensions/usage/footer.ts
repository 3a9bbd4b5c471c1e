/** The quota in pi's footer: kept in line beside the turns, never in their way, and one warning before it ends. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import { footerText } from "./footer-text.ts";
import type { KeptFigures } from "./kept.ts";
import { type GivenWarning, quotaWarnings, wasGiven } from "./quota-warning.ts";
import type { Usage } from "./usage.ts";

export interface FooterParts {
  readonly usage: Pick<Usage, "known" | "refresh" | "claimWarnings" | "stop">;
  readonly handKey: (ctx: ExtensionContext) => Promise<string | undefined>;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** How old figures may get before they are asked for again, by whichever pi process, ms. */
const EVERY = 3 * 60_000;
/** What pi knows our part of the footer by. */
const KEY = "kimi-coder";

/** What is known of one account. */
interface Known {
  readonly account: string;
  /** Kept in memory as well: the file may not be writable. */
  figures: KeptFigures | undefined;
  readonly given: GivenWarning[];
  /** When this process asked last, ms since the epoch. */
  askedAt: number | undefined;
}

export type Footer = ReturnType<typeof createFooter>;

export function createFooter({ usage, handKey, now }: FooterParts) {
  let context: ExtensionContext | undefined;
  let selected = false;
  let known: Known | undefined;
  let busy = false;

  /** Asks the session that is there now; pi throws where it was replaced meanwhile. */
  function inSession(task: (ui: ExtensionContext["ui"]) => void): void {
    try {
      if (context) task(context.ui);
    } catch {
      context = undefined;
    }
  }

  /** Anew at each occasion, for what is old says so by and by. */
  function draw(): void {
    const text = selected && known?.figures ? footerText(known.figures, now()) : undefined;
    inSession((ui) => ui.setStatus(KEY, text));
  }

  function warn({ account, figures, given }: Known): void {
    if (!selected || !figures) return;
    const wanted = quotaWarnings(figures, now()).filter((warning) => !wasGiven(warning, given, now()));
    if (wanted.length === 0) return;
    inSession((ui) => {
      const ours = usage.claimWarnings(account, wanted);
      given.push(...wanted);
      for (const { text } of ours) ui.notify(text, "warning");
    });
  }

  /** Figures from the future mean that the clock was set back: nobody knows how old they are. */
  function isRecent(at: number | undefined): boolean {
    const age = at === undefined ? EVERY : now() - at;
    return age >= 0 && age < EVERY;
  }

  async function keepUp(ctx: ExtensionContext, turnAhead: boolean): Promise<void> {
    const key = await handKey(ctx);
    const { account, kept } = await usage.known(key);
    if (account !== known?.account)
      known =
        account === undefined ? undefined : { account, figures: undefined, given: [], askedAt: undefined };
    const here = known;
    if (here && kept && kept.fetchedAt > (here.figures?.fetchedAt ?? 0)) here.figures = kept;
    draw();
    if (!here) return;
    warn(here);
    // A turn that is about to begin comes first; its end asks.
    if (turnAhead && here.figures) return;
    if (isRecent(here.figures?.fetchedAt) || isRecent(here.askedAt)) return;
    here.askedAt = now();
    const outcome = await usage.refresh(key);
    if (outcome.state === "fresh") here.figures = outcome.kept;
    draw();
    warn(here);
  }

  return {
    /**
     * A session began, its model changed (`ours`: to one of this provider), a turn is over or (`turnAhead`) about to
     * begin. Never throws.
     */
    async update(ctx: ExtensionContext, ours: boolean, turnAhead = false): Promise<void> {
      context = ctx;
      selected = ours;
      draw();
      if (!ours || busy) return;
      busy = true;
      try {
        await keepUp(ctx, turnAhead);
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
