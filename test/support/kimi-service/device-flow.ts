/** Device authorization (RFC 8628): the codes handed out, and what each poll is told. */
import { randomBytes, randomInt } from "node:crypto";
import { type Answer, oauthError, ok } from "./answers.ts";
import { type Logins, withoutExpiry } from "./logins.ts";
import type { DeviceOutcome } from "./types.ts";

interface Authorization {
  expiresAt: number;
  /** ms; grows with each slow_down. */
  interval: number;
  polledAt: number | undefined;
  /** Set once the user has decided. */
  end: "approved" | "denied" | "expired" | undefined;
}

export interface DeviceFlow {
  authorize(): Answer;
  poll(deviceCode: string): Answer;
  script(outcomes: readonly DeviceOutcome[]): void;
  patch(fields: Readonly<Record<string, unknown>>): void;
  secrets(): string[];
}

const SLOW_DOWN = 5000;
/** A client that slept the whole interval by its own timer may seem this much early on ours (ms). */
const TOLERANCE = 100;
/** Tests that set an interval under this many ms poll as they like. */
const STRICT_FROM = 1000;

const answers = {
  pending: () => oauthError("authorization_pending", "The authorization request is still pending", false),
  expired: () => oauthError("expired_token", "The device code has expired", false),
  denied: () => oauthError("access_denied", "The user denied the request", false),
};

export function createDeviceFlow(origin: string, now: () => number, logins: Logins): DeviceFlow {
  const authorizations = new Map<string, Authorization>();
  const outcomes: DeviceOutcome[] = [];
  let patch: Readonly<Record<string, unknown>> = {};

  const approve = (authorization: Authorization, account?: string): Answer => {
    authorization.end = "approved";
    const issued = logins.issue(account);
    return { ...ok(withoutExpiry(issued)), issued };
  };

  const tell = (authorization: Authorization, outcome: DeviceOutcome): Answer => {
    switch (outcome) {
      case "pending":
        return answers.pending();
      case "expired":
        authorization.end = "expired";
        return answers.expired();
      case "denied":
        authorization.end = "denied";
        return answers.denied();
      case "approved":
        return approve(authorization);
      default:
        return "approved" in outcome ? approve(authorization, outcome.approved) : outcome;
    }
  };

  return {
    authorize() {
      const userCode = Array.from({ length: 8 }, () => "BCDFGHJKLMNPQRSTVWXZ"[randomInt(20)]).join("");
      const user_code = `${userCode.slice(0, 4)}-${userCode.slice(4)}`;
      const body: Record<string, unknown> = {
        user_code,
        device_code: `dc-sim-${randomBytes(24).toString("base64url")}`,
        verification_uri: `${origin}/device`,
        verification_uri_complete: `${origin}/device?user_code=${user_code}`,
        expires_in: 1800,
        interval: 5,
        ...patch,
      };
      if (typeof body.device_code === "string") {
        authorizations.set(body.device_code, {
          expiresAt: now() + Number(body.expires_in) * 1000,
          interval: Number(body.interval) * 1000,
          polledAt: undefined,
          end: undefined,
        });
      }
      return ok(body);
    },
    poll(deviceCode) {
      const authorization = authorizations.get(deviceCode);
      if (!authorization || authorization.end === "approved") {
        return oauthError("invalid_grant", "The device code is unknown or was used");
      }
      if (authorization.end === "denied") return answers.denied();
      if (authorization.end === "expired" || now() >= authorization.expiresAt) return answers.expired();
      const since = now() - (authorization.polledAt ?? Number.NEGATIVE_INFINITY);
      authorization.polledAt = now();
      const patient = authorization.interval < STRICT_FROM || since >= authorization.interval - TOLERANCE;
      if (!patient) {
        authorization.interval += SLOW_DOWN;
        return oauthError("slow_down", "You are polling too quickly");
      }
      return tell(authorization, outcomes.shift() ?? "approved");
    },
    script(more) {
      outcomes.push(...more);
    },
    patch(fields) {
      patch = fields;
    },
    secrets: () => [...authorizations.keys()],
  };
}
