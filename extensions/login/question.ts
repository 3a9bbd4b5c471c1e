/** With what to log in: a login that is there already, without a browser, or a new one, and for which region. */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { Configuration } from "../configuration.ts";
import type { CredentialStore } from "../credentials/store.ts";
import type { Stores } from "../credentials/stores.ts";
import { readSmallFileSync } from "../lib/json.ts";
import { ownerName } from "../messages.ts";
import { isValid, type Token } from "../oauth/token.ts";
import { parseRegion, type Region, USUAL_REGION } from "../region.ts";

export interface LoginAnswer {
  /** Where the login is, or is saved. */
  readonly store: CredentialStore;
  /** Of the login that is there; undefined = a new one. */
  readonly token: Token | undefined;
}

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
  readonly stores: Stores;
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
  const { stores, now } = parts;
  const [region, ...others] = regionsFor(parts);
  const newLogin = (of: Region): LoginOption => ({
    label: others.length === 0 ? "a new login" : `a new login for ${of}${ABROAD[of]}`,
    answer: { store: stores.forLogin(of), token: undefined },
  });
  const first = newLogin(region);
  const news = others.map(newLogin);
  const looks = await Promise.all(stores.all.map((store) => findLogin(store, now())));
  const [best, ...found] = looks.flat();
  return best
    ? { message: "Which login?", options: [best, ...found, first, ...news] }
    : { message: "Which Kimi account?", options: [first, ...news] };
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
  return [{ label, answer: { store, token } }];
}

/** Lets `select` ask where there is more than one; undefined where that gives none of them. */
export async function choose(
  { message, options }: LoginQuestion,
  select: (message: string, labels: string[]) => Promise<string | undefined>,
): Promise<LoginAnswer | undefined> {
  if (options.length === 1) return options[0].answer;
  const chosen = await select(
    message,
    options.map(({ label }) => label),
  );
  return options.find(({ label }) => label === chosen)?.answer;
}

/** pi stays silent about exactly this message. */
export const CANCELLED = "Login cancelled";

/**
 * What was answered before; else the answer on pi's own screen, or a new login where that cannot ask. Throws
 * `Login cancelled` where there is none.
 */
export async function answerOf(
  question: () => Promise<LoginQuestion>,
  { answer, onSelect }: Pick<OAuthLoginCallbacks, "onSelect"> & AnswerCallback,
): Promise<LoginAnswer> {
  if (answer) return answer;
  const asked = await question();
  if (!onSelect) {
    const { options } = asked;
    return (options.find(({ answer: { token } }) => token === undefined) ?? options[0]).answer;
  }
  const select = (message: string, labels: string[]) =>
    onSelect({ message, options: labels.map((label) => ({ id: label, label })) });
  const chosen = await choose(asked, select);
  if (!chosen) throw new Error(CANCELLED);
  return chosen;
}
