/** `/kimi usage` on pi's screen: what is known at once, and what comes in its place. */
import type { ExtensionContext, Theme } from "@mariozechner/pi-coding-agent";
import { truncateToWidth } from "@mariozechner/pi-tui";
import type { Sight } from "../caller.ts";
import type { KeptFigures } from "./kept.ts";
import { layout, type Paint, type View } from "./layout.ts";
import type { SessionUse } from "./session-use.ts";
import type { Usage } from "./usage.ts";
import { SLOW, sayProblem } from "./words.ts";

export interface UsageScreen {
  readonly usage: Pick<Usage, "refresh">;
  /** As whom Kimi is asked. */
  readonly sight: Sight;
  readonly kept: KeptFigures | undefined;
  /** What the open session has used, by the newest figures. */
  readonly session: (kept: KeptFigures | undefined) => SessionUse;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** Delay before saying that Kimi is slow, ms. */
const SLOW_AFTER = 4_000;
/** How often the times left are redrawn, in ms. */
const TICK = 15_000;
/** Lines that are not ours to fill: pi's footer, the extensions' status, a line of the chat, and our frame with its keys. */
const AROUND = 8;

/** Resolves when it is closed. */
export function showUsage(
  ctx: ExtensionContext,
  { usage, sight, kept: before, session, now }: UsageScreen,
): Promise<void> {
  return ctx.ui.custom<void>((tui, theme, keybindings, done) => {
    let kept = before;
    /** The first line that is shown, and the last that can be; what is shown at once, in lines. */
    let top = 0;
    let lastTop = 0;
    let room = 1;
    let notice: View["notice"];
    let asking = false;
    let slow: NodeJS.Timeout | undefined;
    const say = (next: View["notice"]) => {
      notice = next;
      tui.requestRender();
    };
    const ask = () => {
      if (asking) return;
      asking = true;
      say({ text: "asking Kimi…", tone: "dim" });
      slow = setTimeout(() => say({ text: SLOW, tone: "warning" }), SLOW_AFTER);
      slow.unref();
      usage
        .refresh(sight)
        .then(
          (outcome) => {
            if (outcome.state === "fresh") kept = outcome.kept;
            return sayProblem(outcome);
          },
          () => SLOW,
        )
        .then((problem) => {
          clearTimeout(slow);
          asking = false;
          say(problem === undefined ? undefined : { text: problem, tone: "error" });
        });
    };
    const ticks = setInterval(() => tui.requestRender(), TICK);
    ticks.unref();
    ask();

    const paint = painter(theme);
    const scroll = (lines: number) => {
      top = Math.max(0, Math.min(lastTop, top + lines));
      tui.requestRender();
    };
    return {
      render(width) {
        const rule = theme.fg("border", "─".repeat(Math.max(1, width)));
        // Room for a space on either side.
        const inner = Math.max(1, width - 2);
        const lines = layout({ kept, session: session(kept), notice, now: now() }, inner, paint);
        // What is taller than the terminal pi cuts off.
        room = Math.max(1, tui.terminal.rows - AROUND);
        lastTop = Math.max(0, lines.length - room);
        top = Math.min(top, lastTop);
        const shown = lines.slice(top, top + room).map((line) => ` ${line}`);
        const keys = `${lastTop > 0 ? " ↑↓ more ·" : ""} r asks again · esc closes`;
        return [rule, ...shown, "", theme.fg("dim", truncateToWidth(keys, width, "…")), rule];
      },
      handleInput(data) {
        const isKey = (name: Parameters<typeof keybindings.matches>[1]) => keybindings.matches(data, name);
        if (data === "r") ask();
        else if (isKey("tui.select.up")) scroll(-1);
        else if (isKey("tui.select.down")) scroll(1);
        else if (isKey("tui.select.pageUp")) scroll(-room);
        else if (isKey("tui.select.pageDown")) scroll(room);
        else if (data === "q" || isKey("tui.select.cancel") || isKey("tui.select.confirm")) done();
      },
      invalidate() {},
      dispose() {
        clearInterval(ticks);
        clearTimeout(slow);
      },
    };
  });
}

function painter(theme: Theme): Paint {
  return (tone, text) => {
    switch (tone) {
      case "title":
        return theme.bold(theme.fg("accent", text));
      case "good":
        return theme.fg("success", text);
      case "plain":
        return theme.fg("text", text);
      default:
        return theme.fg(tone, text);
    }
  };
}
