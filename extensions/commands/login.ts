/**
 * `/login kimi-coder`, typed as such, with or without a region. pi 0.73 takes `/login` only without an argument and
 * would send this text to the model; its successor has the command and never passes it on while somebody is at the
 * screen. Where pi shows a login in its own dialog, what that leaves out is shown beside it.
 */
import type { ExtensionAPI, ExtensionContext, InputEventResult } from "@mariozechner/pi-coding-agent";
import type { Lazy } from "../lazy.ts";
import type { Verification } from "../login.ts";
import type { LoginPlaces } from "./login-dialog.ts";

const TYPED = /^\/login\s+kimi-coder(?:\s+(\S+))?\s*$/;

/** `refusal` is one sentence why nobody can be asked to log in. */
export function offerLogin(pi: ExtensionAPI, places: Lazy<LoginPlaces>, refusal: string | undefined) {
  let context: ExtensionContext | undefined;
  pi.on("session_start", (_event, ctx) => {
    context = ctx;
  });

  pi.on("input", async (event, ctx): Promise<InputEventResult> => {
    const typed = TYPED.exec(event.text);
    if (!typed) return { action: "continue" };
    const [{ answerLogin }, loaded] = await Promise.all([import("./login-dialog.ts"), places.load()]);
    await answerLogin(pi, loaded, { ctx, region: typed[1], source: event.source, refusal });
    return { action: "handled" };
  });

  return {
    /** Shows the code beside pi's dialog; returns what takes it away. Never throws: the dialog does without. */
    beside(verification: Verification): () => void {
      let putAway = () => {};
      let over = false;
      import("./login-screen/beside.ts")
        .then(({ showBeside }) => {
          if (context && !over) putAway = showBeside(context, verification);
        })
        .catch(() => {});
      return () => {
        over = true;
        try {
          putAway();
        } catch {
          // The session was replaced meanwhile, and its screen with it.
        }
      };
    },
  };
}
