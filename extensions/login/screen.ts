/** The login on pi's screen: a component that counts down while it is there, and leaves no timer behind. */
import type { ExtensionContext, Theme } from "@mariozechner/pi-coding-agent";
import type { Component, TUI } from "@mariozechner/pi-tui";
import { hasBrowser } from "./browser.ts";
import type { DrawQr } from "./half-blocks.ts";
import {
  besideLines,
  type Content,
  indent,
  loginLines,
  type Paint,
  type Verification,
  wrap,
} from "./lines.ts";

export interface View extends Component {
  dispose(): void;
}

export interface Screen extends View {
  /** Shows a code, in place of the one before. */
  readonly show: (verification: Verification) => void;
}

export interface ScreenParts {
  readonly tui: Pick<TUI, "requestRender"> & { readonly terminal: { readonly rows: number } };
  readonly theme: Pick<Theme, "fg" | "bold">;
  readonly drawQr: DrawQr;
}

const SECOND = 1_000;
/** pi's footer and the status line of extensions. */
const FOOTER = 3;
/** Our rules, the title, and the empty lines around the content. */
const FRAME = 6;
/** pi's own dialog without the address. */
const DIALOG = 11;

/** All of the login, in place of pi's dialog; `cancel` is called on Esc. */
export function loginScreen(
  parts: ScreenParts,
  isCancel: (data: string) => boolean,
  cancel: () => void,
): Screen {
  const { tui, theme, drawQr } = parts;
  const paint = paintWith(theme);
  let content: Omit<Content, "now"> | undefined;
  const stop = everySecond(tui);
  return {
    show(verification) {
      content = contentOf(verification, drawQr);
      tui.requestRender();
    },
    render(width) {
      const rule = theme.fg("border", "─".repeat(width));
      const room = { width, height: tui.terminal.rows - FOOTER - FRAME };
      const lines = content
        ? loginLines({ ...content, now: Date.now() }, room, paint)
        : indent(wrap(paint.quiet("Asking Kimi for a code… Esc cancels."), width - 1));
      return [rule, "", ...indent([paint.title("Log in to Kimi Coder"), ""]), ...lines, "", rule];
    },
    handleInput(data) {
      if (isCancel(data)) cancel();
    },
    invalidate() {},
    dispose: stop,
  };
}

/** Above pi's own dialog: what that does not show. */
export function besideDialog(parts: ScreenParts, verification: Verification): View {
  const { tui, theme, drawQr } = parts;
  const paint = paintWith(theme);
  const content = contentOf(verification, drawQr);
  return {
    render(width) {
      const dialog = DIALOG + Math.ceil(verification.verificationUri.length / Math.max(1, width - 2));
      const room = { width, height: tui.terminal.rows - FOOTER - dialog };
      return [...besideLines({ ...content, now: Date.now() }, room, paint)];
    },
    invalidate() {},
    dispose: everySecond(tui),
  };
}

function contentOf(verification: Verification, drawQr: DrawQr): Omit<Content, "now"> {
  return { verification, browser: hasBrowser(process), qr: drawQr(verification.verificationUri) };
}

function paintWith(theme: ScreenParts["theme"]): Paint {
  return {
    title: (text) => theme.fg("accent", theme.bold(text)),
    link: (text) => theme.fg("accent", text),
    code: (text) => theme.fg("warning", theme.bold(text)),
    quiet: (text) => theme.fg("dim", text),
    urgent: (text) => theme.fg("warning", text),
  };
}

/** Returns what stops it. The timer keeps no process alive. */
function everySecond(tui: ScreenParts["tui"]): () => void {
  const timer = setInterval(() => tui.requestRender(), SECOND);
  timer.unref();
  return () => clearInterval(timer);
}

const KEY = "kimi-coder-login";

/**
 * Puts the code, its countdown and a QR code above the dialog that pi itself shows for a login; returns what takes it
 * away. Without a screen, or with one that takes no components, nothing is shown.
 */
export function showBeside(
  { hasUI, ui }: Pick<ExtensionContext, "hasUI" | "ui">,
  verification: Verification,
  drawQr: DrawQr,
): () => void {
  if (!hasUI) return () => {};
  ui.setWidget(KEY, (tui, theme) => besideDialog({ tui, theme, drawQr }, verification));
  return () => ui.setWidget(KEY, undefined);
}
