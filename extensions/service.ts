/**
 * What is needed once Kimi is really used: the login, requests, the list of models. Loaded by then, beside pi's own
 * start; see index.ts.
 */
import type { OAuthCredentials } from "@mariozechner/pi-ai";
import { systemTimer } from "./background-refresh.ts";
import { loadAdapter } from "./chat/adapter.ts";
import type { Bearer } from "./chat/bearer.ts";
import { createJudge } from "./chat/judge.ts";
import { createLastRequest } from "./chat/last-request.ts";
import { createStream } from "./chat/stream.ts";
import type { Waiting } from "./concurrency/guard.ts";
import { createRequests } from "./concurrency/requests.ts";
import {
  API_KEY_VARIABLE,
  CLIENT_ID,
  type Configuration,
  findConfiguredKey,
  ownFiles,
  requestsFolder,
} from "./configuration.ts";
import type { Unavailable } from "./credentials/access.ts";
import { piAuth } from "./credentials/pi-auth.ts";
import { type Access, createSharedCredential } from "./credentials/shared-credential.ts";
import type { CredentialStore } from "./credentials/store.ts";
import { createIdentity, type Versions } from "./identity.ts";
import { lazy } from "./lazy.ts";
import type { Verification } from "./login.ts";
import { createCatalogue } from "./models/catalogue.ts";
import { wireModel } from "./models/pi-models.ts";
import type { ServerModel } from "./models/server-list.ts";
import { systemClock as clock } from "./oauth/clock.ts";
import type { Token } from "./oauth/token.ts";
import { refresh } from "./oauth/token-endpoint.ts";
import type { ProviderService } from "./provider.ts";
import { hostsOf, type Region, USUAL_REGION } from "./region.ts";
import { shapeRequest } from "./request/shape.ts";
import { sayUnavailable, sayUnsaved } from "./sentences.ts";
import type { Why } from "./status-file/failure.ts";
import { createStores } from "./stores.ts";

export interface ServiceParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  /** pi's auth.json. */
  readonly authPath: string;
  /** The list of models that pi was given at its start, and where the next start looks for it. */
  readonly registered: readonly ServerModel[];
  readonly modelsPath: string;
  /** Whether pi took a key from its own copy of the login; any other was given by hand. */
  readonly isFromEntry: (key: string) => boolean;
  /** pi's own copy of the login has changed. */
  readonly mirrored: () => void;
  readonly warn: (text: string) => void;
  /** Says on stderr, where there is no screen, what pi itself swallows: an overflow with nothing left to compact. */
  readonly warnUnwatched: (text: string) => void;
  /** Hears why a request fails, with the sentence pi is about to show. */
  readonly noteFailure: (sentence: string, why: Why) => void;
  /** Shows what a request waits for; undefined = none waits any more. */
  readonly waiting: (what: Waiting | undefined) => void;
  /** The id of the session that is open. */
  readonly openSession: () => string | undefined;
  /** Shows beside pi's own dialog what that leaves out; returns what takes it away. */
  readonly besideLogin: (verification: Verification) => () => void;
  /** Offers the provider to pi again, with these models. */
  readonly offerModels: (models: readonly ServerModel[]) => void;
}

/** A token call may take this long before its answer counts as lost, ms. */
const TOKEN_TIMEOUT = 15_000;
/** Nobody waits for the list of models, ms. */
const MODELS_TIMEOUT = 20_000;

export type Service = ReturnType<typeof createService>;

