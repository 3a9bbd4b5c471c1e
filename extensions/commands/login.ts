/**
 * `/login kimi-coder`, typed as such, with or without a region. pi 0.73 takes `/login` only without an argument and
 * would send this text to the model; its successor has the command and never passes it on while somebody is at the
 * screen.
 */
import type { ExtensionAPI, InputEventResult } from "@mariozechner/pi-coding-agent";
import type { Lazy } from "../lazy.ts";
import type { LoginPlaces } from "./login-dialog.ts";

const TYPED = /^\/login\s+kimi-coder(?:\s+(\S+))?\s*$/;

export function offerLogin(pi: ExtensionAPI, places: Lazy<LoginPlaces>): void {
  pi.on("input", async (event, ctx): Promise<InputEventResult> => {
    const typed = TYPED.exec(event.text);
    if (!typed) return { action: "continue" };
    const [{ answerLogin }, loaded] = await Promise.all([import("./login-dialog.ts"), places.load()]);
    await answerLogin(pi, loaded, { ctx, region: typed[1], source: event.source });
    return { action: "handled" };
  });
}
