/**
 * The Kimi service, simulated: a real HTTP server on loopback that rotates tokens, guards its gate and refuses what
 * the real one refuses. Strict by default, so that a client that passes here passes there.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { closing, listen } from "../loopback.ts";
import { type Answer, refusals, refuse } from "./answers.ts";
import { answerDeviceAuthorization, answerToken } from "./authorization-server.ts";
import { type ApiState, createCodingApi } from "./coding-api.ts";
import { defaultModels, olderUsages } from "./defaults.ts";
import { createDeviceFlow } from "./device-flow.ts";
import { answerExchange } from "./exchange.ts";
import { createFaults } from "./faults.ts";
import { createLogins } from "./logins.ts";
import { API_PATH, readRequest } from "./request.ts";
import { createRequestLog, type OpenEntry } from "./request-log.ts";
import type { KimiService, KimiServiceOptions } from "./types.ts";

export { refusals } from "./answers.ts";
export { CLIENT_ID } from "./authorization-server.ts";
export { checkChatRequest } from "./chat-rules.ts";
export { defaultModels, modelsOfSeptember2026, newerUsages, olderUsages } from "./defaults.ts";
export { checkToolSchema } from "./tool-schema-rules.ts";
export type * from "./types.ts";

/** Starts the service on a free port of 127.0.0.1. */
export async function startKimiService(options: KimiServiceOptions = {}): Promise<KimiService> {
  let offset = 0;
  const clock = options.now ?? Date.now;
  const now = () => clock() + offset;

  const server = createServer();
  // Connections end when the client or close() ends them: an idle one cut at the wrong moment is an unordered fault.
  server.keepAliveTimeout = 0;
  const disconnect = closing(server);
  const url = `http://127.0.0.1:${await listen(server)}`;

  const log = createRequestLog();
  const faults = createFaults();
  const logins = createLogins(now, options);
  const device = createDeviceFlow(url, now, logins);
  const state: ApiState = {
    apiKeys: new Set(),
    replies: [],
    models: options.models ?? defaultModels,
    usages: olderUsages(now()),
    me: undefined,
    searchResults: [],
    pages: new Map(),
    parallelLimit: Number.POSITIVE_INFINITY,
  };
  const api = createCodingApi(state, now, logins);
  const running = () =>
    log.entries.filter((one) => one.kind === "chat" && one.status === 200 && !one.finished).length;
  let mostChatsAtOnce = 0;

  const decide = (entry: OpenEntry): Answer => {
    switch (entry.kind) {
      case "device_authorization":
        return answerDeviceAuthorization(entry, device);
      case "device_poll":
      case "refresh":
      case "token":
        return answerToken(entry, device, logins);
      case "chat":
        return api.chat(entry, running());
      case "models":
      case "usages":
      case "me":
      case "search":
      case "fetch":
        return api[entry.kind](entry);
      case "other":
        return refuse(refusals.notFound);
    }
  };
  const commit = (entry: OpenEntry): Answer => {
    const answer = decide(entry);
    const { status, error, refused = false, reused = false, issued, usage } = answer;
    log.complete(entry, {
      status,
      refused,
      reused,
      ...(error === undefined ? {} : { error }),
      ...(issued ? { issued } : {}),
      ...(usage ? { usage } : {}),
    });
    mostChatsAtOnce = Math.max(mostChatsAtOnce, running());
    return answer;
  };

  const timers = new Set<NodeJS.Timeout>();
  const sleep = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        resolve();
      }, ms);
      timers.add(timer);
    });

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const entry = await readRequest(request, now());
    if (!entry) return;
    response.once("close", () => log.complete(entry, { finished: true }));
    log.arrive(entry);
    try {
      const fault = faults.take(entry);
      if (fault) log.complete(entry, "status" in fault ? { fault, status: fault.status } : { fault });
      await answerExchange({ response, fault, sleep, decide: () => commit(entry) });
    } catch (error) {
      // Most likely a `when` of the test; the client sees the connection break, the log says why.
      log.complete(entry, { error: `in the simulator: ${String(error)}` });
      response.destroy();
    }
  };
  server.on("request", (request, response) => {
    void serve(request, response);
  });

  return {
    url,
    oauthHost: url,
    baseUrl: `${url}${API_PATH}`,
    environment: { KIMI_CODE_OAUTH_HOST: url, KIMI_CODE_BASE_URL: `${url}${API_PATH}` },
    now,
    advance(ms) {
      offset += ms;
    },
    issueLogin: logins.issue,
    apiKeys: state.apiKeys,
    expireAccessTokens: () => logins.revokeAccess(),
    revokeAccessToken: logins.revokeAccess,
    revokeLogin: logins.revoke,
    isLoginAlive: (refreshToken) => logins.current(refreshToken) !== undefined,
    currentTokens: logins.current,
    scriptDevice: device.script,
    deviceResponse: device.patch,
    fault: faults.add,
    hold(rule) {
      let release = () => {};
      const delay = new Promise<void>((resolve) => {
        release = resolve;
      });
      faults.add({ ...rule, do: { delay } });
      return release;
    },
    reply(...completions) {
      state.replies.push(...completions);
    },
    setModels(models) {
      state.models = models;
    },
    setUsages(body) {
      state.usages = body;
    },
    setMe(body) {
      state.me = body;
    },
    setSearchResults(results) {
      state.searchResults = results;
    },
    setPage(url, text) {
      state.pages.set(url, text);
    },
    setParallelLimit(limit) {
      state.parallelLimit = limit;
    },
    log: log.entries,
    refreshes: () => log.entries.filter(({ kind }) => kind === "refresh"),
    reusedRefreshTokens: () => log.entries.filter(({ reused }) => reused).length,
    chats: () => log.entries.filter(({ kind }) => kind === "chat"),
    mostChatsAtOnce: () => mostChatsAtOnce,
    refused: () => log.entries.filter(({ refused }) => refused),
    secrets: () => [...logins.secrets(), ...device.secrets()],
    waitFor: log.waitFor,
    async close() {
      for (const timer of timers) clearTimeout(timer);
      log.end();
      await disconnect();
    },
  };
}
