/**
 * What is needed once Kimi is really used: the login, the caller, requests, the list of models. Built once in an
 * instance of this extension, beside pi's own start; see index.ts.
 */
import { join } from "node:path";
import type { OAuthCredentials, OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import { Caller } from "./caller.ts";
import { createLastRequest } from "./chat/adapter.ts";
import { createJudge, createStream } from "./chat/stream.ts";
import {
  CLIENT_ID,
  type Configuration,
  findConfiguredKey,
  keptLimit,
  ownFiles,
  requestsFolder,
} from "./configuration.ts";
import { inFlight } from "./credentials/in-flight.ts";
import { createLogin } from "./credentials/login.ts";
import type { CredentialStore } from "./credentials/store.ts";
import { createStores } from "./credentials/stores.ts";
import { createIdentity, type Versions } from "./identity.ts";
import { systemClock as clock } from "./lib/clock.ts";
import { inTurn, lazy } from "./lib/lazy.ts";
import type { Verification } from "./login/lines.ts";
import type { AnswerCallback } from "./login/question.ts";
import { createCatalogue, fetchModels } from "./models/catalogue.ts";
import type { ServerModel } from "./models/list.ts";
import type { Token } from "./oauth/token.ts";
import type { KimiProvider } from "./provider.ts";
import { createQueue } from "./queue/queue.ts";
import { hostsOf, type Region, USUAL_REGION } from "./region.ts";
import type { Screen } from "./screen.ts";

export interface RuntimeParts {
  readonly configuration: Configuration;
  readonly versions: Versions;
  readonly screen: Screen;
  readonly provider: Pick<KimiProvider, "isFromEntry" | "offer">;
  /** The list of models that pi was given at its start. */
  readonly registered: readonly ServerModel[];
  /** Whether pi was started with `--api-key`. */
  readonly keyArgument: boolean;
}

/** A token call may take this long before its answer counts as lost, ms awake; kimi-cli's figure. */
const TOKEN_TIMEOUT = 120_000;

export type Runtime = ReturnType<typeof createRuntime>;

/** Builds it of the real clock and fetch. Reads, asks and writes nothing by itself. */
export function createRuntime(parts: RuntimeParts) {
  const { configuration, versions, screen, provider } = parts;
  const { kimiShare, agentDir, regions } = configuration;
  const { env } = process;
  const files = ownFiles(agentDir);
  const identity = createIdentity(kimiShare, versions, configuration.identity);
  const server = (region: Region) => ({
    host: hostsOf(regions, region).oauthHost,
    clientId: CLIENT_ID,
    fetch,
    identity: () => identity(true),
  });

  const tokenEndpoint = lazy(() => inTurn(() => import("./oauth/token-endpoint.ts")));
  const stores = createStores(configuration);
  const login = createLogin({
    stores: stores.all,
    authPath: files.auth,
    memoryPath: files.memory,
    tokenEndpoint: {
      load: tokenEndpoint.load,
      async refresh(refreshToken, { region }, signal) {
        const { refresh } = await tokenEndpoint.load();
        return refresh(server(region), refreshToken, clock.now, TOKEN_TIMEOUT, signal);
      },
    },
    clock,
    inFlight: inFlight(),
    listener(event) {
      if (event.kind === "mirrored") screen.reloadEntry();
      else {
        void inTurn(() => import("./messages.ts"))
          .then(({ sayUnsaved }) => screen.say(sayUnsaved(event, files.auth), "warning"))
          .catch(() => {}); // where it cannot be loaded, the next request says so
      }
    },
  });
  const { keyArgument, registered } = parts;
  const caller = new Caller({ configuration, env, keyArgument, login, provider, screen });
  const catalogue = createCatalogue({
    path: files.models,
    registered,
    provider,
    ask: fetchModels,
    now: clock.now,
  });

  const usage = lazy(async () => {
    const { createUsage } = await inTurn(() => import("./quota/usage.ts"));
    return createUsage({ path: files.usage, caller, clock });
  });

  const queue = createQueue({
    path: requestsFolder(configuration.home),
    limit: (account) => configuration.parallel ?? keptLimit(files.usage, account),
    clock,
    every: (ms, tick) => {
      const timer = setInterval(tick, ms).unref();
      return () => clearInterval(timer);
    },
    random: Math.random,
    waiting(waiting) {
      // Loaded in turn, so that it is shown in the order in which it is told.
      inTurn(() => import("./messages.ts"))
        .then(({ sayWaiting }) => screen.showWaiting(waiting && sayWaiting(waiting, clock.now())))
        .catch(() => {});
    },
  });

  const judge = createJudge(clock.now, async (account) => {
    const { readKeptFigures } = await inTurn(() => import("./quota/kept.ts"));
    return readKeptFigures(files.usage, account)?.figures.windows ?? [];
  });
  const lastRequest = createLastRequest();
  const stream = createStream({ caller, queue, screen, judge, catalogue, identity, lastRequest });

  /** Shows beside pi's own dialog what that leaves out; returns what takes it away. The dialog does without. */
  function besideDialog(verification: Verification): () => void {
    let putAway: (() => void) | undefined;
    let over = false;
    Promise.all([
      inTurn(() => import("./login/screen.ts")),
      inTurn(() => import("./login/half-blocks.ts")).then(({ loadDrawQr }) => loadDrawQr()),
    ])
      .then(([{ showBeside }, drawQr]) => {
        if (!over) putAway = screen.ask((context) => showBeside(context, verification, drawQr));
      })
      .catch(() => {});
    return () => {
      over = true;
      screen.ask(() => putAway?.());
    };
  }

  /** With what to log in: a login that is there, or a new one. */
  const question = async () => {
    const { askedForLogin } = await inTurn(() => import("./login/question.ts"));
    const markerPath = join(configuration.kimiCodeHome, "region");
    return askedForLogin({ configuration, stores, markerPath, now: clock.now });
  };

  return {
    caller,
    login,
    stores,
    catalogue,
    usage,
    identity,
    lastRequest,
    judge,
    clock,
    stream,
    question,
    /** Logs in with what pi's dialog, or ours, answers. Throws an Error whose message is one sentence for the user. */
    async logIn(callbacks: OAuthLoginCallbacks & AnswerCallback): Promise<OAuthCredentials> {
      const [{ logInAnew }, { answerOf }] = await Promise.all([
        inTurn(() => import("./login/login.ts")),
        inTurn(() => import("./login/question.ts")),
      ]);
      const { store, token: found } = await answerOf(question, callbacks);
      const parts = { server: server(store.region), clock, store, beside: besideDialog };
      const token = found ?? (await logInAnew(parts, callbacks));
      void catalogue.afterLogin(token.accessToken, caller.accountOf(store));
      return toCredentials(token, store);
    },
    /** Takes the login from pi, and from pi alone; a sentence for the user where that failed. */
    async logOut(): Promise<string | undefined> {
      const { removeEntry } = await inTurn(() => import("./credentials/mirror.ts"));
      const outcome = await removeEntry({ authPath: files.auth, memoryPath: files.memory });
      screen.reloadEntry();
      if (outcome.state !== "failed") return undefined;
      const { sayUnsaved } = await inTurn(() => import("./messages.ts"));
      return sayUnsaved({ kind: "unmirrored", code: outcome.code, path: outcome.path }, files.auth);
    },
    /**
     * The credentials to use instead of pi's, which have ended. pi calls this while it holds auth.json's lock, so nothing
     * here waits for the network, or for that lock: a request takes its token from the login, not from pi, and is told
     * there why there is none.
     */
    async refreshed(credentials: OAuthCredentials): Promise<OAuthCredentials> {
      if (findConfiguredKey(env, agentDir)) return credentials;
      const { choice } = await login.look();
      return choice.state === "use" ? toCredentials(choice.token, choice.store, credentials) : credentials;
    },
  };
}

/** The entry of auth.json for a token; fields of `before` that we do not know are kept. */
function toCredentials(token: Token, store: CredentialStore, before?: OAuthCredentials): OAuthCredentials {
  return {
    ...before,
    access: token.accessToken,
    refresh: token.refreshToken,
    expires: token.expiresAt,
    // pi writes no member that is undefined.
    owner: store.owner === "pi" ? undefined : store.owner,
    source: store.owner === "pi" ? undefined : store.path,
    region: store.region === USUAL_REGION ? undefined : store.region,
  };
}
