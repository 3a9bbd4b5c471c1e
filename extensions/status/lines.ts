/** What `/kimi status` and `/kimi` say, as lines. Nothing secret is passed in: no token, no key, no device id. */
import { sep } from "node:path";
import type { Sight } from "../caller.ts";
import type { SentRequest } from "../chat/adapter.ts";
import { PROVIDER } from "../configuration.ts";
import type { Versions } from "../identity.ts";
import { sayAge, sayDuration, sayPast, sayReset, sayTime } from "../lib/waiting-time.ts";
import { ownerName } from "../messages.ts";
import { type KeptFigures, sayPercent, windowsAt } from "../quota/figures.ts";
import { type SessionUse, sayCount, wholePercent } from "../quota/session-use.ts";
import type { RegionInUse } from "../region.ts";
import type { Line } from "../reply.ts";

export interface Status {
  readonly versions: Versions;
  readonly home: string;
  readonly sight: Sight;
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
  readonly session: SessionUse;
  /** ms since the epoch. */
  readonly now: number;
}

/** One of a session that has something to send. */
export interface UsableStatus extends Status {
  readonly sight: Exclude<Sight, { kind: "none" }>;
}

/** Each line begins with what it is about. */
export function statusLines(status: UsableStatus): readonly Line[] {
  const { versions, renewedAt, figures, hosts, userAgent, model, now } = status;
  const lines = [
    ...credentialLines(status),
    ...(renewedAt === undefined
      ? []
      : [`Renewed: ${sayPast(renewedAt, new Date(now))} (${sayAge(now - renewedAt)})`]),
    figures
      ? `Plan: ${figures.figures.plan ?? "not known"} (asked ${sayAge(now - figures.fetchedAt)})`
      : "Plan: not asked yet; type /kimi usage",
    `Region: ${hosts.region}`,
    `API: ${hosts.baseUrl}`,
    `Authorization server: ${hosts.oauthHost}`,
    `Identity: ${userAgent}`,
    `Model: ${model ? `${model.provider}/${model.id}` : "none selected"}`,
    ...lastLines(status.last),
  ];
  return [
    { text: `pi-kimi-coder ${versions.extension} on pi ${versions.pi}`, tone: "title" },
    ...lines.map((text): Line => ({ text, tone: "plain" })),
  ];
}

/** The account, the plan, what stops it first, the model, and what to type next. */
export function overviewLines(status: UsableStatus): readonly Line[] {
  const { versions, sight, hosts, figures, model, thinking } = status;
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
function sayQuota(kept: KeptFigures, now: number): string {
  const age = `asked ${sayAge(now - kept.fetchedAt)}`;
  const binding = windowsAt(kept, now).find(({ isBinding }) => isBinding);
  if (!binding) return `nothing is used, ${age}`;
  const { label, usedPercent, resetsAt } = binding;
  const used = `${sayPercent(usedPercent)} % of ${label} used`;
  return resetsAt === undefined
    ? `${used}, ${age}`
    : `${used}, resets ${sayReset(resetsAt, new Date(now))}, ${age}`;
}

function credentialLines({ sight, home, now }: UsableStatus): readonly string[] {
  switch (sight.kind) {
    case "key":
      return [`Key: from ${displayPath(sight.source, home)}`];
    case "login": {
      const { choice, store } = sight;
      const [owner, path] = [ownerName(store.owner), displayPath(store.path, home)];
      const where =
        choice.state === "use"
          ? `${owner}, ${path}`
          : `pi's copy of that of ${owner}, until it ends; ${path} cannot be used, /kimi doctor says why`;
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
    : `Access token: ended ${sayPast(expiresAt, new Date(now))} (${sayAge(-left)}); the next request renews it`;
}

function lastLines(last: SentRequest | undefined): readonly string[] {
  if (!last) return ["Last request: none since pi started"];
  const { model, thinking, maxTokens, usage } = last;
  const sent = thinking === undefined ? "no thinking" : `thinking ${JSON.stringify(thinking)}`;
  const cap = maxTokens === undefined ? "no max_tokens" : `max_tokens ${maxTokens}`;
  const request = `Last request: model ${model}, ${sent}, ${cap}`;
  const prompt = usage ? usage.input + usage.cacheRead + usage.cacheWrite : 0;
  if (!usage || prompt === 0) return [request];
  const share = `${sayCount(usage.cacheRead)} of ${sayCount(prompt)} tokens (${wholePercent(usage.cacheRead, prompt)} %)`;
  return [request, `  of its prompt ${share} came from Kimi's cache`];
}
