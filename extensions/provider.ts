/**
 * The provider `kimi-coder` as pi registers it: models at once, login, renewal and requests when they are needed. In two
 * forms: pi 0.87 and later take a whole provider, which says itself whether there is a login or a key; what is older
 * takes settings of one, and counts it as configured for everybody.
 */
import {
  type Api,
  type AssistantMessageEventStream,
  type Context,
  createAssistantMessageEventStream,
  type Model,
  type OAuthCredentials,
  type OAuthLoginCallbacks,
  type SimpleStreamOptions,
} from "@mariozechner/pi-ai";
import type { ExtensionAPI, ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import { failureEvent } from "./chat/answer.ts";
import type { Stream } from "./chat/stream.ts";
import {
  API_KEY_VARIABLE,
  type Configuration,
  findConfiguredKey,
  isAtLeast,
  isInModelsJson,
  ownFiles,
  PROVIDER,
  seemsLoggedIn,
} from "./configuration.ts";
import { inTurn, type Lazy, mustLoad, NOT_LOADED } from "./lib/lazy.ts";
import type { DeviceCodeCallback } from "./login/login.ts";
import { piModels, type ServerModel } from "./models/list.ts";
import type { Screen } from "./screen.ts";

/** Our own api id: pi 0.73 routes by it, and under `openai-completions` we would capture every provider. */
const API = "kimi-coder";
const NAME = "Kimi Coder";
/** The first pi that takes a whole provider and asks it what it can be asked with. */
const WHOLE_SINCE = [0, 87];
/** How many access tokens of pi's entry are remembered; two would do, a compaction may hold an old one. */
const REMEMBERED = 16;

declare module "@mariozechner/pi-coding-agent" {
  interface ExtensionAPI {
    /** Of pi 0.87 and later. */
    registerProvider(provider: WholeProvider): void;
  }
}

/** pi's `Provider` and what belongs to it, as far as it is ours. */
interface WholeProvider {
  readonly id: string;
  readonly name: string;
  readonly baseUrl: string;
  readonly auth: { readonly apiKey: KeyAuth; readonly oauth: OAuth };
  getModels(): readonly WholeModel[];
  readonly stream: Streaming;
  readonly streamSimple: Streaming;
}

interface WholeModel extends ProviderModelConfig {
  readonly api: Api;
  readonly provider: string;
  readonly baseUrl: string;
}

type Streaming = (
  model: Model<Api>,
  context: Context,
  options?: SimpleStreamOptions,
) => AssistantMessageEventStream;

interface KeyAuth {
  readonly name: string;
  login(interaction: Interaction): Promise<KeyCredential>;
  /** Undefined = not configured. pi asks where auth.json holds no login for us, several times as it starts. */
  check(given: { readonly credential?: KeyCredential }): Promise<AuthCheck | undefined>;
  resolve(given: { readonly credential?: KeyCredential }): Promise<{ readonly auth: ModelAuth }>;
}

interface OAuth {
  readonly name: string;
  readonly loginLabel: string;
  readonly isSubscription: boolean;
  login(interaction: Interaction): Promise<OAuthCredential>;
  refresh(credential: OAuthCredential): Promise<OAuthCredential>;
  toAuth(credential: OAuthCredential): Promise<ModelAuth>;
}

type AuthCheck = { readonly type: "api_key" | "oauth"; readonly source: string };
type ModelAuth = { readonly apiKey?: string; readonly headers?: Readonly<Record<string, string>> };
type KeyCredential = { readonly type: "api_key"; readonly key?: string };
type OAuthCredential = OAuthCredentials & { readonly type: "oauth" };

/** pi's login dialog. */
interface Interaction {
  readonly signal: AbortSignal;
  notify(event: { readonly type: "auth_url" | "device_code" | "progress"; readonly message?: string }): void;
  /** Rejects after Esc. */
  prompt(question: {
    readonly type: "text" | "secret" | "select";
    readonly message: string;
  }): Promise<string>;
}

export interface ProviderParts {
  readonly configuration: Configuration;
  readonly piVersion: string;
  readonly screen: Screen;
  /** Whether pi was started so that it chooses no model. */
  readonly choosesNone: boolean;
  /** The sentence that refuses a login: a variable is wrong, or no person is there to log in. */
  readonly loginRefusal: string | undefined;
}

/** What answers for the provider, loaded when it is used. */
export interface KimiRuntime {
  readonly stream: Stream;
  /** Throws an Error whose message is one sentence for the user. */
  readonly logIn: (callbacks: OAuthLoginCallbacks) => Promise<OAuthCredentials>;
  /** The credentials to use instead of pi's, which have ended; never on the network. */
  readonly refreshed: (credentials: OAuthCredentials) => Promise<OAuthCredentials>;
}

export class KimiProvider {
  private readonly pi: ExtensionAPI;
  private readonly parts: ProviderParts;
  /** The access tokens that pi took last from its own copy of the login, newest first. */
  private fromEntry: readonly string[] = [];
  private runtime: Lazy<KimiRuntime> | undefined;
  /** Whether somebody has just logged in, and pi has not yet written it down. */
  private isLoggedIn = false;

  constructor(pi: ExtensionAPI, parts: ProviderParts) {
    this.pi = pi;
    this.parts = parts;
  }

  /** Offers the provider with these models, and answers by `runtime`. */
  register(runtime: Lazy<KimiRuntime>, models: readonly ServerModel[]): void {
    this.runtime = runtime;
    if (isAtLeast(this.parts.piVersion, WHOLE_SINCE) && !this.parts.choosesNone) this.announce();
    this.offer(models);
  }

  /**
   * Counts as configured from pi's start where there seems to be a key or a login, so that pi may choose a model of ours.
   * pi asks `check` twice then, and where the second answer is late it goes on without the first: on 1.6.0's executable
   * one start in ten had no model, or another provider's. The registration that follows replaces this one; only that we
   * are configured stays, until the answer comes. It costs pi another look at all its providers (10 ms), hence not where
   * it chooses none. Models of ours in models.json, though, pi takes for a fault before it knows ours.
   */
  private announce(): void {
    const { configuration } = this.parts;
    const { agentDir, refusal } = configuration;
    const hasKey = findConfiguredKey(process.env, agentDir) !== undefined;
    const isConfigured = hasKey || (refusal === undefined && seemsLoggedIn(configuration));
    if (isConfigured && !isInModelsJson(agentDir))
      this.pi.registerProvider(PROVIDER, { name: NAME, apiKey: "unused" });
  }

  /** Offers the provider again with these models, also in mid-session. */
  offer(models: readonly ServerModel[]): void {
    if (!this.runtime) return;
    try {
      if (isAtLeast(this.parts.piVersion, WHOLE_SINCE)) this.registerWhole(this.runtime, models);
      else this.registerSettings(this.runtime, models);
    } catch {
      // The session was replaced meanwhile; its successor has read the new list from the file.
    }
    this.parts.screen.reloadEntry(); // pi reads auth.json with each offer; so the session's end knows of it
  }

  /** Whether pi took this key from its own copy of the login; any other was given by hand. */
  isFromEntry(key: string): boolean {
    return this.fromEntry.includes(key);
  }

  private registerSettings(runtime: Lazy<KimiRuntime>, models: readonly ServerModel[]): void {
    this.pi.registerProvider(PROVIDER, {
      name: NAME,
      baseUrl: this.parts.configuration.regions[0].baseUrl,
      api: API,
      apiKey: API_KEY_VARIABLE,
      models: piModels(models, this.parts.piVersion),
      streamSimple: streaming(runtime),
      oauth: {
        name: "Kimi Coder (Kimi coding plan)",
        login: (callbacks) => this.logIn(runtime, callbacks),
        refreshToken: (credentials) => this.refreshed(runtime, credentials),
        getApiKey: ({ access }) => this.noteFromEntry(access),
      },
    });
  }

  private registerWhole(runtime: Lazy<KimiRuntime>, models: readonly ServerModel[]): void {
    const { configuration, piVersion } = this.parts;
    const [{ baseUrl }] = configuration.regions;
    const offered = piModels(models, piVersion).map((model) => ({
      ...model,
      api: API,
      provider: PROVIDER,
      baseUrl,
    }));
    const stream = streaming(runtime);
    this.pi.registerProvider({
      id: PROVIDER,
      name: NAME,
      baseUrl,
      auth: {
        apiKey: {
          name: "Kimi API key",
          login: async ({ prompt }) => ({
            type: "api_key",
            key: await prompt({ type: "secret", message: "Enter the API key" }),
          }),
          check: ({ credential }) => this.check(credential),
          // A request finds its token itself; pi's compaction wants a key or headers, be they empty.
          resolve: async ({ credential }) => ({
            auth: credential?.key ? { apiKey: credential.key } : { headers: {} },
          }),
        },
        oauth: {
          name: "Kimi coding plan",
          loginLabel: "Sign in with Kimi",
          isSubscription: true,
          login: async (interaction) => {
            const credentials = await this.logIn(runtime, callbacksOf(interaction));
            await this.selectFirst();
            return { ...credentials, type: "oauth" };
          },
          refresh: async (credential) => ({ ...(await this.refreshed(runtime, credential)), type: "oauth" }),
          toAuth: async ({ access }) => ({ apiKey: this.noteFromEntry(access) }),
        },
      },
      getModels: () => offered,
      stream,
      streamSimple: stream,
    });
  }

  private async logIn(runtime: Lazy<KimiRuntime>, callbacks: OAuthLoginCallbacks): Promise<OAuthCredentials> {
    const { loginRefusal } = this.parts;
    if (loginRefusal) throw new Error(loginRefusal);
    return (await mustLoad(runtime.load())).logIn(callbacks);
  }

  private async refreshed(
    runtime: Lazy<KimiRuntime>,
    credentials: OAuthCredentials,
  ): Promise<OAuthCredentials> {
    return this.parts.configuration.refusal
      ? credentials
      : (await mustLoad(runtime.load())).refreshed(credentials);
  }

  private noteFromEntry(access: string): string {
    const others = this.fromEntry.filter((one) => one !== access);
    this.fromEntry = [access, ...others].slice(0, REMEMBERED);
    return access;
  }

  /** Whether there is something to ask with, as far as a look at files tells. */
  private async check(credential: KeyCredential | undefined): Promise<AuthCheck | undefined> {
    const { configuration, screen } = this.parts;
    if (credential?.key) return { type: "api_key", source: "stored credential" };
    const configured = findConfiguredKey(process.env, configuration.agentDir);
    if (configured) return { type: "api_key", source: configured.source };
    // With a model of ours pi lets the request go: our error says why there is no login. pi's own would name its manuals.
    if (this.isLoggedIn || screen.isOurs) return { type: "oauth", source: NAME };
    if (configuration.refusal !== undefined) return undefined;
    const [{ lookForLogin }, { createStores }] = await Promise.all([
      inTurn(() => import("./credentials/choose.ts")),
      inTurn(() => import("./credentials/stores.ts")),
    ]);
    const files = ownFiles(configuration.agentDir);
    const places = {
      stores: createStores(configuration).all,
      authPath: files.auth,
      memoryPath: files.memory,
    };
    const { choice } = await lookForLogin(places, Date.now);
    if (choice.state === "none") return undefined;
    const { owner } = choice.state === "use" ? choice.store : choice.problem.store;
    return { type: "oauth", source: `the login of ${owner}` };
  }

  /** After a login where no model is selected, which pi does for its own providers only. */
  private async selectFirst(): Promise<void> {
    this.isLoggedIn = true;
    await this.parts.screen.selectFirst((model) => this.pi.setModel(model));
    this.isLoggedIn = false;
  }
}

function streaming(runtime: Lazy<KimiRuntime>): Streaming {
  return (model, context, options) => {
    const out = createAssistantMessageEventStream();
    runtime.load().then(
      ({ stream }) => stream(out, model, context, options),
      () => {
        out.push(failureEvent(model, false, NOT_LOADED));
        out.end();
      },
    );
    return out;
  };
}

/** pi's dialog in the words of its older form. */
function callbacksOf({ signal, notify, prompt }: Interaction): OAuthLoginCallbacks & DeviceCodeCallback {
  return {
    signal,
    onAuth: (address) => notify({ type: "auth_url", ...address }),
    onDeviceCode: (code) => notify({ type: "device_code", ...code }),
    onProgress: (message) => notify({ type: "progress", message }),
    onPrompt: (question) => prompt({ type: "text", ...question }),
    onSelect: (question) => prompt({ type: "select", ...question }),
  };
}
