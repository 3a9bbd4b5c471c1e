/** What a test says to the simulated Kimi service, and what it can read back: the public types, no behaviour. */
import type { IncomingHttpHeaders } from "node:http";

export type JsonObject = { readonly [key: string]: unknown };

/** A successful token response (RFC 6749 §5.1) plus the moment its access token ends; all times in s. */
export interface IssuedToken {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
  readonly scope: string;
  readonly token_type: string;
  readonly expires_at: number;
}

/** An entry of `GET /models`. */
export interface ModelEntry {
  readonly id: string;
  readonly display_name: string;
  readonly context_length: number;
  readonly supports_reasoning: boolean;
  readonly supports_image_in: boolean;
  readonly supports_video_in: boolean;
  readonly supports_thinking_type?: "only" | "no" | "both";
  readonly think_efforts?: {
    readonly support: boolean;
    readonly valid_efforts: readonly string[];
    readonly default_effort?: string;
  };
  /** Takes tools that a message brings in mid-session. */
  readonly supports_dynamic_tools?: boolean;
}

/** A member of `search_results` in the answer of `POST /search`. */
export interface SearchResult {
  readonly title?: string;
  readonly url?: string;
  readonly snippet?: string;
  readonly date?: string;
  readonly site_name?: string;
}

export interface KimiServiceOptions {
  /** The service's own clock in ms; `advance()` moves an offset on top of it. Default: `Date.now`. */
  readonly now?: () => number;
  /** How long access tokens live, in s. Default 900. */
  readonly accessTokenLifetime?: number;
  /** The answer of `GET /models`, and what chat requests are judged by. */
  readonly models?: readonly ModelEntry[];
  /** Whether a used refresh token that is presented again ends the whole login (default) or is only refused. */
  readonly reusePolicy?: "revoke" | "refuse";
}

/** What one poll of the token endpoint says; `{approved}` names the account that the new login belongs to. */
export type DeviceOutcome =
  | "pending"
  | "expired"
  | "denied"
  | "approved"
  | { readonly approved: string }
  | { readonly status: number; readonly body: unknown };

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly cached_tokens: number;
}

/** One scripted chat completion. Thinking is streamed only where the request leaves it on. */
export interface Completion {
  readonly thinking?: string;
  readonly text?: string;
  readonly toolCalls?: readonly { readonly id?: string; readonly name: string; readonly arguments: object }[];
  /** Replaces what the service would count. */
  readonly usage?: Partial<Usage>;
  /** null = the stream ends without one. */
  readonly finishReason?: string | null;
  /** What is streamed in place of thinking, text and calls, delta by delta, whatever the request says of thinking. */
  readonly deltas?: readonly JsonObject[];
  /** Where the usage object says how much was cached; both are in use (pi#8119). Default `details`. */
  readonly cachedTokensAt?: "details" | "top";
}

/** `token`: the token endpoint, whatever the grant. */
export type FaultPath = Exclude<RequestKind, "device_poll" | "refresh" | "other">;

export type FaultAction =
  /** Answers after so many ms, or after a moment. The request is committed on arrival. */
  | { readonly delay: number | Promise<unknown> }
  /** Never answers; nothing is committed, unless `commit: true`. */
  | { readonly hang: true; readonly commit?: boolean }
  /** Answers this instead; nothing is committed. A string body is sent as it is (default type text/html). */
  | {
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
      readonly contentType?: string;
    }
  /** Ends the connection before anything is committed, or after it was, so that the answer is lost. */
  | { readonly drop: "before" | "after" }
  /** Ends the connection in the middle: after so many SSE events, or so many bytes of any other answer. */
  | { readonly cutStream: number }
  /** Falls silent after so many SSE events, or bytes. */
  | { readonly stallStream: number }
  /** Puts these bytes on the socket in place of an HTTP answer; nothing is committed. */
  | { readonly raw: string };

export interface FaultRule {
  readonly path: FaultPath;
  /** How many requests it hits. Default 1. */
  readonly times?: number;
  readonly when?: (entry: LogEntry) => boolean;
  readonly do: FaultAction;
}

export type RequestKind =
  | "device_authorization"
  | "device_poll"
  | "refresh"
  /** The token endpoint with a grant it does not know. */
  | "token"
  | "chat"
  | "models"
  | "usages"
  | "me"
  | "search"
  | "fetch"
  | "other";

