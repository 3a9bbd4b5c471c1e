/** The provider `kimi-coder` as pi registers it: models, login, refresh, key. */
import type { OAuthCredentials } from "@mariozechner/pi-ai";
import type { ProviderConfig } from "@mariozechner/pi-coding-agent";
import type { Bearer } from "./bearer.ts";
import { API_KEY_VARIABLE, type Configuration } from "./configuration.ts";
import type { Access, SharedCredential } from "./credentials/shared-credential.ts";
import type { CredentialStore, LoginStore } from "./credentials/store.ts";
import { classifyError, explainError } from "./errors.ts";
import type { LastRequest } from "./last-request.ts";
import { login } from "./login.ts";
import type { Catalogue } from "./models/catalogue.ts";
import { piModels, wireModel } from "./models/pi-models.ts";
import type { Clock } from "./oauth/clock.ts";
import type { AuthorizationServer } from "./oauth/http.ts";
import type { Token } from "./oauth/token.ts";
import { hostsOf, type Region, USUAL_REGION } from "./region.ts";
import { chooseRegion, type RegionQuestion } from "./region-choice.ts";
import { shapeRequest } from "./request/shape.ts";
import { sayUnavailable } from "./sentences.ts";
import { API, createStream } from "./stream.ts";

export interface ProviderParts {
  readonly configuration: Configuration;
  readonly credential: SharedCredential;
  /** Where a login of this region is saved. */
  readonly loginStore: (region: Region) => LoginStore;
  /** That of the region. */
  readonly server: (region: Region) => AuthorizationServer;
  readonly question: RegionQuestion;
  readonly clock: Clock;
  /** The key from the environment or pi's settings, read when asked. */
  readonly configuredKey: () => string | undefined;
  /** `keep`: files may be written for it (the device id). */
  readonly identity: (keep: boolean) => Promise<Record<string, string>>;
  readonly catalogue: Catalogue;
  readonly lastRequest: LastRequest;
  /** Says on stderr, where there is no screen, what pi itself swallows: an overflow with nothing left to compact. */
  readonly warnUnwatched: (text: string) => void;
  /** The id of the session that is open. */
  readonly openSession: () => string | undefined;
  /** Offers the provider to pi again, its models having changed. */
  readonly register: (provider: ProviderConfig) => void;
}

/** How many of pi's own copies of access tokens are remembered as ours; two would do, a compaction may hold an old one. */
const REMEMBERED = 16;

export function kimiCoder(parts: ProviderParts): ProviderConfig {
  const { configuration, credential, loginStore, server, clock, configuredKey, catalogue } = parts;
  const { regions } = configuration;
  /** Access tokens pi took from its own entry; any other key it passes was given by hand. */
  const fromEntry = new Set<string>();

  function noteFromEntry(accessToken: string): string {
    fromEntry.delete(accessToken);
    fromEntry.add(accessToken);
    for (const oldest of fromEntry) {
      if (fromEntry.size <= REMEMBERED) break;
      fromEntry.delete(oldest);
    }
    return accessToken;
  }

  async function bearer(key: string | undefined): Promise<Bearer> {
    if (configuration.refusal) return { state: "none", message: configuration.refusal };
    const known = key !== undefined && fromEntry.has(key);
    // pi passes the variable's name where it has nothing (0.73 looks the name up itself, its successor does not).
    const { region } = regions[0];
    if (key && !known && key !== API_KEY_VARIABLE) return { state: "key", key, region };
    const configured = configuredKey();
    return configured ? { state: "key", key: configured, region } : toBearer(await credential.current(known));
  }

  const provider: ProviderConfig = {
    name: "Kimi Coder",
    baseUrl: configuration.baseUrl,
    api: API,
    apiKey: API_KEY_VARIABLE,
    models: piModels(catalogue.registered()),
    streamSimple: createStream({
      bearer,
      renewed: async (accessToken) => toBearer(await credential.afterRejection(accessToken)),
      sleep: clock.sleep,
      note: parts.lastRequest.note,
      openSession: parts.openSession,
      explain: (text, seen) => {
        const sentence = explainError(text, new Date(clock.now()), seen);
        if (classifyError(text, seen) === "overflow") parts.warnUnwatched(sentence);
        return sentence;
      },
      identity: ({ state }) => parts.identity(state === "token"),
      // A URL from pi's models.json is somebody's own choice.
      baseUrl: ({ region = regions[0].region }, model) =>
        model.baseUrl === configuration.baseUrl ? hostsOf(regions, region).baseUrl : model.baseUrl,
      shape: (payload, model, options) =>
        shapeRequest(payload, {
          model: {
            ...wireModel(catalogue.registered(), model.id),
            contextWindow: model.contextWindow,
            maxTokens: model.maxTokens,
          },
          thinkingLevel: options?.reasoning,
          sessionId: options?.sessionId,
          maxTokens: options?.maxTokens,
        }),
    }),
    oauth: {
      name: "Kimi Coder (Kimi coding plan)",
      login: async (callbacks) => {
        if (configuration.refusal) throw new Error(configuration.refusal);
        const region = await chooseRegion(parts.question, callbacks);
        const store = loginStore(region);
        const save = (token: Token) => credential.saveLogin(token, store);
        const token = await login({ server: server(region), clock, save, savePath: store.path }, callbacks);
        void catalogue.afterLogin(token.accessToken, store, () =>
          parts.register({ ...provider, models: piModels(catalogue.registered()) }),
        );
        return toCredentials(token, store);
      },
      // pi calls this while it holds auth.json's lock, so nothing here may wait for that lock.
      refreshToken: async (credentials) => {
        if (configuration.refusal || configuredKey()) return credentials;
        const access = await credential.current(true);
        if (access.state === "ready") return toCredentials(access.token, access.store, credentials);
        throw new Error(sayUnavailable(access.reason));
      },
      getApiKey: (credentials) => noteFromEntry(credentials.access),
    },
  };
  return provider;
}

function toBearer(access: Access): Bearer {
  return access.state === "ready"
    ? { state: "token", accessToken: access.token.accessToken, region: access.store.region }
    : { state: "none", message: sayUnavailable(access.reason) };
}

/** The entry of auth.json for a token; fields of `before` that we do not know are kept. */
function toCredentials(token: Token, store: CredentialStore, before?: OAuthCredentials): OAuthCredentials {
  return {
    ...before,
    access: token.accessToken,
    refresh: token.refreshToken,
    expires: token.expiresAt,
    owner: store.owner,
    source: store.path,
    // pi writes no member that is undefined.
    region: store.region === USUAL_REGION ? undefined : store.region,
  };
}
