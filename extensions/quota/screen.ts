/** `/kimi usage` on pi's screen: what is known at once, and what comes in its place. */
import type { ExtensionContext, Theme } from "@mariozechner/pi-coding-agent";
import { truncateToWidth } from "@mariozechner/pi-tui";
import type { Sight } from "../caller.ts";
import type { KeptFigures } from "./figures.ts";
import { layout, type Paint } from "./layout.ts";
import type { SessionUse } from "./session-use.ts";
import type { Usage } from "./usage.ts";

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

/** Lines that are not ours to fill: pi's footer, the extensions' status, a line of the chat, and our frame with its keys. */
const AROUND = 8;

/** Resolves when it is closed. */
export function showUsage(
  ctx: ExtensionContext,
  { usage, sight, kept: before, session, now }: UsageScreen,
): Promise<void> {
  return ctx.ui.custom<void>((tui, theme, keybindings, done) => {
    let kept = before;
    /** The first line that is shown, and the last that can be. */
    let top = 0;
    let lastTop = 0;
    let asking = false;
    let problem: string | undefined;
    const ask = async () => {
      if (asking) return;
      asking = true;
      problem = undefined;
      tui.requestRender();
      const outcome = await usage.refresh(sight);
      asking = false;
      if (outcome.state === "fresh") kept = outcome.kept;
      else problem = outcome.problem;
      tui.requestRender();
    };
    void ask();

    const paint = painter(theme);
    const scroll = (lines: number) => {
      top = Math.max(0, Math.min(lastTop, top + lines));
      tui.requestRender();
    };
    return {
      render(width) {
        const rule = theme.fg("border", "─".repeat(Math.max(1, width)));
        // Room for a space on either side.
        const lines = layout({ kept, session: session(kept), asking, problem, now: now() }, width - 2, paint);
        // What is taller than the terminal pi cuts off.
        const room = Math.max(1, tui.terminal.rows - AROUND);
        lastTop = Math.max(0, lines.length - room);
        top = Math.min(top, lastTop);
        const keys = `${lastTop > 0 ? " ↑↓ more ·" : ""} r asks again · esc closes`;
        const shown = lines.slice(top, top + room).map((line) => ` ${line}`);
        // pi ends where a line is wider than the screen.
        const cut = [...shown, "", theme.fg("dim", keys)].map((line) => truncateToWidth(line, width, "…"));
        return [rule, ...cut, rule];
      },
      handleInput(data) {
        const isKey = (name: Parameters<typeof keybindings.matches>[1]) => keybindings.matches(data, name);
        if (data === "r") void ask();
        else if (isKey("tui.select.up")) scroll(-1);
        else if (isKey("tui.select.down")) scroll(1);
        else if (data === "q" || isKey("tui.select.cancel") || isKey("tui.select.confirm")) done();
      },
      invalidate() {},
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
