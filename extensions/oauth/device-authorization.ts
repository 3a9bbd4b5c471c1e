/**
 * The device authorization grant (RFC 8628): asking for a user code, and polling until the user has decided.
 * No terminal and no files; time is a parameter.
 */
import type { Clock } from "../lib/clock.ts";
import type { FormAnswer } from "../lib/http.ts";
import type { JsonObject } from "../lib/json.ts";
import type { Token } from "./token.ts";
import {
  type AuthorizationServer,
  askServer,
  askTokenEndpoint,
  type FailureCause,
  parseToken,
  readSeconds,
} from "./token-endpoint.ts";

const REQUEST_TIMEOUT = 15_000;
/** RFC 8628 §3.2: the polling interval where the server names none. */
const DEFAULT_INTERVAL = 5_000;
/** RFC 8628 §3.5: what `slow_down` adds to the interval, for this and all later polls. */
const SLOW_DOWN = 5_000;
/** What the service was seen to give; `expires_in` may be absent. */
const DEFAULT_EXPIRY = 1_800_000;

export interface DeviceAuthorization {
  readonly deviceCode: string;
  /** What the user types; printable ASCII, safe to show. */
  readonly userCode: string;
  /** An http(s) URL in ASCII, safe to show and to open. */
  readonly verificationUri: string;
  /** When the device code ends, in ms since the epoch. */
  readonly expiresAt: number;
  /** Polling interval in ms. */
  readonly interval: number;
}

export type DeviceAuthorizationOutcome =
  | { readonly state: "granted"; readonly authorization: DeviceAuthorization }
  | { readonly state: "failed"; readonly cause: FailureCause };

export type PollOutcome =
  | { readonly state: "approved"; readonly token: Token }
  | { readonly state: "pending" }
  | { readonly state: "slow-down" }
  | { readonly state: "expired" }
  | { readonly state: "denied" }
  | { readonly state: "failed"; readonly cause: FailureCause };

/** RFC 8628 §3.1 and §3.2. */
export async function requestDeviceAuthorization(
  server: AuthorizationServer,
  now: () => number,
  signal?: AbortSignal,
): Promise<DeviceAuthorizationOutcome> {
  const answer = await askServer(server, "/api/oauth/device_authorization", {}, REQUEST_TIMEOUT, signal);
  if (answer.state === "lost") return failed({ kind: "network", code: answer.code });
  if (answer.status !== 200) return failed({ kind: "status", status: answer.status });
  const authorization =
    answer.state === "answered" ? parseDeviceAuthorization(answer.body, now()) : undefined;
  return authorization
    ? { state: "granted", authorization }
    : failed({ kind: "unreadable", status: answer.status });
}

function failed(cause: FailureCause): { state: "failed"; cause: FailureCause } {
  return { state: "failed", cause };
}

/** The answer of the device authorization endpoint, or undefined where a required part is missing or unfit to show. */
export function parseDeviceAuthorization(body: JsonObject, now: number): DeviceAuthorization | undefined {
  const { device_code, user_code } = body;
  const uri = readWebUri(body.verification_uri_complete) ?? readWebUri(body.verification_uri);
  if (typeof device_code !== "string" || device_code === "" || device_code.length > 4096) return undefined;
  if (typeof user_code !== "string" || !/^[\x21-\x7e]{1,64}$/.test(user_code) || !uri) return undefined;
  return {
    deviceCode: device_code,
    userCode: user_code,
    verificationUri: uri,
    expiresAt: now + (readSeconds(body.expires_in) ?? DEFAULT_EXPIRY),
    interval: readSeconds(body.interval) ?? DEFAULT_INTERVAL,
  };
}

/**
 * An http(s) URL without user info, in ASCII: nothing in it can steer a terminal. What a shell would act upon is
 * percent-encoded too, because pi 0.73 opens the browser through one (on Windows one that replaces `%NAME%`).
 */
export function readWebUri(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > 2048 || /[\p{C}\s]/u.test(value) || !URL.canParse(value)) {
    return undefined;
  }
  const url = new URL(value);
  const web = url.protocol === "https:" || url.protocol === "http:";
  return web && url.username === "" && url.password === ""
    ? url.href.replace(
        /[^\w\-.~:/?#[\]@&+,;=%]|%(?![\da-f]{2})/gi,
        (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
      )
    : undefined;
}

/** Asks once whether the user has decided (RFC 8628 §3.4). */
export async function poll(
  server: AuthorizationServer,
  deviceCode: string,
  now: () => number,
  signal?: AbortSignal,
): Promise<PollOutcome> {
  const form = {
    device_code: deviceCode,
    grant_type: "urn:ietf:params:oauth:grant-type:device_code",
  };
  return readPollAnswer(await askTokenEndpoint(server, form, REQUEST_TIMEOUT, signal), now());
}

/** What an answer to a poll means (RFC 8628 §3.5). */
export function readPollAnswer(answer: FormAnswer, now: number): PollOutcome {
  if (answer.state === "lost") return failed({ kind: "network", code: answer.code });
  const { status } = answer;
  if (status === 200) {
    const token = answer.state === "answered" ? parseToken(answer.body, now) : undefined;
    return token ? { state: "approved", token } : failed({ kind: "unreadable", status });
  }
  const error = answer.state === "answered" && status < 500 ? answer.body.error : undefined;
  switch (error) {
    case "authorization_pending":
      return { state: "pending" };
    case "slow_down":
      return { state: "slow-down" };
    case "expired_token":
      return { state: "expired" };
    case "access_denied":
      return { state: "denied" };
    default:
      return failed({ kind: "status", status });
  }
}

export type Decision =
  | Extract<PollOutcome, { state: "approved" | "denied" | "expired" | "failed" }>
  | { state: "cancelled" };

/** Polls in a row that may fail before we believe the failure (RFC 8628 §3.5 asks to back off and go on). */
const PATIENCE = 5;

/**
 * Polls until the user has decided, the code has expired or `signal` fires. A connection that fails or a 5xx slows
 * the polling down as RFC 8628 §3.5 asks, and ends it only after five in a row.
 */
export async function awaitDecision(
  ask: (signal?: AbortSignal) => Promise<PollOutcome>,
  authorization: Pick<DeviceAuthorization, "expiresAt" | "interval">,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Decision> {
  let { interval } = authorization;
  let failures = 0;
  for (;;) {
    const left = authorization.expiresAt - clock.now();
    if (left <= 0) return { state: "expired" };
    // The last poll comes when the code ends, whatever pause was asked for.
    await clock.sleep(Math.min(interval * 2 ** failures, left), signal);
    if (signal?.aborted) return { state: "cancelled" };
    const outcome = await ask(signal);
    // An approval that arrived together with Esc is kept: the server has made a login of it.
    if (signal?.aborted && outcome.state !== "approved") return { state: "cancelled" };
    switch (outcome.state) {
      case "pending":
        failures = 0;
        break;
      case "slow-down":
        failures = 0;
        interval += SLOW_DOWN;
        break;
      case "failed":
        failures += 1;
        if (failures === PATIENCE || isFinal(outcome.cause)) return outcome;
        break;
      default:
        return outcome;
    }
  }
}

/** A 4xx other than "too many" will not change by asking again. */
function isFinal(cause: FailureCause): boolean {
  return cause.kind === "status" && cause.status >= 400 && cause.status < 500 && cause.status !== 429;
}
