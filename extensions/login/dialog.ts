/** What happens after `/login kimi-coder` was typed: the question for the login, then our own screen in pi 0.73's. */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { ExtensionAPI, ExtensionContext, InputEvent } from "@mariozechner/pi-coding-agent";
import { FIRST_MODEL, NOBODY_THERE, PROVIDER } from "../configuration.ts";
import type { Stores } from "../credentials/stores.ts";
import { ownerName } from "../messages.ts";
import { parseRegion } from "../region.ts";
import { hasBrowser, openBrowser } from "./browser.ts";
import { loadDrawQr } from "./half-blocks.ts";
import type { Verification } from "./lines.ts";
import type { VerificationCallback } from "./login.ts";
import { type AnswerCallback, CANCELLED, choose, type LoginAnswer, type LoginQuestion } from "./question.ts";
import { loginScreen } from "./screen.ts";

export interface LoginPlaces {
  readonly question: () => Promise<LoginQuestion>;
  readonly stores: Pick<Stores, "forLogin">;
  /** Takes the login from pi; a sentence where that failed. */
  readonly logOut: () => Promise<string | undefined>;
}

/** After `/logout kimi-coder`: pi's own selector does the same. */
export async function answerLogout({ logOut }: LoginPlaces, ctx: ExtensionContext): Promise<void> {
  const failure = await logOut();
  if (failure !== undefined) return say(ctx, failure, "error");
  say(ctx, "Kimi Coder: logged out in pi alone; type /login kimi-coder to log in.", "info");
}

export interface TypedLogin {
  readonly ctx: ExtensionContext;
  /** As it was typed; undefined = none was. */
  readonly region: string | undefined;
  readonly source: InputEvent["source"];
  /** The answer in place of a login where a variable is wrong, or no person is there to log in. */
  readonly refusal: string | undefined;
}

const NO_REGION =
  "Kimi Coder: that is not a region; type /login kimi-coder kimi.com or /login kimi-coder kimi.ai.";

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
  const answer: LoginAnswer | undefined = named
    ? { store: places.stores.forLogin(named), token: undefined }
    : // Before the dialog opens: pi 0.73 would not bring it back after a question.
      await choose(await places.question(), (message, labels) => ctx.ui.select(message, labels));
  if (!answer) return;
  const failure = await logIn(ctx, answer);
  if (failure === CANCELLED) return;
  if (failure !== undefined) return say(ctx, `Kimi Coder: ${failure}`, "error");
  const saved = answer.token ? "logged in with the login of" : "logged in; saved for pi and";
  say(ctx, `Kimi Coder: ${saved} ${ownerName(answer.store.owner)}.`, "info");
  const model = ctx.modelRegistry.find(PROVIDER, FIRST_MODEL);
  if (!ctx.model && model) await pi.setModel(model);
}

/** Lets pi log in, beside our own screen for a new login; why it did not, or undefined. */
async function logIn(ctx: ExtensionContext, answer: LoginAnswer): Promise<string | undefined> {
  const withCallbacks = (more: Pick<OAuthLoginCallbacks, "signal"> & VerificationCallback) => {
    const callbacks: OAuthLoginCallbacks & AnswerCallback & VerificationCallback = {
      // Our screen shows all there is.
      onAuth: () => {},
      onPrompt: () => Promise.reject(new Error("nothing has to be typed")),
      answer,
      ...more,
    };
    return failureOf(ctx.modelRegistry.authStorage.login(PROVIDER, callbacks));
  };
  if (answer.token) return withCallbacks({});
  const drawQr = await loadDrawQr();
  return ctx.ui.custom<string | undefined>((tui, theme, keybindings, done) => {
    const stop = new AbortController();
    const isCancel = (data: string) => keybindings.matches(data, "tui.select.cancel");
    const screen = loginScreen({ tui, theme, drawQr }, isCancel, () => stop.abort());
    const onVerification = (verification: Verification) => {
      screen.show(verification);
      if (hasBrowser(process)) openBrowser(verification.verificationUri, process.platform);
    };
    void withCallbacks({ onVerification, signal: stop.signal }).then(done);
    return screen;
  });
}

function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

function say(ctx: ExtensionContext, text: string, type: "info" | "error"): void {
  if (ctx.hasUI) ctx.ui.notify(text, type);
  else console.error(text);
}
