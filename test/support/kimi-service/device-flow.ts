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
  /** The user has decided. */
  isOver: boolean;
}

export type DeviceFlow = ReturnType<typeof createDeviceFlow>;

const SLOW_DOWN = 5000;
/** A client that slept the whole interval by its own timer may seem this much early on ours (ms). */
const TOLERANCE = 100;
/** Tests that set an interval under this many ms poll as they like. */
const STRICT_FROM = 1000;

export function createDeviceFlow(origin: string, now: () => number, logins: Logins) {
  const authorizations = new Map<string, Authorization>();
  const outcomes: DeviceOutcome[] = [];
  let patch: Readonly<Record<string, unknown>> = {};

  const approve = (account?: string): Answer => {
    const issued = logins.issue(account);
    return { ...ok(withoutExpiry(issued)), issued };
  };

  const tell = (outcome: DeviceOutcome): Answer => {
    switch (outcome) {
      case "pending":
        return oauthError("authorization_pending", "The authorization request is still pending", false);
      case "expired":
        return oauthError("expired_token", "The device code has expired", false);
      case "denied":
        return oauthError("access_denied", "The user denied the request", false);
      case "approved":
        return approve();
      default:
        return "approved" in outcome ? approve(outcome.approved) : outcome;
    }
  };

  return {
    authorize(): Answer {
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
          isOver: false,
        });
      }
      return ok(body);
    },
    poll(deviceCode: string): Answer {
      const authorization = authorizations.get(deviceCode);
      if (!authorization || authorization.isOver) {
        return oauthError("invalid_grant", "The device code is unknown or was used");
      }
      if (now() >= authorization.expiresAt) return tell("expired");
      const since = now() - (authorization.polledAt ?? Number.NEGATIVE_INFINITY);
      authorization.polledAt = now();
      const patient = authorization.interval < STRICT_FROM || since >= authorization.interval - TOLERANCE;
      if (!patient) {
        authorization.interval += SLOW_DOWN;
        return oauthError("slow_down", "You are polling too quickly");
      }
      const outcome = outcomes.shift() ?? "approved";
      authorization.isOver = outcome !== "pending";
      return tell(outcome);
    },
    script(more: readonly DeviceOutcome[]) {
      outcomes.push(...more);
    },
    patch(fields: Readonly<Record<string, unknown>>) {
      patch = fields;
    },
    secrets: () => [...authorizations.keys()],
  };
}
