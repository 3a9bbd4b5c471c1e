/** What `/kimi status` says, as lines. Nothing secret is passed in: no token, no key, no device id. */

import type { SentRequest } from "../chat/last-request.ts";
import type { Rotation } from "../credentials/rotations.ts";
import { sayTime } from "../errors/waiting-time.ts";
import type { Versions } from "../identity.ts";
import type { Hosts, Region } from "../region.ts";
import { type RequestCredential, storeInUse } from "../request-credential.ts";
import { ownerName, sayProblem, sayUnavailable } from "../sentences.ts";
import { sayAge, sayDuration } from "../usage/words.ts";
import { hitPercent, type SessionCache } from "./session-cache.ts";

/** How the login in use got into its file. */
export type Renewal =
  /** A pi has noted it; `own`: it was this process. */
  | ({ readonly by: "pi"; readonly own: boolean } & Rotation)
  /** No pi has: the program that owns the file, or another one. `at`: when the file was written, ms since the epoch. */
  | { readonly by: "other"; readonly at: number };

/** What is kept of the plan since somebody last asked for it. */
export interface KnownPlan {
  readonly name: string;
  /** ms since the epoch. */
  readonly askedAt: number;
}

export interface Status {
  readonly versions: Versions;
  readonly credential: RequestCredential;
  readonly renewal: Renewal | undefined;
  readonly plan: KnownPlan | undefined;
  readonly region: Region;
  readonly hosts: Hosts;
  readonly userAgent: string;
  /** The model that is selected, of whatever provider; `<provider>/<id>`. */
  readonly model: string | undefined;
  readonly last: SentRequest | undefined;
  readonly cache: SessionCache;
  readonly now: Date;
}

/** Whether there is nothing to tell of but that there is no login. */
export function isWithoutLogin({ credential }: Pick<Status, "credential">): string | undefined {
  if (credential.kind === "key" || credential.choice.state !== "none") return undefined;
  const { reason } = credential.choice;
  return reason.kind === "no-login" || reason.kind === "logged-out" ? sayUnavailable(reason) : undefined;
}

/** One line where there is no login at all; else each line begins with what it is about. */
export function statusLines(status: Status): readonly string[] {
  const nothing = isWithoutLogin(status);
  if (nothing !== undefined) return [nothing];
  const { versions, credential, renewal, plan, region, hosts, userAgent, model, now } = status;
  return [
    `pi-kimi-coder ${versions.extension} on pi ${versions.pi}`,
    ...credentialLines(credential, now),
    ...(renewal ? [renewalLine(renewal, credential, now)] : []),
    plan
      ? `Plan: ${plan.name} (asked ${sayAge(now.getTime() - plan.askedAt)})`
      : "Plan: not asked yet; type /kimi usage",
    `Region: ${region}`,
    `API: ${hosts.baseUrl}`,
    `Authorization server: ${hosts.oauthHost}`,
    `Identity: ${userAgent}`,
    `Model: ${model ?? "none selected"}`,
    ...requestLines(status),
  ];
}

function credentialLines(credential: RequestCredential, now: Date): readonly string[] {
  if (credential.kind === "key") return [`Key: from ${credential.source}`];
  const { choice } = credential;
  switch (choice.state) {
    case "none":
      return [`Login: ${sayUnavailable(choice.reason)}`];
    case "mirror":
      return [`Login: ${sayProblem(choice.problem)}`, tokenLine(choice.token.expiresAt, now)];
    case "use":
      return [
        `Login: ${ownerName(choice.store.owner)}, ${choice.store.path}`,
        tokenLine(choice.token.expiresAt, now),
      ];
  }
}

/** `expiresAt` in ms since the epoch. */
function tokenLine(expiresAt: number, now: Date): string {
  const left = expiresAt - now.getTime();
  return left > 0
    ? `Access token: until ${sayTime(expiresAt, now)} (in ${sayDuration(left)})`
    : `Access token: ended ${sayPast(expiresAt, now)} (${sayDuration(-left)} ago); the next request renews it`;
}

function renewalLine(renewal: Renewal, credential: RequestCredential, now: Date): string {
  const when = `${sayPast(renewal.at, now)} (${ago(renewal.at, now)})`;
  if (renewal.by === "other") {
    const store = storeInUse(credential);
    return `Renewed: ${when} by ${store === undefined ? "" : `${ownerName(store.owner)} or `}another program`;
  }
  const who = renewal.own ? "this pi" : `another pi (process ${renewal.pid})`;
  return renewal.how === "logged-in" ? `Logged in: ${when} from ${who}` : `Renewed: ${when} by ${who}`;
}

/** "14:05" today, else "20 Nov 14:05": local time, the minute it happened in. */
function sayPast(at: number, now: Date): string {
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (date.toDateString() === now.toDateString()) return clock;
  return `${date.getDate()} ${date.toDateString().slice(4, 7)} ${clock}`;
}

function ago(at: number, now: Date): string {
  const past = now.getTime() - at;
  return past < 0 ? "in the future: a clock was set" : `${sayDuration(past)} ago`;
}

function requestLines({ last, cache }: Status): readonly string[] {
  return [...lastLines(last), ...cacheLines(cache)];
}

function lastLines(last: SentRequest | undefined): readonly string[] {
  if (!last) return ["Last request: none since pi started"];
  const { model, thinking, maxTokens, usage } = last;
  const sent = thinking === undefined ? "no thinking" : `thinking ${JSON.stringify(thinking)}`;
  const cap = maxTokens === undefined ? "no max_tokens" : `max_tokens ${maxTokens}`;
  const request = `Last request: model ${model}, ${sent}, ${cap}`;
  const prompt = usage ? usage.input + usage.cacheRead + usage.cacheWrite : 0;
  const percent = usage && hitPercent({ prompt, cached: usage.cacheRead });
  if (!usage || percent === undefined) return [request];
  return [request, `  of its prompt ${share(usage.cacheRead, prompt, percent)} came from Kimi's cache`];
}

function cacheLines(cache: SessionCache): readonly string[] {
  const percent = hitPercent(cache);
  if (percent === undefined) return [];
  const { answers, cached, prompt } = cache;
  const of = answers === 1 ? "1 answer" : `${number(answers)} answers`;
  return [`Prompt cache: ${share(cached, prompt, percent)} in this session (${of})`];
}

function share(cached: number, prompt: number, percent: number): string {
  return `${number(cached)} of ${number(prompt)} tokens (${percent} %)`;
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
