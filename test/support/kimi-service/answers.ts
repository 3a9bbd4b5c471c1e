/** The answers of the service: their type, and every refusal in the words that the real one is known to use. */
import type { IssuedToken, Usage } from "./types.ts";

/** What the service decided about a request. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  /** For the log: the OAuth error code, or the API's message. */
  readonly error?: string;
  /** A rule of the service refused the request. */
  readonly refused?: boolean;
  readonly reused?: boolean;
  readonly issued?: IssuedToken;
  readonly usage?: Usage;
  /** SSE events in place of a body. */
  readonly events?: readonly string[];
}

/** A refusal by the API, fit for `fault({do: …})` too. */
export interface Refusal {
  readonly status: number;
  readonly body: { readonly error: { readonly message: string; readonly type: string } };
  readonly headers?: Readonly<Record<string, string>>;
}

function refusal(status: number, type: string, message: string, headers?: Record<string, string>): Refusal {
  return { status, body: { error: { message, type } }, ...(headers ? { headers } : {}) };
}

/** The errors a user can meet, by what they mean. */
export const refusals = {
  badRequest: (message: string) => refusal(400, "invalid_request_error", message),
  overflow: (limit: number) =>
    refusal(
      400,
      "invalid_request_error",
      `Invalid request: Your request exceeded model token limit: ${limit}`,
    ),
  unauthorized: refusal(
    401,
    "invalid_authentication_error",
    "The API Key appears to be invalid or may have expired. Please verify your credentials and try again.",
  ),
  membership: refusal(
    402,
    "payment_required_error",
    "We're unable to verify your membership benefits at this time. Please ensure your membership is active.",
  ),
  unknownAgent: refusal(
    403,
    "access_terminated_error",
    "Kimi For Coding is currently only available for Coding Agents such as Kimi CLI, Claude Code, Roo Code, Kilo Code, etc.",
  ),
  weeklyLimit: refusal(403, "access_terminated_error", "You've reached your weekly usage limit."),
  fiveHourLimit: refusal(
    403,
    "access_terminated_error",
    "You've reached your usage limit for this billing cycle. Your quota will be refreshed in the next 5-hour window.",
  ),
  suspended: refusal(
    403,
    "access_terminated_error",
    "Your account has been suspended. Review our Community Guidelines.",
  ),
  concurrency: refusal(403, "permission_error", "You've reached your concurrent request limit"),
  rateLimited: (retryAfter = 1) =>
    refusal(
      429,
      "rate_limit_reached_error",
      "You've reached the request rate limit, please try again later",
      {
        "retry-after": String(retryAfter),
      },
    ),
  overloaded: refusal(
    429,
    "engine_overloaded_error",
    "The engine is currently overloaded, please try again later",
  ),
  quota: refusal(
    429,
    "exceeded_current_quota_error",
    "You exceeded your current quota, please check your plan and billing details",
  ),
  notFound: refusal(404, "resource_not_found_error", "The requested resource was not found"),
} as const;

/** A rule of the API said no. */
export function refuse(by: Refusal): Answer {
  return { ...by, error: by.body.error.message, refused: true };
}

/** An error of the authorization server (RFC 6749 §5.2); `rule` is false where a test scripted it. */
export function oauthError(error: string, description: string, rule = true): Answer {
  return { status: 400, body: { error, error_description: description }, error, refused: rule };
}

export function ok(body: unknown): Answer {
  return { status: 200, body };
}
