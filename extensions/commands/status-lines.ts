/** What `/kimi status` says, as lines. Nothing secret is passed in: no token, no key, no device id. */

import type { SentRequest } from "../chat/last-request.ts";
import type { Choice } from "../credentials/selection.ts";
import { sayTime } from "../errors/waiting-time.ts";
import type { Versions } from "../identity.ts";
import type { Hosts } from "../region.ts";
import { ownerName, sayProblem, sayUnavailable } from "../sentences.ts";

/** What a request would be sent with. */
export type Credential =
  /** `source` says where the key comes from. */
  { readonly kind: "key"; readonly source: string } | { readonly kind: "login"; readonly choice: Choice };

export interface Status {
  readonly versions: Versions;
  readonly credential: Credential;
  readonly hosts: Hosts;
  readonly userAgent: string;
  readonly last: SentRequest | undefined;
  readonly now: Date;
}

/** One line where there is no login at all; else each line begins with what it is about. */
export function statusLines(status: Status): readonly string[] {
  const { versions, credential, hosts, userAgent, last, now } = status;
  if (credential.kind === "login" && credential.choice.state === "none") {
    const { reason } = credential.choice;
    if (reason.kind === "no-login" || reason.kind === "logged-out") return [sayUnavailable(reason)];
  }
  return [
    `pi-kimi-coder ${versions.extension} on pi ${versions.pi}`,
    ...credentialLines(credential, now),
    `API: ${hosts.baseUrl}`,
    `Authorization server: ${hosts.oauthHost}`,
    `Identity: ${userAgent}`,
    ...requestLines(last),
  ];
}

function credentialLines(credential: Credential, now: Date): readonly string[] {
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
  const time = sayTime(expiresAt, now);
  return left > 0
    ? `Access token: until ${time} (in ${sayDuration(left)})`
    : `Access token: ended ${time} (${sayDuration(-left)} ago); the next request renews it`;
}

const MINUTE = 60_000;

function sayDuration(ms: number): string {
  const minutes = Math.floor(ms / MINUTE);
  if (minutes < 1) return "less than a minute";
  const hours = Math.floor(minutes / 60);
  if (hours < 1) return `${minutes} min`;
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function requestLines(last: SentRequest | undefined): readonly string[] {
  if (!last) return ["Last request: none in this session yet"];
  const { model, thinking, maxTokens, usage } = last;
  const sent = thinking === undefined ? "no thinking" : `thinking ${JSON.stringify(thinking)}`;
  const cap = maxTokens === undefined ? "no max_tokens" : `max_tokens ${maxTokens}`;
  const request = `Last request: model ${model}, ${sent}, ${cap}`;
  const prompt = usage ? usage.input + usage.cacheRead + usage.cacheWrite : 0;
  if (!usage || prompt === 0) return [request];
  const share = Math.floor((usage.cacheRead / prompt) * 100);
  return [
    request,
    `Prompt cache: ${number(usage.cacheRead)} of ${number(prompt)} tokens came from it (${share} %)`,
  ];
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
