/** `/kimi usage` on pi's screen: what is known at once, and what comes in its place. */
import type { ExtensionContext, Theme } from "@mariozechner/pi-coding-agent";
import { truncateToWidth } from "@mariozechner/pi-tui";
import type { KeptFigures } from "../usage/kept.ts";
import { layout, type View } from "../usage/layout.ts";
import type { Paint } from "../usage/spans.ts";
import type { Usage } from "../usage/usage.ts";
import { SLOW, sayProblem } from "../usage/words.ts";

export interface UsageScreen {
  readonly usage: Pick<Usage, "refresh">;
  readonly key: string | undefined;
  readonly kept: KeptFigures | undefined;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** After so long without an answer that is said, ms. */
const SLOW_AFTER = 4_000;
/** How often the times left are drawn anew, ms. */
const TICK = 15_000;

/** Resolves when it is closed. */
export function showUsage(
  ctx: ExtensionContext,
  { usage, key, kept: before, now }: UsageScreen,
): Promise<void> {
  return ctx.ui.custom<void>((tui, theme, keybindings, done) => {
    let kept = before;
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
        .refresh(key)
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
    return {
      render(width) {
        const rule = theme.fg("border", "─".repeat(Math.max(1, width)));
        // Room for a space on either side.
        const inner = Math.max(1, width - 2);
        const lines = layout({ kept, notice, now: now() }, inner, paint).map((line) => ` ${line}`);
        const keys = theme.fg("dim", truncateToWidth(" r asks again · esc closes", width, "…"));
        return [rule, ...lines, "", keys, rule];
      },
      handleInput(data) {
        if (data === "r") ask();
        else if (
          data === "q" ||
          keybindings.matches(data, "tui.select.cancel") ||
          keybindings.matches(data, "tui.select.confirm")
        )
          done();
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
