/** Reading a request: what it asks for, and the log entry it becomes. */
import type { IncomingMessage } from "node:http";
import { DEVICE_GRANT, parseForm } from "./authorization-server.ts";
import { parseJson } from "./json.ts";
import type { OpenEntry } from "./request-log.ts";
import type { RequestKind } from "./types.ts";

export const API_PATH = "/coding/v1";

const ROUTES: Readonly<Record<string, RequestKind>> = {
  "POST /api/oauth/device_authorization": "device_authorization",
  "POST /api/oauth/token": "token",
  [`POST ${API_PATH}/chat/completions`]: "chat",
  [`GET ${API_PATH}/models`]: "models",
  [`GET ${API_PATH}/usages`]: "usages",
  [`GET ${API_PATH}/me`]: "me",
  [`POST ${API_PATH}/search`]: "search",
  [`POST ${API_PATH}/fetch`]: "fetch",
};

/** The whole request, or undefined where the client left before it was complete. */
export async function readRequest(request: IncomingMessage, at: number): Promise<OpenEntry | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) {
      if (Buffer.isBuffer(chunk)) chunks.push(chunk);
    }
  } catch {
    return undefined;
  }
  const { method = "", url = "", headers } = request;
  const text = Buffer.concat(chunks).toString("utf8");
  const kind = ROUTES[`${method} ${url}`] ?? "other";
  const entry: OpenEntry = {
    at,
    kind,
    method,
    path: url,
    headers,
    status: 0,
    refused: false,
    reused: false,
    finished: false,
  };
  const bearer = /^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1];
  if (bearer !== undefined) entry.accessToken = bearer;
  if (kind === "token" || kind === "device_authorization")
    return { ...entry, ...readForm(kind, headers, text) };
  return text === "" ? entry : { ...entry, body: parseJson(text) };
}

function readForm(kind: RequestKind, headers: IncomingMessage["headers"], text: string): Partial<OpenEntry> {
  const form = parseForm(headers["content-type"], text);
  if (typeof form === "string") return { error: form };
  if (kind !== "token") return { form };
  if (form.grant_type === DEVICE_GRANT) return { form, kind: "device_poll" };
  if (form.grant_type !== "refresh_token") return { form };
  const token = form.refresh_token;
  return { form, kind: "refresh", ...(token === undefined ? {} : { refreshToken: token }) };
}
