/**
 * Logging in from pi: the device authorization grant on pi's login callbacks, then the token saved for kimi-cli,
 * and returned for pi to keep.
 */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { Rehearsal } from "./credentials/file.ts";
import type { WriteOutcome } from "./credentials/store.ts";
import type { Clock } from "./oauth/clock.ts";
import {
  awaitDecision,
  type DeviceAuthorization,
  poll,
  requestDeviceAuthorization,
} from "./oauth/device-authorization.ts";
import type { AuthorizationServer } from "./oauth/http.ts";
import type { Token } from "./oauth/token.ts";
import { sayFailure } from "./sentences.ts";

export interface LoginParts {
  readonly server: AuthorizationServer;
  readonly clock: Clock;
  /** Saves the login for the program that owns the file. */
  readonly save: (token: Token) => Promise<WriteOutcome>;
  /** Whether it could be saved now. */
  readonly rehearseSave: () => Promise<Rehearsal>;
  readonly savePath: string;
  /** The program whose login it will be beside pi's. */
  readonly savedFor: string;
  /** Shows what pi's own dialog does not, beside it; returns what takes that away again. */
  readonly beside?: (verification: Verification) => () => void;
}

/** What the user is to confirm (RFC 8628 §3.3). */
export interface Verification
  extends Pick<DeviceAuthorization, "userCode" | "verificationUri" | "expiresAt"> {
  readonly savedFor: string;
  /** Whether one before it has expired. */
  readonly isAnother: boolean;
}

/** What our own login screen adds to pi's callbacks: it shows everything itself. */
export interface VerificationCallback {
  readonly onVerification?: (verification: Verification) => void;
}

/** What pi's successor adds to the callbacks; 0.73 documents it but does not pass it. */
interface DeviceCodeCallback {
  onDeviceCode?: (info: {
    userCode: string;
    verificationUri: string;
    intervalSeconds: number;
    expiresInSeconds: number;
  }) => void;
}

/** How long one login may take altogether, over as many device codes as expire, ms. */
const DEADLINE = 3_600_000;

/** pi stays silent about exactly this message. */
export const CANCELLED = "Login cancelled";

/**
 * Runs the device flow (RFC 8628) and saves the login. Always starts anew, so that one can change account. Throws an
 * Error whose message is one sentence for the user, or `Login cancelled` after Esc.
 */
export async function login(
  parts: LoginParts,
  callbacks: OAuthLoginCallbacks & DeviceCodeCallback & VerificationCallback,
): Promise<Token> {
  let putAway: (() => void) | undefined;
  let isAnother = false;
  const showVerification = (authorization: DeviceAuthorization) => {
    putAway?.();
    const { userCode, verificationUri, expiresAt } = authorization;
    const verification = { userCode, verificationUri, expiresAt, savedFor: parts.savedFor, isAnother };
    isAnother = true;
    if (callbacks.onVerification) return callbacks.onVerification(verification);
    show(callbacks, authorization, parts.clock.now());
    putAway = parts.beside?.(verification);
  };
  try {
    return await runDeviceFlow(parts, callbacks, showVerification);
  } finally {
    putAway?.();
  }
}

async function runDeviceFlow(
  { server, clock, save, rehearseSave, savePath }: LoginParts,
  { onProgress, signal }: OAuthLoginCallbacks,
  showVerification: (authorization: DeviceAuthorization) => void,
): Promise<Token> {
  // Before anybody has gone to the browser for it.
  const rehearsed = await rehearseSave();
  if (rehearsed.state === "failed") throw unsaved(savePath, rehearsed.code);
  const deadline = clock.now() + DEADLINE;
  for (let expired = false; clock.now() < deadline; expired = true) {
    const authorization = await authorize(server, clock, signal);
    if (expired) onProgress?.("The code has expired; here is a new one.");
    showVerification(authorization);
    const limited = { ...authorization, expiresAt: Math.min(authorization.expiresAt, deadline) };
    const ask = (stop?: AbortSignal) => poll(server, authorization.deviceCode, clock.now, stop);
    const decision = await awaitDecision(ask, limited, clock, signal);
    switch (decision.state) {
      case "approved": {
        const saved = await save(decision.token);
        if (saved.state === "failed") throw unsaved(savePath, saved.code);
        return decision.token;
      }
      case "denied":
        throw new Error("the login was declined in the browser; type /login kimi-coder to try again.");
      case "cancelled":
        throw new Error(CANCELLED);
      case "failed":
        throw new Error(
          `the login failed because ${sayFailure(decision.cause)}; type /login kimi-coder to try again.`,
        );
      case "expired":
        continue;
    }
  }
  throw new Error("the login was not confirmed in time; type /login kimi-coder to try again.");
}

function unsaved(path: string, code: string): Error {
  return new Error(`the login could not be saved in ${path} (${code}); make it writable and log in again.`);
}

async function authorize(
  server: AuthorizationServer,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<DeviceAuthorization> {
  const outcome = await requestDeviceAuthorization(server, clock.now, signal);
  if (signal?.aborted) throw new Error(CANCELLED);
  if (outcome.state === "granted") return outcome.authorization;
  throw new Error(
    `the login could not be started because ${sayFailure(outcome.cause)}; check the network and type /login kimi-coder again.`,
  );
}

function show(
  callbacks: OAuthLoginCallbacks & DeviceCodeCallback,
  { userCode, verificationUri, interval, expiresAt }: DeviceAuthorization,
  now: number,
): void {
  if (callbacks.onDeviceCode) {
    callbacks.onDeviceCode({
      userCode,
      verificationUri,
      intervalSeconds: interval / 1000,
      expiresInSeconds: Math.round((expiresAt - now) / 1000),
    });
    return;
  }
  callbacks.onAuth({ url: verificationUri, instructions: `Code: ${userCode}` });
  callbacks.onProgress?.(
    "Open the address in any browser and confirm the code; pi goes on by itself. Esc cancels.",
  );
}
