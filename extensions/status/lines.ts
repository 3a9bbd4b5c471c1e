/** What `/kimi status` and `/kimi` say, as lines. Nothing secret is passed in: no token, no key, no device id. */
import { sep } from "node:path";
import type { Sight } from "../caller.ts";
import type { SentRequest } from "../chat/adapter.ts";
import { PROVIDER } from "../configuration.ts";
import { sayKeyring } from "../credentials/keyring.ts";
import type { Owner } from "../credentials/store.ts";
import type { Versions } from "../identity.ts";
import { sayTime } from "../lib/waiting-time.ts";
import { ownerName, sayProblem } from "../messages.ts";
import { bindingWindow, usedPercentAt } from "../quota/figures.ts";
import type { KeptFigures } from "../quota/kept.ts";
import { hitPercent, type SessionCache } from "../quota/session-use.ts";
import { sayAge, sayCount, sayDuration, sayPast, sayPercent, sayReset } from "../quota/words.ts";
import type { RegionInUse } from "../region.ts";
import type { Line } from "../reply.ts";

export interface Status {
  readonly versions: Versions;
  readonly home: string;
  readonly sight: Sight;
  /** Whose login is in the system's keyring, where no other was found. */
  readonly keyring: Owner | undefined;
  /** When the file of the login in use was written, ms since the epoch. */
  readonly renewedAt: number | undefined;
  /** What is kept of the plan since somebody last asked for it. */
  readonly figures: KeptFigures | undefined;
  readonly hosts: RegionInUse;
  readonly userAgent: string;
  /** The model that is selected, of whatever provider. */
  readonly model: { readonly provider: string; readonly id: string } | undefined;
  /** pi's level. */
  readonly thinking: string;
  readonly last: SentRequest | undefined;
  readonly cache: SessionCache;
  /** ms since the epoch. */
  readonly now: number;
}

/** The one line where there is no login at all. */
function withoutLogin({ sight, keyring }: Status): readonly Line[] | undefined {
  if (sight.kind !== "none" || sight.reason === "configuration") return undefined;
  if (sight.reason.kind !== "no-login" && sight.reason.kind !== "logged-out") return undefined;
  if (keyring === undefined) return [{ text: sight.message, tone: "bad" }];
  const { says, fix } = sayKeyring(keyring);
  return [{ text: `Kimi Coder: ${says}; ${fix}.`, tone: "bad" }];
}

/** One line where there is no login at all; else each line begins with what it is about. */
export function statusLines(status: Status): readonly Line[] {
  const { versions, renewedAt, figures, hosts, userAgent, model, now } = status;
  const missing = withoutLogin(status);
  if (missing) return missing;
  const plan = figures?.figures.plan;
  const lines = [
    ...credentialLines(status),
    ...(renewedAt === undefined ? [] : [`Renewed: ${sayPast(renewedAt, now)} (${sayAge(now - renewedAt)})`]),
    figures && plan !== undefined
      ? `Plan: ${plan} (asked ${sayAge(now - figures.fetchedAt)})`
      : "Plan: not asked yet; type /kimi usage",
    `Region: ${hosts.region}`,
    `API: ${hosts.baseUrl}`,
    `Authorization server: ${hosts.oauthHost}`,
    `Identity: ${userAgent}`,
    `Model: ${model ? `${model.provider}/${model.id}` : "none selected"}`,
    ...lastLines(status.last),
    ...cacheLines(status.cache),
  ];
  return [
    { text: `pi-kimi-coder ${versions.extension} on pi ${versions.pi}`, tone: "title" },
    ...lines.map((text): Line => ({ text, tone: "plain" })),
  ];
}

/** The account, the plan, what stops it first, the model, and what to type next. */
export function overviewLines(status: Status): readonly Line[] {
  const { versions, sight, hosts, figures, model, thinking } = status;
  const missing = withoutLogin(status);
  if (missing) return missing;
  const ours = model?.provider === PROVIDER;
  const [account = ""] = credentialLines(status);
  const next = ours ? [] : [`Type /model and choose one of ${PROVIDER}.`];
  const lines = [
    sight.kind === "key" ? account : `${account} (${hosts.region})`,
    `Plan: ${figures?.figures.plan ?? "not known"}`,
    `Quota: ${figures ? sayQuota(figures, status.now) : "not asked yet"}`,
    ours
      ? `Model: ${model.id}, thinking ${thinking}`
      : `Model: ${model ? "none of Kimi's" : "none"} selected`,
  ];
  return [
    { text: `Kimi Coder ${versions.extension}`, tone: "title" },
    ...lines.map((text): Line => ({ text, tone: "plain" })),
    ...[...next, WORDS].map((text): Line => ({ text, tone: "quiet" })),
  ];
}

const WORDS =
  "/kimi usage shows every limit, /kimi status what is sent and as whom, /kimi doctor what is wrong.";

/** `now` in ms since the epoch. */
function sayQuota({ figures, fetchedAt }: KeptFigures, now: number): string {
  const age = `asked ${sayAge(now - fetchedAt)}`;
  const binding = bindingWindow(figures, now, fetchedAt);
  if (!binding) return `nothing is used, ${age}`;
  const { label, resetsAt } = binding;
  const used = `${sayPercent(usedPercentAt(binding, now, fetchedAt))} % of ${label} used`;
  return resetsAt === undefined ? `${used}, ${age}` : `${used}, ${sayReset(resetsAt, now)}, ${age}`;
}

function credentialLines({ sight, home, now }: Status): readonly string[] {
  switch (sight.kind) {
    case "key":
      return [`Key: from ${displayPath(sight.source, home)}`];
    case "none":
      return [`Login: ${sight.message}`];
    case "login": {
      const { choice, store } = sight;
      const where =
        choice.state === "use"
          ? `${ownerName(store.owner)}, ${displayPath(store.path, home)}`
          : sayProblem(choice.problem);
      return [`Login: ${where}`, tokenLine(choice.token.expiresAt, now)];
    }
  }
}

/** With `~` for the home folder. */
function displayPath(path: string, home: string): string {
  return path.startsWith(home + sep) ? `~${path.slice(home.length)}` : path;
}

/** Both in ms since the epoch. */
function tokenLine(expiresAt: number, now: number): string {
  const left = expiresAt - now;
  return left > 0
    ? `Access token: until ${sayTime(expiresAt, new Date(now))} (in ${sayDuration(left)})`
    : `Access token: ended ${sayPast(expiresAt, now)} (${sayAge(-left)}); the next request renews it`;
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
  const of = answers === 1 ? "1 answer" : `${sayCount(answers)} answers`;
  return [`Prompt cache: ${share(cached, prompt, percent)} in this session (${of})`];
}

function share(cached: number, prompt: number, percent: number): string {
  return `${sayCount(cached)} of ${sayCount(prompt)} tokens (${percent} %)`;
}
