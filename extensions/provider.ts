/** The provider `kimi-coder` as pi registers it: models at once, login, renewal and requests when they are needed. */
import {
  type AssistantMessageEventStream,
  createAssistantMessageEventStream,
  type OAuthCredentials,
  type OAuthLoginCallbacks,
} from "@mariozechner/pi-ai";
import type { ProviderConfig, ProviderModelConfig } from "@mariozechner/pi-coding-agent";
import { failureEvent } from "./chat/failure-event.ts";
import type { Stream } from "./chat/stream.ts";
import { API_KEY_VARIABLE, type Configuration } from "./configuration.ts";
import { type Lazy, NOT_LOADED } from "./lazy.ts";

export interface ProviderParts {
  readonly configuration: Configuration;
  readonly models: ProviderModelConfig[];
  readonly service: Lazy<ProviderService>;
  /** One sentence why nobody can be asked to log in. */
  readonly loginRefusal: string | undefined;
  /** Told which access tokens pi took from its own copy of the login. */
  readonly noteFromEntry: (accessToken: string) => void;
}

/** Our own api id: pi 0.73 routes by it, and under `openai-completions` we would capture every provider. */
const API = "kimi-coder";

/** What the provider needs of the service. */
export interface ProviderService {
  readonly stream: Stream;
  readonly login: (callbacks: OAuthLoginCallbacks) => Promise<OAuthCredentials>;
  /** The credentials to use instead of pi's, which have ended. */
  readonly refreshed: (credentials: OAuthCredentials) => Promise<OAuthCredentials>;
}

export function kimiCoder(parts: ProviderParts): ProviderConfig {
  const { configuration, models, service, noteFromEntry } = parts;
  const { refusal } = configuration;
  return {
    name: "Kimi Coder",
    baseUrl: configuration.baseUrl,
    api: API,
    apiKey: API_KEY_VARIABLE,
    models,
    streamSimple(model, context, options): AssistantMessageEventStream {
      const out = createAssistantMessageEventStream();
      service.load().then(
        ({ stream }) => stream(out, model, context, options),
        () => {
          out.push(failureEvent(model, false, NOT_LOADED));
          out.end();
        },
      );
      return out;
    },
    oauth: {
      name: "Kimi Coder (Kimi coding plan)",
      async login(callbacks) {
        const refused = refusal ?? parts.loginRefusal;
        if (refused) throw new Error(refused);
        const { login } = await loaded(service);
        return login(callbacks);
      },
      async refreshToken(credentials) {
        if (refusal) return credentials;
        const { refreshed } = await loaded(service);
        return refreshed(credentials);
      },
      getApiKey({ access }) {
        noteFromEntry(access);
        return access;
      },
    },
  };
}

async function loaded<T>(service: Lazy<T>): Promise<T> {
  try {
    return await service.load();
  } catch (cause) {
    throw new Error(NOT_LOADED, { cause });
  }
}
