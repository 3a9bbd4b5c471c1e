/** The quota in pi's footer: kept in line beside the turns, never in their way, and one warning before it ends. */
import type { ExtensionAPI, ExtensionContext } from "@mariozechner/pi-coding-agent";
import { fingerprint } from "../lib/safe-text.ts";
import { bindingWindow, usedPercentAt } from "./figures.ts";
import type { KeptFigures } from "./kept.ts";
import { beginningOf, NOTE_TYPE, type Note, readBeginning, readTools } from "./session-use.ts";
import { accountIn, type Usage } from "./usage.ts";
import { claimWarnings, type GivenWarning, quotaWarnings, wasGiven } from "./warnings.ts";
import { sayAge, sayPercent } from "./words.ts";

/** A session began, its model changed, a prompt is about to be sent, or a turn is over. */
export type Moment = "session" | "model" | "prompt" | "turn";

export interface FooterParts {
  readonly usage: Pick<Usage, "path" | "look" | "known" | "refresh" | "stop">;
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

export function createFooter({ usage, pi, now }: FooterParts) {
  let context: ExtensionContext | undefined;
  let selected = false;
  let known: Known | undefined;
  let busy = false;
  /** What the open session's footer says; undefined = not known. */
  let sent: { readonly text: string | undefined } | undefined;

  /** Asks the session that is there now; pi throws where it was replaced meanwhile. */
  function inSession(task: (ctx: ExtensionContext) => void): void {
    try {
      if (context) task(context);
    } catch {
      context = undefined;
    }
  }

  /** Drawn at each occasion, because old figures show their age; sent when it has changed. */
  function draw(): void {
    const text = selected && known?.figures ? footerText(known.figures, now()) : undefined;
    if (sent && sent.text === text) return;
    inSession(({ ui }) => {
      ui.setStatus(KEY, text);
      sent = { text };
    });
  }

  function warn({ account, figures, given }: Known): void {
    if (!selected || !figures) return;
    const wanted = quotaWarnings(figures, now()).filter((warning) => !wasGiven(warning, given, now()));
    if (wanted.length === 0) return;
    inSession(({ ui }) => {
      const ours = claimWarnings(usage.path, account, wanted, now());
      given.push(...wanted);
      for (const { text } of ours) ui.notify(text, "warning");
    });
  }

  /** Tells the session, for `/kimi usage`, how much was used when it began, and which tools its requests carry. */
  function note(): void {
    inSession(({ sessionManager }) => {
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

  /** Figures from the future mean that the clock was set back: their age is not known. */
  function isRecent(at: number | undefined): boolean {
    const age = at === undefined ? EVERY : now() - at;
    return age >= 0 && age < EVERY;
  }

  async function keepUp(ctx: ExtensionContext, turnAhead: boolean): Promise<void> {
    const sight = await usage.look(ctx);
    const account = accountIn(sight);
    const kept = usage.known(sight);
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
    const outcome = await usage.refresh(sight);
    if (outcome.state === "fresh") here.figures = outcome.kept;
    draw();
    warn(here);
  }

  return {
    /** `ours`: whether a model of this provider is selected. Never throws. */
    async update(ctx: ExtensionContext, ours: boolean, moment: Moment): Promise<void> {
      context = ctx;
      selected = ours;
      // pi takes all of a footer away with its session.
      if (moment === "session") sent = undefined;
      draw();
      if (!ours) return;
      if (moment === "prompt" || moment === "turn") note();
      if (busy) return;
      busy = true;
      try {
        await keepUp(ctx, moment === "prompt");
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

/** Such as "Kimi 5h 31% · week 6%"; undefined where there is nothing to say. `now` in ms. */
export function footerText({ figures, fetchedAt }: KeptFigures, now: number): string | undefined {
  const binding = bindingWindow(figures, now, fetchedAt);
  const shown = figures.windows.filter(
    (window) => window === binding || window.kind === "5h" || window.kind === "week",
  );
  if (shown.length === 0) return undefined;
  const parts = shown.map((window) => {
    const label = window.kind === "5h" ? "5h" : window.label;
    return `${label} ${sayPercent(usedPercentAt(window, now, fetchedAt))}%`;
  });
  const age = now - fetchedAt >= OLD ? ` (${sayAge(now - fetchedAt)})` : "";
  return `Kimi ${parts.join(" · ")}${age}`;
}
