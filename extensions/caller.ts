/**
 * Decides alone what a request to Kimi is sent with, on whose account, and in which region: requests, quota, models,
 * status and doctor ask here. pi's own order holds (`--api-key`, a key in auth.json, a login), and a configured key
 * wins over a login.
 */
import { createHash } from "node:crypto";
import type { Api, Model } from "@mariozechner/pi-ai";
import type { ExtensionContext } from "@mariozechner/pi-coding-agent";
import {
  API_KEY_VARIABLE,
  type Configuration,
  type ConfiguredKey,
  type Environment,
  findConfiguredKey,
  ownFiles,
  PROVIDER,
} from "./configuration.ts";
import type { Choice, NoLogin, Search } from "./credentials/choose.ts";
import type { Access, Login, Unavailable } from "./credentials/login.ts";
import type { CredentialStore } from "./credentials/store.ts";
import { inTurn, NOT_LOADED } from "./lib/lazy.ts";
import { fingerprint, isTokenText } from "./lib/safe-text.ts";
import { hostsOf, type Region } from "./region.ts";
import type { Screen } from "./screen.ts";

/** Who owns figures, a list of models and a place in the queue: a login, by where it is kept, or a key, by its fingerprint. */
export interface Account {
  readonly owner: string;
  readonly path: string;
  /** The API that it belongs to, without a trailing slash. */
  readonly baseUrl: string;
  readonly region: Region;
  /** A fingerprint of all of this. */
  readonly id: string;
}

/** What a request is sent with. */
export type Bearer =
  /** The user's API key: sent as it is, never renewed. */
  | { readonly state: "key"; readonly key: string; readonly account: Account }
  | {
      readonly state: "token";
      readonly accessToken: string;
      readonly store: CredentialStore;
      readonly account: Account;
    }
  /** Nothing may be sent; `message` is a sentence that says why and what to do. */
  | { readonly state: "none"; readonly message: string };

export type Usable = Exclude<Bearer, { state: "none" }>;

/** What a request would be sent with, as far as files tell; for those who show it. */
export type Sight =
  | {
      readonly kind: "key";
      /** The argument and the entry in auth.json are pi's to read. */
      readonly given: "argument" | "entry" | "configuration";
      /** `--api-key`, a variable, or the path of a file; never the key. */
      readonly source: string;
      /** undefined where pi did not hand it out. */
      readonly key: string | undefined;
      readonly account: Account | undefined;
    }
  | {
      readonly kind: "login";
      readonly choice: Exclude<Choice, { state: "none" }>;
      readonly store: CredentialStore;
      readonly account: Account;
    }
  | { readonly kind: "none"; readonly reason: NoLogin | "configuration"; readonly message: string };

/** The part of a session that is read. */
export type SessionNow = Pick<ExtensionContext, "model" | "modelRegistry">;

export interface CallerParts {
  readonly configuration: Configuration;
  /** Read each time, as pi's settings are: a person may set a key while pi runs. */
  readonly env: Environment;
  /** Whether pi was started with `--api-key`. */
  readonly keyArgument: boolean;
  readonly login: Login;
  readonly provider: { isFromEntry(key: string): boolean };
  readonly screen: Pick<Screen, "noteFailure">;
}

export class Caller {
  private readonly parts: CallerParts;

  constructor(parts: CallerParts) {
    this.parts = parts;
  }

  /**
   * What a request is sent with. `fromPi` is what pi would send: undefined where it has nothing, and on pi 0.77 to 0.86
   * the name of our variable. An access token that has ended is renewed first, see Login.
   */
  async current(fromPi: string | undefined): Promise<Bearer> {
    const { configuration, provider, login } = this.parts;
    const { refusal } = configuration;
    if (refusal !== undefined) return this.refuse(refusal, "configuration");
    const isByHand = fromPi && fromPi !== API_KEY_VARIABLE && !provider.isFromEntry(fromPi);
    if (isByHand) return this.withKey(fromPi.trim());
    const configured = this.configuredKey();
    return configured ? this.withKey(configured.key) : this.withAccess(await login.current());
  }

  /** Another token than this one, which the API has rejected. */
  async afterRejection({ accessToken }: Extract<Bearer, { state: "token" }>): Promise<Bearer> {
    return this.withAccess(await this.parts.login.afterRejection(accessToken));
  }

  /** Loads what a renewal needs, so that an update under a running pi cannot take it away. */
  prepare(): void {
    void this.parts.login.prepare();
  }

