/**
 * `/login kimi-coder`, typed as such. pi 0.73 takes `/login` only without an argument and would send this text to the
 * model; its successor has the command and never passes it on while somebody is at the screen.
 */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import {
  type ExtensionAPI,
  type ExtensionContext,
  type InputEvent,
  type InputEventResult,
  LoginDialogComponent,
} from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "./configuration.ts";

const TYPED = /^\/login\s+kimi-coder\s*$/;

const NOBODY_THERE =
  "Kimi Coder: start pi in a terminal and type /login kimi-coder there; a login needs a person.";

export function offerLogin(pi: ExtensionAPI): void {
  pi.on("input", async (event, ctx): Promise<InputEventResult> => {
    if (!TYPED.test(event.text)) return { action: "continue" };
    if (!isSomebodyThere(event, ctx)) say(ctx, NOBODY_THERE, "error");
    else await logIn(pi, ctx);
    return { action: "handled" };
  });
}

/** A screen and a keyboard: not print, JSON or RPC mode. */
function isSomebodyThere(event: InputEvent, ctx: ExtensionContext): boolean {
  return ctx.hasUI && event.source === "interactive";
}

async function logIn(pi: ExtensionAPI, ctx: ExtensionContext): Promise<void> {
  const failure = await ctx.ui.custom<string | undefined>((tui, _theme, _keybindings, done) => {
    const dialog = new LoginDialogComponent(tui, PROVIDER, () => {});
    const callbacks: OAuthLoginCallbacks = {
      onAuth: ({ url, instructions }) => dialog.showAuth(url, instructions),
      onPrompt: ({ message, placeholder }) => dialog.showPrompt(message, placeholder),
      onProgress: (message) => dialog.showProgress(message),
      signal: dialog.signal,
    };
    ctx.modelRegistry.authStorage.login(PROVIDER, callbacks).then(
      () => done(undefined),
      (error: unknown) => done(error instanceof Error ? error.message : String(error)),
    );
    return dialog;
  });
  if (failure === "Login cancelled") return;
  if (failure !== undefined) return say(ctx, `Kimi Coder: ${failure}`, "error");
  say(ctx, "Kimi Coder: logged in; saved for pi and kimi-cli.", "info");
  const model = ctx.modelRegistry.find(PROVIDER, "kimi-for-coding");
  if (!ctx.model && model) await pi.setModel(model);
}

function say(ctx: ExtensionContext, text: string, type: "info" | "error"): void {
  if (ctx.hasUI) ctx.ui.notify(text, type);
  else console.error(text);
}
