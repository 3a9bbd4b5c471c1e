/** What `/kimi status --json` says: one object whose members are documented in docs/json.md and only ever added to. */
import type { Sight } from "../caller.ts";
import type { Status } from "./lines.ts";

/** Times are ISO 8601 in UTC; what is not known is null. */
export function statusJson(status: Status) {
  const { versions, sight, renewedAt, figures, hosts, userAgent, model, last, session } = status;
  const plan = figures?.figures.plan;
  const isRefused = sight.kind === "none" && sight.reason === "configuration";
  return {
    version: 1,
    extension: versions.extension,
    pi: versions.pi,
    ...sightJson(sight),
    problem: isRefused ? sight.message : null,
    // Who wrote the file is not recorded any more.
    renewal: renewedAt === undefined ? null : { at: time(renewedAt), by: null, pid: null, login: null },
    plan: figures && plan !== undefined ? { name: plan, askedAt: time(figures.fetchedAt) } : null,
    region: isRefused ? null : hosts.region,
    api: isRefused ? null : hosts.baseUrl,
    authorizationServer: isRefused ? null : hosts.oauthHost,
    identity: isRefused ? null : userAgent,
    model: model ? `${model.provider}/${model.id}` : null,
    lastRequest: last
      ? { model: last.model, thinking: last.thinking ?? null, maxTokens: last.maxTokens ?? null }
      : null,
    cache: {
      answers: session.requests,
      promptTokens: session.promptTokens,
      cachedTokens: session.cachedTokens,
      percent: session.cachedPercent,
    },
  };
}

const NOTHING = { state: "none", login: null, key: null, reason: null };

/** `state`: whether a request could be sent, and with what. */
function sightJson(sight: Sight) {
  switch (sight.kind) {
    case "key":
      return { ...NOTHING, state: "key", key: { source: sight.source } };
    case "none":
      return { ...NOTHING, reason: sight.reason === "configuration" ? sight.reason : sight.reason.kind };
    case "login": {
      const { choice, store } = sight;
      const state = choice.state === "use" ? "login" : "copy";
      const accessTokenEnds = time(choice.token.expiresAt);
      return { ...NOTHING, state, login: { owner: store.owner, path: store.path, accessTokenEnds } };
    }
  }
}

/** `at` in ms since the epoch. */
function time(at: number): string {
  return new Date(at).toISOString();
}