  /** Address of the API for a request: that of the bearer's region, unless pi's models.json names another one. */
  addressFor({ account }: Usable, { baseUrl }: Pick<Model<Api>, "baseUrl">): string {
    return baseUrl === this.parts.configuration.regions[0].baseUrl ? account.baseUrl : baseUrl;
  }

  /** What a request would be sent with now. Nothing is renewed, asked for or written. Never throws. */
  async look(session?: SessionNow): Promise<Sight> {
    return (await this.search(session)).sight;
  }

  /** What `look` gives, with all logins that there are. */
  async search(session?: SessionNow): Promise<Search & { readonly sight: Sight }> {
    const { login } = this.parts;
    const search = await login.look();
    return { ...search, sight: await this.see(search.choice, session) };
  }

  /** What a request of our own, past pi, is sent with where `look` gave this. */
  async bearerFor(sight: Sight): Promise<Bearer> {
    if (sight.kind === "none") return { state: "none", message: sight.message };
    if (sight.kind === "key" && sight.key !== undefined) return this.withKey(sight.key);
    return this.current(undefined);
  }

  /** The account of a login, or of a key. */
  accountOf({ owner, path, region }: Pick<Account, "owner" | "path" | "region">): Account {
    const { baseUrl } = hostsOf(this.parts.configuration.regions, region);
    const id = createHash("sha256").update(`${owner}\n${path}\n${baseUrl}`).digest("hex").slice(0, 16);
    return { owner, path, baseUrl, region, id };
  }

  private async see(choice: Choice, session: SessionNow | undefined): Promise<Sight> {
    const { configuration, keyArgument } = this.parts;
    const { refusal } = configuration;
    if (refusal !== undefined) return { kind: "none", reason: "configuration", message: refusal };
    if (keyArgument && session?.model?.provider === PROVIDER) {
      return this.seeKey("argument", "--api-key", await handKey(session));
    }
    if (choice.state === "none" && choice.reason.kind === "own-key") {
      const { auth } = ownFiles(configuration.agentDir);
      return this.seeKey("entry", auth, session && (await handKey(session)));
    }
    const configured = this.configuredKey();
    if (configured) return this.seeKey("configuration", configured.source, configured.key);
    if (choice.state === "none") {
      return { kind: "none", reason: choice.reason, message: await sayWhy(choice.reason) };
    }
    const store = choice.state === "use" ? choice.store : choice.problem.store;
    return { kind: "login", choice, store, account: this.accountOf(store) };
  }

  private configuredKey(): ConfiguredKey | undefined {
    return findConfiguredKey(this.parts.env, this.parts.configuration.agentDir);
  }

  private seeKey(
    given: "argument" | "entry" | "configuration",
    source: string,
    key: string | undefined,
  ): Sight {
    return { kind: "key", given, source, key, account: key === undefined ? undefined : this.keyAccount(key) };
  }

  private withKey(key: string): Bearer {
    // A header cannot hold anything else, and an error about it would show a piece of the key.
    if (!isTokenText(key)) return this.refuse(BAD_KEY, "configuration");
    return { state: "key", key, account: this.keyAccount(key) };
  }

  private async withAccess(access: Access): Promise<Bearer> {
    if (access.state === "unavailable") return this.refuse(await sayWhy(access.reason), access.reason);
    const { token, store } = access;
    return { state: "token", accessToken: token.accessToken, store, account: this.accountOf(store) };
  }

  private refuse(message: string, why: Unavailable | "configuration"): Bearer {
    this.parts.screen.noteFailure(message, why);
    return { state: "none", message };
  }

  /** A key belongs to the first region. */
  private keyAccount(key: string): Account {
    const { region } = this.parts.configuration.regions[0];
    return this.accountOf({ owner: "key", path: fingerprint(key), region });
  }
}

/** The sentence, which is loaded only when there is something to say. */
async function sayWhy(reason: Unavailable): Promise<string> {
  try {
    const { sayUnavailable } = await inTurn(() => import("./messages.ts"));
    return sayUnavailable(reason);
  } catch {
    return NOT_LOADED;
  }
}

const BAD_KEY =
  "Kimi Coder: the API key contains a character that keys do not have, perhaps a line break; correct it where you set it.";

/** The key given to pi by hand for our provider, which only pi knows: `--api-key`, or an entry in auth.json. */
async function handKey({ modelRegistry }: SessionNow): Promise<string | undefined> {
  try {
    const key = await modelRegistry.getApiKeyForProvider(PROVIDER);
    return key === "" || key === API_KEY_VARIABLE ? undefined : key;
  } catch {
    // The session was replaced meanwhile.
    return undefined;
  }
}
