/** With what to log in: a login that is there already, without a browser, or a new one, and for which region. */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { Configuration } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import { readSmallFileSync } from "../lib/json.ts";
import { ownerName } from "../messages.ts";
import { isValid, type Token } from "../oauth/token.ts";
import { parseRegion, type Region, USUAL_REGION } from "../region.ts";

export type LoginAnswer =
  | { readonly kind: "found"; readonly store: CredentialStore; readonly token: Token }
  | { readonly kind: "new"; readonly region: Region };

export interface LoginOption {
  readonly label: string;
  readonly answer: LoginAnswer;
}

/** What is asked, and what may be answered; the likeliest first. */
export interface LoginQuestion {
  readonly message: string;
  readonly options: readonly [LoginOption, ...LoginOption[]];
}

/** What our own screen adds to pi's callbacks: the answer, where it was asked before. */
export interface AnswerCallback {
  readonly answer?: LoginAnswer;
}

export interface QuestionParts {
  readonly configuration: Pick<Configuration, "regions" | "asksRegion">;
  /** In order of preference. */
  readonly stores: readonly CredentialStore[];
  /**
   * `~/.kimi-code/region`, in which kimi-code's installer notes the region that kimi-code itself follows before its
   * first login.
   */
  readonly markerPath: string;
  /** ms since the epoch. */
  readonly now: () => number;
}

/** Looks what there is. Never throws. */
export async function askedForLogin(parts: QuestionParts): Promise<LoginQuestion> {
  const [region, ...others] = regionsFor(parts);
  const isOneRegion = others.length === 0;
  const first = newLogin(region, isOneRegion);
  const news = others.map((other) => newLogin(other, isOneRegion));
  const looks = await Promise.all(parts.stores.map((store) => findLogin(store, parts.now())));
  const [best, ...found] = looks.flat();
  return best
    ? { message: "Which login?", options: [best, ...found, first, ...news] }
    : { message: "Which Kimi account?", options: [first, ...news] };
}

function newLogin(region: Region, isOneRegion: boolean): LoginOption {
  const label = isOneRegion ? "a new login" : `a new login for ${region}${ABROAD[region]}`;
  return { label, answer: { kind: "new", region } };
}

const ABROAD: Record<Region, string> = { "kimi.com": "", "kimi.ai": " (outside mainland China)" };

/** The region that is meant, or those that may be. */
function regionsFor({ configuration, markerPath }: QuestionParts): readonly [Region, ...Region[]] {
  const { regions, asksRegion } = configuration;
  const usual = regions[0].region;
  if (!asksRegion) return [usual];
  const marker = readSmallFileSync(markerPath);
  const likely = (marker.state === "read" ? parseRegion(marker.text) : undefined) ?? usual;
  const names = regions.map(({ region }) => region);
  return [likely, ...names.filter((name) => name !== likely)];
}

async function findLogin(store: CredentialStore, now: number): Promise<readonly LoginOption[]> {
  const found = await store.read();
  if (found.state !== "present") return [];
  const { token } = found;
  const where = store.region === USUAL_REGION ? "" : ` (${store.region})`;
  const state = isValid(token, now) ? "valid" : "renewed when it is used";
  const label = `the login of ${ownerName(store.owner)}${where}, ${state}`;
  return [{ label, answer: { kind: "found", store, token } }];
}

/** pi stays silent about exactly this message. */
export const CANCELLED = "Login cancelled";

/**
 * What was answered before; else the answer on pi's own screen, where there is more than one and it can ask. Throws
 * `Login cancelled` where there is none.
 */
export async function answerOf(
  question: () => Promise<LoginQuestion>,
  callbacks: Pick<OAuthLoginCallbacks, "onSelect"> & AnswerCallback,
): Promise<LoginAnswer> {
  if (callbacks.answer) return callbacks.answer;
  const { message, options } = await question();
  const news = options.find(({ answer }) => answer.kind === "new") ?? options[0];
  if (options.length === 1 || !callbacks.onSelect) return news.answer;
  const labels = options.map(({ label }) => ({ id: label, label }));
  const chosen = await callbacks.onSelect({ message, options: labels });
  const option = options.find(({ label }) => label === chosen);
  if (!option) throw new Error(CANCELLED);
  return option.answer;
}
