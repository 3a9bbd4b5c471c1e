/** What happens after `/login kimi-coder` was typed: the question for the region, then pi 0.73's own dialog. */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { ExtensionAPI, ExtensionContext, InputEvent } from "@mariozechner/pi-coding-agent";
import { PROVIDER } from "../configuration.ts";
import { CANCELLED, type VerificationCallback } from "../login.ts";
import { parseRegion, type Region } from "../region.ts";
import type { RegionCallback, RegionQuestion } from "../region-choice.ts";
import { ownerName } from "../sentences.ts";
import type { Stores } from "../stores.ts";
import { NOBODY_THERE } from "../unattended.ts";
import { lookForBrowser, openBrowser } from "./login-screen/browser.ts";
import { loginScreen } from "./login-screen/view.ts";

export interface LoginPlaces {
  readonly question: RegionQuestion;
  readonly stores: Pick<Stores, "forLogin">;
}

export interface TypedLogin {
  readonly ctx: ExtensionContext;
  /** As it was typed; undefined = none was. */
  readonly region: string | undefined;
  readonly source: InputEvent["source"];
  /** One sentence why nobody can be asked. */
  readonly refusal: string | undefined;
}

const NO_REGION =
  "Kimi Coder: that is no region; type /login kimi-coder kimi.com or /login kimi-coder kimi.ai.";

export async function answerLogin(
  pi: ExtensionAPI,
  places: LoginPlaces,
  { ctx, region: typed, source, refusal }: TypedLogin,
): Promise<void> {
  if (refusal) return say(ctx, refusal, "error");
  // A screen and a keyboard: not print, JSON or RPC mode.
  if (!ctx.hasUI || source !== "interactive") return say(ctx, NOBODY_THERE, "error");
  const named = typed === undefined ? undefined : parseRegion(typed);
  if (typed !== undefined && named === undefined) return say(ctx, NO_REGION, "error");
  const region = named ?? (await ask(ctx, places.question));
  if (region) await logIn(pi, ctx, region, places);
}

/** Before the dialog opens: pi 0.73 would not bring it back after a question. Undefined after Esc. */
async function ask(ctx: ExtensionContext, question: RegionQuestion): Promise<Region | undefined> {
  const options = question.options();
  if (options.length < 2) return question.usual;
  const labels = options.map(({ label }) => label);
  const answer = await ctx.ui.select(question.message, labels);
  return options.find(({ label }) => label === answer)?.id;
}

async function logIn(
  pi: ExtensionAPI,
  ctx: ExtensionContext,
  region: Region,
  { stores }: LoginPlaces,
): Promise<void> {
  const { platform, env } = process;
  const browser = lookForBrowser({ platform, env });
  const failure = await ctx.ui.custom<string | undefined>((tui, theme, keybindings, done) => {
    const stop = new AbortController();
    const isCancel = (data: string) => keybindings.matches(data, "tui.select.cancel");
    const screen = loginScreen({ tui, theme, browser, now: Date.now }, isCancel, () => stop.abort());
    const callbacks: OAuthLoginCallbacks & RegionCallback & VerificationCallback = {
      region,
      onVerification(verification) {
        screen.show(verification);
        if (browser !== "remote") openBrowser(verification.verificationUri, platform);
      },
      // The screen above shows all there is, and nothing has to be typed.
      onAuth: () => {},
      onPrompt: () => Promise.reject(new Error("nothing has to be typed")),
      signal: stop.signal,
    };
    ctx.modelRegistry.authStorage.login(PROVIDER, callbacks).then(
      () => done(undefined),
      (error: unknown) => done(error instanceof Error ? error.message : String(error)),
    );
    return screen;
  });
  if (failure === CANCELLED) return;
  if (failure !== undefined) return say(ctx, `Kimi Coder: ${failure}`, "error");
  say(ctx, `Kimi Coder: logged in; saved for pi and ${ownerName(stores.forLogin(region).owner)}.`, "info");
  const model = ctx.modelRegistry.find(PROVIDER, "kimi-for-coding");
  if (!ctx.model && model) await pi.setModel(model);
}

function say(ctx: ExtensionContext, text: string, type: "info" | "error"): void {
  if (ctx.hasUI) ctx.ui.notify(text, type);
  else console.error(text);
}
