/**
 * Logging in from pi: the device authorization grant on pi's login callbacks, then the token saved for kimi-cli,
 * and returned for pi to keep.
 */
import type { OAuthLoginCallbacks } from "@mariozechner/pi-ai";
import type { CredentialStore } from "../credentials/store.ts";
import { reserveLogin } from "../credentials/successor.ts";
import type { Clock } from "../lib/clock.ts";
import { ownerName, sayFailure } from "../messages.ts";
import {
  awaitDecision,
  type DeviceAuthorization,
  poll,
  requestDeviceAuthorization,
} from "../oauth/device-authorization.ts";
import type { Token } from "../oauth/token.ts";
import type { AuthorizationServer } from "../oauth/token-endpoint.ts";
import { hasBrowser } from "./browser.ts";
import type { Verification } from "./lines.ts";
import { CANCELLED } from "./question.ts";

export interface LoginParts {
  readonly server: AuthorizationServer;
  readonly clock: Clock;
  /** Where the login is saved; pi then shares it with the program that owns the store. */
  readonly store: CredentialStore;
  /** Shows what pi's own dialog does not, beside it; returns what takes that away again. */
  readonly beside?: (verification: Verification) => () => void;
}

/** What our own login screen adds to pi's callbacks: it shows everything itself. */
export interface VerificationCallback {
  readonly onVerification?: (verification: Verification) => void;
}

/** What pi's successor adds to the callbacks; 0.73 documents it but does not pass it. */
export interface DeviceCodeCallback {
  onDeviceCode?: (info: {
    userCode: string;
    verificationUri: string;
    /** Of pi 1.5 and later: whether Enter in its dialog opens the address. */
    openBrowserOnConfirm: boolean;
    intervalSeconds: number;
    expiresInSeconds: number;
  }) => void;
}

/** How long one login may take altogether, over as many device codes as expire, ms. */
const DEADLINE = 3_600_000;

/**
 * Runs the device flow (RFC 8628) and saves the login. Never reuses a login, so that the user can change account. Throws an
 * Error whose message is one sentence for the user, or `Login cancelled` after Esc.
 */
export async function logInAnew(
  parts: LoginParts,
  callbacks: OAuthLoginCallbacks & DeviceCodeCallback & VerificationCallback,
): Promise<Token> {
  const { clock, store, beside } = parts;
  // Before anybody has gone to the browser for it.
  const reservation = reserveLogin(store);
  if (reservation.state === "failed") throw unsaved(store.path, reservation.code);
  const { successor } = reservation;
  let putAway: (() => void) | undefined;
  let isAnother = false;
  const showCode = (authorization: DeviceAuthorization) => {
    putAway?.();
    if (isAnother) callbacks.onProgress?.("The code has expired; here is a new one.");
    const { userCode, verificationUri, expiresAt } = authorization;
    const verification = {
      userCode,
      verificationUri,
      expiresAt,
      savedFor: ownerName(store.owner),
      isAnother,
    };
    isAnother = true;
    if (callbacks.onVerification) return callbacks.onVerification(verification);
    showInDialog(callbacks, authorization, clock.now());
    putAway = beside?.(verification);
  };
  try {
    const token = await awaitLogin(parts, callbacks.signal, showCode);
    const saved = successor.save(token);
    if (saved.state === "failed") throw unsaved(store.path, saved.code);
    return token;
  } finally {
    putAway?.();
    successor.discard();
  }
}

function unsaved(path: string, code: string): Error {
  return new Error(`the login could not be saved in ${path} (${code}); make it writable and log in again.`);
}

async function awaitLogin(
  { server, clock }: LoginParts,
  signal: AbortSignal | undefined,
  showCode: (authorization: DeviceAuthorization) => void,
): Promise<Token> {
  const deadline = clock.now() + DEADLINE;
  while (clock.now() < deadline) {
    const authorization = await authorize(server, clock, signal);
    showCode(authorization);
    const limited = { ...authorization, expiresAt: Math.min(authorization.expiresAt, deadline) };
    const ask = (stop?: AbortSignal) => poll(server, authorization.deviceCode, clock.now, stop);
    const decision = await awaitDecision(ask, limited, clock, signal);
    switch (decision.state) {
      case "approved":
        return decision.token;
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

/** `now` in ms since the epoch. */
function showInDialog(
  callbacks: OAuthLoginCallbacks & DeviceCodeCallback,
  { userCode, verificationUri, interval, expiresAt }: DeviceAuthorization,
  now: number,
): void {
  if (callbacks.onDeviceCode) {
    callbacks.onDeviceCode({
      userCode,
      verificationUri,
      openBrowserOnConfirm: hasBrowser(process),
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
