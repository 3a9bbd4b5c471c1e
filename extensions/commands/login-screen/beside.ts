/** Puts the code, its countdown and a QR code above the dialog that pi itself shows for a login. */
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import type { Verification } from "../../login.ts";
import { lookForBrowser } from "./browser.ts";
import { besideDialog } from "./view.ts";

const KEY = "kimi-coder-login";

/** Returns what takes it away. Without a screen, or with one that takes no components, nothing is shown. */
export function showBeside(
  { hasUI, ui }: Pick<ExtensionContext, "hasUI" | "ui">,
  verification: Verification,
) {
  if (!hasUI) return () => {};
  const browser = lookForBrowser({ platform: process.platform, env: process.env });
  ui.setWidget(KEY, (tui, theme) => besideDialog({ tui, theme, browser, now: Date.now }, verification));
  return () => ui.setWidget(KEY, undefined);
}
