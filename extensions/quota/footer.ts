/** The quota in pi's footer: kept in line beside the turns, never in their way, and one warning before it ends. */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { fingerprint } from "../lib/safe-text.ts";
import { sayAge } from "../lib/waiting-time.ts";
import type { Screen } from "../screen.ts";
import { type KeptFigures, sayPercent, windowsAt } from "./figures.ts";
import { beginningOf, NOTE_TYPE, type Note, readBeginning, readTools } from "./session-use.ts";
import { accountIn, type Usage } from "./usage.ts";
import { claimWarnings, type GivenWarning, quotaWarnings } from "./warnings.ts";

/** A session began, its model changed, a prompt is about to be sent, or a turn is over. */
export type Moment = "session" | "model" | "prompt" | "turn";

export interface FooterParts {
  readonly usage: Pick<Usage, "path" | "look" | "known" | "refresh" | "stop">;
  readonly screen: Pick<Screen, "ask">;
  readonly pi: Pick<ExtensionAPI, "appendEntry" | "getActiveTools">;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** How old figures may get before they are asked for again, by whichever pi process, ms. */
const EVERY = 3 * 60_000;
/** From this age on it is said, ms. */
const OLD = 30 * 60_000;
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

export function createFooter({ usage, screen, pi, now }: FooterParts) {
  let selected = false;
  let known: Known | undefined;
  /** What the open session's footer says; undefined = not known. */
  let sent: { readonly text: string | undefined } | undefined;

  /** Drawn at each occasion, because old figures show their age; sent when it has changed. */
  function draw(): void {
    const text = selected && known?.figures ? footerText(known.figures, now()) : undefined;
    if (sent && sent.text === text) return;
    screen.ask(({ ui }) => {
      ui.setStatus(KEY, text);
      sent = { text };
    });
  }

  function warn({ account, figures, given }: Known): void {
    const wanted = selected && figures ? quotaWarnings(figures, now()) : [];
    if (wanted.length === 0) return;
    screen.ask(({ ui }) => {
      for (const { text } of claimWarnings(usage.path, account, wanted, given, now()))
        ui.notify(text, "warning");
    });
  }

  /** Tells the session, for `/kimi usage`, how much was used when it began, and which tools its requests carry. */
  function note(): void {
    screen.ask(({ sessionManager }) => {
      const entries = sessionManager.getEntries();
      const tools = fingerprint(pi.getActiveTools().join("\n"));
      const hasBeginning = readBeginning(entries, known?.account) !== undefined;
      const beginning =
        known?.figures && !hasBeginning && isRecent(known.figures.fetchedAt)
          ? beginningOf(known.figures, known.account)
          : undefined;
      if (tools === readTools(entries) && !beginning) return;
      const data: Note = beginning ? { beginning, tools } : { tools };
      pi.appendEntry(NOTE_TYPE, data);
    });
  }

  /** Not of the future either: the clock was set back, and their age is not known. */
  function isRecent(at = 0): boolean {
    return Math.abs(now() - at) < EVERY;
  }

  async function keepUp(ctx: ExtensionContext, turnAhead: boolean): Promise<void> {
    const sight = await usage.look(ctx);
    const account = accountIn(sight);
    const kept = usage.known(sight);
    if (account !== known?.account) {
      known =
        account === undefined ? undefined : { account, figures: undefined, given: [], askedAt: undefined };
    }
    const here = known;
    if (here && kept && kept.fetchedAt > (here.figures?.fetchedAt ?? 0)) here.figures = kept;
    draw();
    if (!here) return;
    warn(here);
    // A turn that is about to begin comes first; its end asks.
    if (turnAhead && here.figures) return;
    if (isRecent(here.figures?.fetchedAt) || isRecent(here.askedAt)) return;
    here.askedAt = now();
    const outcome = await usage.refresh(sight);
    if (outcome.state === "fresh") here.figures = outcome.kept;
    draw();
    warn(here);
  }

  return {
    /** `ours`: whether a model of this provider is selected. Never throws. */
    async update(ctx: ExtensionContext, ours: boolean, moment: Moment): Promise<void> {
      selected = ours;
      // pi takes all of a footer away with its session.
      if (moment === "session") sent = undefined;
      draw();
      if (!ours) return;
      if (moment === "prompt" || moment === "turn") note();
      try {
        await keepUp(ctx, moment === "prompt");
      } catch {
        // Whatever it was, the next turn tries again.
      }
    },

    /** The session ends. */
    stop: usage.stop,
  };
}

/** Such as "Kimi 5h 31% · week 6%"; undefined where there is nothing to say. `now` in ms. */
export function footerText(kept: KeptFigures, now: number): string | undefined {
  const shown = windowsAt(kept, now).filter(
    ({ isBinding, kind }) => isBinding || kind === "5h" || kind === "week",
  );
  if (shown.length === 0) return undefined;
  const parts = shown.map(
    ({ kind, label, usedPercent }) => `${kind === "5h" ? "5h" : label} ${sayPercent(usedPercent)}%`,
  );
  const age = now - kept.fetchedAt;
  return `Kimi ${parts.join(" · ")}${age >= OLD ? ` (${sayAge(age)})` : ""}`;
}
