/** What `/kimi status --json` says: one object whose members are documented in README.md and only ever added to. */
import type { Token } from "../oauth/token.ts";
import type { RequestCredential } from "../request-credential.ts";
import { hitPercent } from "./session-cache.ts";
import type { Status } from "./status-lines.ts";

/** Times are ISO 8601 in UTC; what is not known is null. `refusal`: the sentence for why nothing is sent anywhere. */
export function statusJson(status: Status, refusal?: string) {
  const { versions, credential, renewal, plan, region, hosts, userAgent, model, last, cache } = status;
  return {
    version: 1,
    extension: versions.extension,
    pi: versions.pi,
    ...(refusal === undefined ? credentialJson(credential) : { ...NOTHING, reason: "configuration" }),
    problem: refusal ?? null,
    renewal: renewal
      ? {
          by: renewal.by === "other" ? "other" : renewal.own ? "this-pi" : "pi",
          at: time(renewal.at),
          pid: renewal.by === "pi" ? renewal.pid : null,
          login: renewal.by === "pi" && renewal.how === "logged-in",
        }
      : null,
    plan: plan ? { name: plan.name, askedAt: time(plan.askedAt) } : null,
    region: refusal === undefined ? region : null,
    api: refusal === undefined ? hosts.baseUrl : null,
    authorizationServer: refusal === undefined ? hosts.oauthHost : null,
    identity: refusal === undefined ? userAgent : null,
    model: model ?? null,
    lastRequest: last
      ? { model: last.model, thinking: last.thinking ?? null, maxTokens: last.maxTokens ?? null }
      : null,
    cache: {
      answers: cache.answers,
      promptTokens: cache.prompt,
      cachedTokens: cache.cached,
      percent: hitPercent(cache) ?? null,
    },
  };
}

const NOTHING = { state: "none", login: null, key: null, reason: null };

/** `state`: whether a request could be sent, and with what. */
function credentialJson(credential: RequestCredential) {
  if (credential.kind === "key") return { ...NOTHING, state: "key", key: { source: credential.source } };
  const { choice } = credential;
  switch (choice.state) {
    case "none":
      return { ...NOTHING, reason: choice.reason.kind };
    case "mirror":
      return { ...NOTHING, state: "copy", login: login(choice.problem.store, choice.token) };
    case "use":
      return { ...NOTHING, state: "login", login: login(choice.store, choice.token) };
  }
}

function login({ owner, path }: { readonly owner: string; readonly path: string }, token: Token) {
  return { owner, path, accessTokenEnds: time(token.expiresAt) };
}

/** `at` in ms since the epoch, from a file: null where it is no time. */
function time(at: number): string | null {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
