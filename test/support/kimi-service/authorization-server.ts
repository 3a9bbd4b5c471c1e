/** The authorization server's two endpoints: which grants it knows, and what makes a request invalid. */
import { type Answer, oauthError, ok } from "./answers.ts";
import type { DeviceFlow } from "./device-flow.ts";
import { type Logins, withoutExpiry } from "./logins.ts";
import type { LogEntry } from "./types.ts";

/** Public, shared by all of Kimi's clients. */
export const CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098";
export const DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code";

/** The parameters of a form post, or what is wrong with it (RFC 6749 §3.2: no parameter twice). */
export function parseForm(contentType: string | undefined, text: string): Record<string, string> | string {
  if (contentType?.split(";")[0]?.trim().toLowerCase() !== "application/x-www-form-urlencoded") {
    return "The body must be application/x-www-form-urlencoded";
  }
  const form: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(text)) {
    if (Object.hasOwn(form, name)) return `The parameter ${name} is given twice`;
    form[name] = value;
  }
  return form;
}

export function answerDeviceAuthorization(entry: LogEntry, flow: DeviceFlow): Answer {
  return refuseClient(entry) ?? flow.authorize();
}

export function answerToken(entry: LogEntry, flow: DeviceFlow, logins: Logins): Answer {
  const refused = refuseClient(entry);
  if (refused) return refused;
  switch (entry.form?.grant_type) {
    case undefined:
      return oauthError("invalid_request", "grant_type is missing");
    case DEVICE_GRANT: {
      const code = entry.form.device_code;
      return code ? flow.poll(code) : oauthError("invalid_request", "device_code is missing");
    }
    case "refresh_token":
      return answerRefresh(entry.refreshToken, logins);
    default:
      return oauthError("unsupported_grant_type", "The grant type is not supported");
  }
}

function refuseClient(entry: LogEntry): Answer | undefined {
  if (!entry.form) return oauthError("invalid_request", entry.error ?? "The body is no form");
  if (entry.form.client_id === CLIENT_ID) return undefined;
  return { ...oauthError("invalid_client", "Client authentication failed"), status: 401 };
}

function answerRefresh(refreshToken: string | undefined, logins: Logins): Answer {
  if (!refreshToken) return oauthError("invalid_request", "refresh_token is missing");
  const outcome = logins.rotate(refreshToken);
  if (outcome.state === "rotated") {
    return { ...ok(withoutExpiry(outcome.tokens)), issued: outcome.tokens };
  }
  const refused = oauthError("invalid_grant", "The provided authorization grant is invalid");
  return { ...refused, reused: outcome.state === "reused" };
}