/** Builds it of the real clock and fetch. Reads, asks and writes nothing by itself. */
export function createService(parts: ServiceParts) {
  const { configuration, versions } = parts;
  const { kimiShare, agentDir, regions } = configuration;
  const { now } = clock;
  const [{ region: firstRegion }] = regions;
  const identity = createIdentity(kimiShare, versions, configuration.identity);
  const server = (region: Region) => ({
    host: hostsOf(regions, region).oauthHost,
    clientId: CLIENT_ID,
    fetch,
    identity: () => identity(true),
  });
  const configuredKey = () => findConfiguredKey(process.env, agentDir);

  const files = ownFiles(agentDir);
  const stores = createStores(configuration);
  const credential = createSharedCredential({
    stores: stores.all,
    loginStore: stores.forLogin(firstRegion),
    piAuth: piAuth({ path: parts.authPath }),
    memoryPath: files.memory,
    rotationsPath: files.renewals,
    refresh: (refreshToken, { region }) => refresh(server(region), refreshToken, now, TOKEN_TIMEOUT),
    clock,
    listener: (event) =>
      event.kind === "mirrored" ? parts.mirrored() : parts.warn(sayUnsaved(event, parts.authPath)),
  });

  const catalogue = createCatalogue({
    path: parts.modelsPath,
    baseUrl: ({ region }) => hostsOf(regions, region ?? USUAL_REGION).baseUrl,
    registered: parts.registered,
    async ask(baseUrl, accessToken, signal) {
      const { fetchModels } = await import("./models/fetch.ts");
      return fetchModels({ baseUrl, fetch, timeout: MODELS_TIMEOUT }, accessToken, signal);
    },
    clock,
  });

  const usage = lazy(async () => {
    const { loadUsage } = await import("./usage/load.ts");
    return loadUsage(configuration, { path: files.usage, credential, configuredKey, clock });
  });

  function sayWhy(reason: Unavailable): string {
    const sentence = sayUnavailable(reason);
    parts.noteFailure(sentence, reason);
    return sentence;
  }

  const toBearer = (access: Access): Bearer =>
    access.state === "ready"
      ? {
          state: "token",
          accessToken: access.token.accessToken,
          region: access.store.region,
          source: access.store,
        }
      : { state: "none", message: sayWhy(access.reason) };

  async function bearer(key: string | undefined): Promise<Bearer> {
    if (configuration.refusal) {
      parts.noteFailure(configuration.refusal, "configuration");
      return { state: "none", message: configuration.refusal };
    }
    const fromEntry = key !== undefined && parts.isFromEntry(key);
    // pi passes the variable's name where it has nothing (0.73 looks the name up itself, its successor does not).
    if (key && !fromEntry && key !== API_KEY_VARIABLE) return { state: "key", key, region: firstRegion };
    const configured = configuredKey();
    return configured
      ? { state: "key", key: configured.key, region: firstRegion }
      : toBearer(await credential.current(fromEntry));
  }

  const place = createRequests({
    path: requestsFolder(configuration.home),
    figuresPath: files.usage,
    regions,
    limit: configuration.parallel,
    clock,
    timer: systemTimer,
    random: Math.random,
    waiting: parts.waiting,
  });

  const lastRequest = createLastRequest();
  const stream = createStream({
    bearer,
    renewed: async (accessToken) => toBearer(await credential.afterRejection(accessToken)),
    place,
    note: lastRequest.note,
    openSession: parts.openSession,
    ...createJudge(now),
    failed: ({ kind, sentence }) => {
      parts.noteFailure(sentence, kind);
      if (kind === "overflow") parts.warnUnwatched(sentence);
    },
    identity: ({ state }) => identity(state === "token"),
    // A URL from pi's models.json is somebody's own choice.
    baseUrl: ({ region = firstRegion }, model) =>
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
  });

  const logins = lazy(async () => {
    const { createLogins } = await import("./logins.ts");
    const { besideLogin: beside, offerModels } = parts;
    return createLogins({
      configuration,
      stores,
      credential,
      catalogue,
      server,
      clock,
      beside,
      offerModels,
      toCredentials,
    });
  });

  const forProvider: ProviderService = {
    stream,
    login: async (callbacks) => (await logins.load()).login(callbacks),
    // pi calls this while it holds auth.json's lock, so nothing here may wait for that lock.
    async refreshed(credentials) {
      if (configuredKey()) return credentials;
      const access = await credential.current(true);
      if (access.state === "ready") return toCredentials(access.token, access.store, credentials);
      throw new Error(sayWhy(access.reason));
    },
  };
  return {
    ...forProvider,
    credential,
    catalogue,
    loadAdapter,
    usage,
    identity,
    configuredKey,
    stores,
    logins,
    lastRequest,
    clock,
  };
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
