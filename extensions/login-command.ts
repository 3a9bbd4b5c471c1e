/**
 * `/login kimi-coder`, typed as such, with or without a region. pi 0.73 takes `/login` only without an argument and would send this text to the
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
import type { Owner } from "./credentials/store.ts";
import { parseRegion, type Region } from "./region.ts";
import type { RegionCallback, RegionQuestion } from "./region-choice.ts";
import { ownerName } from "./sentences.ts";

const TYPED = /^\/login\s+kimi-coder(?:\s+(\S+))?\s*$/;

const NOBODY_THERE =
  "Kimi Coder: start pi in a terminal and type /login kimi-coder there; a login needs a person.";

const NO_REGION =
  "Kimi Coder: that is no region; type /login kimi-coder kimi.com or /login kimi-coder kimi.ai.";

/** `ownerOf` says whose file a login of the region is saved in. */
export function offerLogin(
  pi: ExtensionAPI,
  question: RegionQuestion,
  ownerOf: (region: Region) => Owner,
): void {
  pi.on("input", async (event, ctx): Promise<InputEventResult> => {
    const typed = TYPED.exec(event.text);
    if (!typed) return { action: "continue" };
    const named = typed[1] === undefined ? undefined : parseRegion(typed[1]);
    if (!isSomebodyThere(event, ctx)) say(ctx, NOBODY_THERE, "error");
    else if (typed[1] !== undefined && named === undefined) say(ctx, NO_REGION, "error");
    else {
      const region = named ?? (await ask(ctx, question));
      if (region) await logIn(pi, ctx, region, ownerOf);
    }
    return { action: "handled" };
  });
}

/** Before the dialog opens: pi 0.73 would not bring it back after a question. Undefined after Esc. */
async function ask(ctx: ExtensionContext, question: RegionQuestion): Promise<Region | undefined> {
  const options = question.options();
  if (options.length < 2) return question.usual;
  const labels = options.map(({ label }) => label);
  const answer = await ctx.ui.select(question.message, labels);
  return options.find(({ label }) => label === answer)?.id;
}

/** A screen and a keyboard: not print, JSON or RPC mode. */
function isSomebodyThere(event: InputEvent, ctx: ExtensionContext): boolean {
  return ctx.hasUI && event.source === "interactive";
}

async function logIn(
  pi: ExtensionAPI,
  ctx: ExtensionContext,
  region: Region,
  ownerOf: (region: Region) => Owner,
): Promise<void> {
  const failure = await ctx.ui.custom<string | undefined>((tui, _theme, _keybindings, done) => {
    const dialog = new LoginDialogComponent(tui, PROVIDER, () => {});
    const callbacks: OAuthLoginCallbacks & RegionCallback = {
      region,
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
  say(ctx, `Kimi Coder: logged in; saved for pi and ${ownerName(ownerOf(region))}.`, "info");
  const model = ctx.modelRegistry.find(PROVIDER, "kimi-for-coding");
  if (!ctx.model && model) await pi.setModel(model);
}

function say(ctx: ExtensionContext, text: string, type: "info" | "error"): void {
  if (ctx.hasUI) ctx.ui.notify(text, type);
  else console.error(text);
}