/** One request. It enters the log on arrival (with status 0) and is completed as it is answered. */
export interface LogEntry {
  /** The service's clock at arrival, ms. */
  readonly at: number;
  readonly kind: RequestKind;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Form parameters in the order sent. */
  readonly form?: Readonly<Record<string, string>>;
  /** The parsed JSON body. */
  readonly body?: unknown;
  /** The refresh token that was presented. */
  readonly refreshToken?: string;
  /** The bearer token that was presented. */
  readonly accessToken?: string;
  /** What was answered, or decided if the answer was lost; 0 while undecided, and where no answer was made. */
  readonly status: number;
  /** Why it was not 200: the OAuth error code, or the API's message. */
  readonly error?: string;
  /** Whether a rule of the service refused it with 4xx (no fault, no scripted outcome); an unknown path counts. */
  readonly refused: boolean;
  /** Whether it presented a refresh token that had been used before. */
  readonly reused: boolean;
  /** The fault that hit it. */
  readonly fault?: FaultAction;
  /** The tokens it was given, also if the answer was then lost. */
  readonly issued?: IssuedToken;
  /** What the chat completion was counted as. */
  readonly usage?: Usage;
  /** Whether the exchange is over: the answer is out, or the connection gone. */
  readonly finished: boolean;
}

export interface KimiService {
  readonly url: string;
  readonly oauthHost: string;
  /** Ends in `/coding/v1`. */
  readonly baseUrl: string;
  readonly environment: { readonly KIMI_CODE_OAUTH_HOST: string; readonly KIMI_CODE_BASE_URL: string };
  /** The service's clock, ms. */
  now(): number;
  advance(ms: number): void;
  /** A login made elsewhere. */
  issueLogin(account?: string): IssuedToken;
  /** Static bearer keys that the API accepts. */
  readonly apiKeys: Set<string>;
  /** Ends all access tokens issued so far, before their time. */
  expireAccessTokens(): void;
  /** Ends one access token; without an argument all. */
  revokeAccessToken(accessToken?: string): void;
  /** Ends the login that this (current or used) refresh token belongs to; without an argument all. */
  revokeLogin(refreshToken?: string): void;
  /** Whether the login that this (current or used) refresh token belongs to can still be renewed. */
  isLoginAlive(refreshToken: string): boolean;
  /** The newest tokens of that login, or undefined where it is unknown or dead. */
  currentTokens(refreshToken: string): IssuedToken | undefined;
  /** One outcome per poll, across device codes; once they are used up, polls are approved. */
  scriptDevice(outcomes: readonly DeviceOutcome[]): void;
  /** Overrides fields of the device authorization answer, or removes them (undefined). The last call counts. */
  deviceResponse(patch: Readonly<Record<string, unknown>>): void;
  /** Adds a fault; the first rule that fits a request is applied. Returns a function that ends it. */
  fault(rule: FaultRule): () => void;
  /** Commits the requests that the rule hits, and answers them once the function that comes back is called. */
  hold(rule: Omit<FaultRule, "do">): () => void;
  /** Scripts chat completions, in order; without a script the service echoes. */
  reply(...completions: readonly Completion[]): void;
  setModels(models: readonly ModelEntry[]): void;
  setUsages(body: unknown): void;
  setMe(body: unknown): void;
  /** What every search finds, as far as its limit goes. */
  setSearchResults(results: readonly SearchResult[]): void;
  /** What `POST /fetch` gives for an address; for others it answers 404. */
  setPage(url: string, text: string): void;
  /** More chats than this at once earn 403 `permission_error`. Default: no limit. */
  setParallelLimit(limit: number): void;
  readonly log: readonly LogEntry[];
  /** Every request of the refresh grant, answered or not. */
  refreshes(): LogEntry[];
  /** How often a used refresh token was presented. */
  reusedRefreshTokens(): number;
  chats(): LogEntry[];
  /** How many chats were being answered at the same time at most. */
  mostChatsAtOnce(): number;
  /** What a rule of the service answered with 4xx. */
  refused(): LogEntry[];
  /** Every token and device code ever handed out: what must be found nowhere. */
  secrets(): string[];
  /** The first entry that fits, now or later; judged at arrival, decision and end of each. `timeoutMs`: default PATIENCE. */
  waitFor(predicate: (entry: LogEntry) => boolean, timeoutMs?: number): Promise<LogEntry>;
  /** Destroys open connections and ends every timer. */
  close(): Promise<void>;
}
