/** The simulator is as strict as kimi-service.md says, and as faulty as a test orders. */
import { request } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CLIENT_ID,
  checkChatRequest,
  checkToolSchema,
  defaultModels,
  type IssuedToken,
  type KimiService,
  type KimiServiceOptions,
  type LogEntry,
  modelsOfSeptember2026,
  newerUsages,
  refusals,
  startKimiService,
} from "./kimi-service/index.ts";

let service: KimiService;
const others: KimiService[] = [];

beforeEach(async () => {
  service = await startKimiService();
});

afterEach(async () => {
  await Promise.all([service, ...others.splice(0)].map((one) => one.close()));
});

async function start(options: KimiServiceOptions): Promise<KimiService> {
  const started = await startKimiService(options);
  others.push(started);
  return started;
}

type Json = Record<string, unknown>;
const asJson = async (response: Response): Promise<Json> => JSON.parse(await response.text());

const postForm = (path: string, form: Record<string, string>, to = service) =>
  fetch(`${to.oauthHost}${path}`, { method: "POST", body: new URLSearchParams(form) });
const refresh = (refresh_token: string, to = service) =>
  postForm("/api/oauth/token", { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token }, to);
const authorize = () => postForm("/api/oauth/device_authorization", { client_id: CLIENT_ID });
const DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code";
const poll = (device_code: unknown) =>
  postForm("/api/oauth/token", {
    client_id: CLIENT_ID,
    device_code: String(device_code),
    grant_type: DEVICE_GRANT,
  });
const get = (path: string, token?: string, to = service) =>
  fetch(`${to.baseUrl}${path}`, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } });

const hello = {
  model: "kimi-for-coding",
  messages: [{ role: "user", content: "hello" }],
  stream: true,
  stream_options: { include_usage: true },
};
const KEY = "a-static-key";
/** A chat that passes the gate with a key that is accepted, unless `headers` say otherwise. */
function chat(body: unknown = hello, headers: Record<string, string> = {}, to = service): Promise<Response> {
  to.apiKeys.add(KEY);
  return fetch(`${to.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "User-Agent": "KimiCLI/1.5", Authorization: `Bearer ${KEY}`, ...headers },
    body: JSON.stringify(body),
  });
}

/** The events of a stream, parsed; undefined stands for `[DONE]`. */
async function events(response: Response): Promise<(Chunk | undefined)[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      expect(event.startsWith("data: ")).toBe(true);
      return event === "data: [DONE]" ? undefined : JSON.parse(event.slice(6));
    });
}

interface Chunk {
  readonly model: string;
  readonly choices: readonly {
    readonly delta: {
      readonly content?: string;
      readonly reasoning_content?: string;
      readonly tool_calls?: readonly {
        readonly index: number;
        readonly id?: string;
        readonly function: { readonly name?: string; readonly arguments: string };
      }[];
    };
    readonly finish_reason: string | null;
    readonly usage?: Json;
  }[];
  readonly usage?: Json;
}

const newest = (): LogEntry => {
  const entry = service.log.at(-1);
  if (!entry) throw new Error("nothing was logged");
  return entry;
};

describe("refresh tokens", () => {
  it("rotate: each is good for one use, and the answer says nothing of expires_at", async () => {
    const first = service.issueLogin();
    const answer = await refresh(first.refresh_token);
    expect(answer.status).toBe(200);
    const second = await asJson(answer);
    expect(Object.keys(second).sort()).toEqual([
      "access_token",
      "expires_in",
      "refresh_token",
      "scope",
      "token_type",
    ]);
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect(service.currentTokens(first.refresh_token)).toMatchObject(second);
    expect((await refresh(String(second.refresh_token))).status).toBe(200);
    expect(service.isLoginAlive(first.refresh_token)).toBe(true);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect(service.refreshes().map(({ status }) => status)).toEqual([200, 200]);
  });

  it("presented twice end the whole login with its access tokens, and no other login", async () => {
    const first = service.issueLogin();
    const other = service.issueLogin();
    const second = await asJson(await refresh(first.refresh_token));
    expect((await get("/models", String(second.access_token))).status).toBe(200);
    const reuse = await refresh(first.refresh_token);
    expect(reuse.status).toBe(400);
    expect(await asJson(reuse)).toEqual({
      error: "invalid_grant",
      error_description: "The provided authorization grant is invalid",
    });
    expect(service.reusedRefreshTokens()).toBe(1);
    expect(newest()).toMatchObject({ kind: "refresh", reused: true, refused: true, error: "invalid_grant" });
    expect((await get("/models", String(second.access_token))).status).toBe(401);
    expect((await refresh(String(second.refresh_token))).status).toBe(400);
    expect(service.reusedRefreshTokens()).toBe(1);
    expect(service.isLoginAlive(first.refresh_token)).toBe(false);
    expect(service.currentTokens(first.refresh_token)).toBeUndefined();
    expect(service.isLoginAlive(other.refresh_token)).toBe(true);
  });

  it("presented twice are only refused under the policy refuse", async () => {
    const lenient = await start({ reusePolicy: "refuse" });
    const first = lenient.issueLogin();
    const second = await asJson(await refresh(first.refresh_token, lenient));
    expect((await refresh(first.refresh_token, lenient)).status).toBe(400);
    expect(lenient.reusedRefreshTokens()).toBe(1);
    expect((await refresh(String(second.refresh_token), lenient)).status).toBe(200);
  });

  it("that are unknown or revoked are refused without counting as reused", async () => {
    const [login, other] = [service.issueLogin(), service.issueLogin()];
    service.revokeLogin(login.refresh_token);
    expect(service.isLoginAlive(other.refresh_token)).toBe(true);
    expect((await refresh(login.refresh_token)).status).toBe(400);
    expect((await refresh("never-issued")).status).toBe(400);
    expect(service.reusedRefreshTokens()).toBe(0);
    expect((await get("/models", login.access_token)).status).toBe(401);
    service.revokeLogin();
    expect(service.isLoginAlive(other.refresh_token)).toBe(false);
  });

  it("end after 30 days without use, and live on with it", async () => {
    const idle = service.issueLogin();
    const used = service.issueLogin();
    service.advance(29 * 86_400_000);
    const renewed = await asJson(await refresh(used.refresh_token));
    service.advance(2 * 86_400_000);
    expect(service.isLoginAlive(idle.refresh_token)).toBe(false);
    expect((await refresh(idle.refresh_token)).status).toBe(400);
    expect((await refresh(String(renewed.refresh_token))).status).toBe(200);
  });

  const form = { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token: "x" };
  it.each<[string, Record<string, string>, number, string]>([
    ["another client", { ...form, client_id: "someone-else" }, 401, "invalid_client"],
    ["another grant", { ...form, grant_type: "password" }, 400, "unsupported_grant_type"],
    ["no grant", { client_id: CLIENT_ID }, 400, "invalid_request"],
    ["no token", { client_id: CLIENT_ID, grant_type: "refresh_token" }, 400, "invalid_request"],
    ["no device code", { client_id: CLIENT_ID, grant_type: DEVICE_GRANT }, 400, "invalid_request"],
  ])("are not looked at with %s", async (_, fields, status, error) => {
    const answer = await postForm("/api/oauth/token", fields);
    expect(answer.status).toBe(status);
    expect(await asJson(answer)).toMatchObject({ error });
    expect(service.refused()).toHaveLength(1);
  });

  it.each([
    ["application/json", JSON.stringify(form)],
    ["text/plain", new URLSearchParams(form).toString()],
    ["application/x-www-form-urlencoded", `${new URLSearchParams(form)}&client_id=${CLIENT_ID}`],
  ])("must come as a form that says everything once: %s", async (type, body) => {
    const answer = await fetch(`${service.oauthHost}/api/oauth/token`, {
      method: "POST",
      headers: { "Content-Type": type },
      body,
    });
    expect(answer.status).toBe(400);
    expect(await asJson(answer)).toMatchObject({ error: "invalid_request" });
  });

  it("leave the order of the form in the log", async () => {
    await refresh(service.issueLogin().refresh_token);
    expect(Object.keys(newest().form ?? {})).toEqual(["client_id", "grant_type", "refresh_token"]);
  });
});

describe("access tokens", () => {
  it("end by the service's clock", async () => {
    let time = 1_000_000;
    const timed = await start({ now: () => time, accessTokenLifetime: 60 });
    const login = timed.issueLogin();
    expect(login).toMatchObject({ expires_in: 60, expires_at: 1060 });
    time += 59_999;
    expect((await get("/models", login.access_token, timed)).status).toBe(200);
    timed.advance(1);
    expect(timed.now()).toBe(1_060_000);
    expect((await get("/models", login.access_token, timed)).status).toBe(401);
    expect(timed.log.map(({ at }) => at)).toEqual([1_059_999, 1_060_000]);
    expect(timed.isLoginAlive(login.refresh_token)).toBe(true);
  });

  const statuses = (...tokens: IssuedToken[]) =>
    Promise.all(tokens.map(async ({ access_token }) => (await get("/models", access_token)).status));

  it("can be ended early: one, or all, with the login left alive", async () => {
    const [one, other] = [service.issueLogin(), service.issueLogin()];
    service.revokeAccessToken(one.access_token);
    expect(await statuses(one, other)).toEqual([401, 200]);
    service.expireAccessTokens();
    expect(await statuses(one, other, service.issueLogin())).toEqual([401, 401, 200]);
    expect((await refresh(one.refresh_token)).status).toBe(200);
  });

  it("that were rotated away stay good when only the current ones are revoked", async () => {
    const old = service.issueLogin();
    await refresh(old.refresh_token);
    const current = service.currentTokens(old.refresh_token);
    if (!current) throw new Error("no current tokens");
    service.revokeAccessToken();
    expect(await statuses(old, current)).toEqual([200, 401]);
  });

  it("are refused in the documented words", async () => {
    const answer = await get("/models", "nonsense");
    expect(answer.status).toBe(401);
    expect(await asJson(answer)).toEqual(refusals.unauthorized.body);
    expect((await get("/models")).status).toBe(401);
  });
});

describe("device authorization", () => {
  const begin = async (fields: Json = { interval: 0.05 }) => {
    service.deviceResponse(fields);
    return asJson(await authorize());
  };
  const errorOf = async (code: unknown) => (await asJson(await poll(code))).error;

  it("hands out codes and approves when there is no script", async () => {
    const body = await asJson(await authorize());
    expect(body).toMatchObject({ expires_in: 1800, interval: 5 });
    expect(body.verification_uri_complete).toBe(`${service.oauthHost}/device?user_code=${body.user_code}`);
    const token = await asJson(await poll(body.device_code));
    expect(service.isLoginAlive(String(token.refresh_token))).toBe(true);
    expect((await get("/models", String(token.access_token))).status).toBe(200);
    expect(service.secrets()).toEqual(
      expect.arrayContaining([token.access_token, token.refresh_token, body.device_code]),
    );
    expect(await errorOf(body.device_code)).toBe("invalid_grant");
    expect((await fetch(String(body.verification_uri_complete))).status).toBe(200);
  });

  it("tells each poll what the script says, across codes", async () => {
    service.scriptDevice(["pending", "slow_down", "expired", "denied", { approved: "someone else" }]);
    const first = await begin();
    expect(await errorOf(first.device_code)).toBe("authorization_pending");
    service.advance(6000);
    expect(await errorOf(first.device_code)).toBe("slow_down");
    service.advance(6000);
    expect(await errorOf(first.device_code)).toBe("expired_token");
    expect(await errorOf(first.device_code)).toBe("expired_token");
    const second = await begin();
    expect(await errorOf(second.device_code)).toBe("access_denied");
    expect(await errorOf(second.device_code)).toBe("access_denied");
    const third = await begin();
    const token = await asJson(await poll(third.device_code));
    expect(await asJson(await get("/me", String(token.access_token)))).toMatchObject({
      nickname: "someone else",
    });
    expect(service.refused()).toEqual([]);
  });

  it("tells a poll anything else that is scripted", async () => {
    service.scriptDevice([{ status: 503, body: "<html>" }]);
    const answer = await poll((await begin()).device_code);
    expect([answer.status, await answer.text()]).toEqual([503, "<html>"]);
  });

  it("slows down whoever polls faster than the interval, by 5 s each time (RFC 8628 section 3.5)", async () => {
    service.scriptDevice(["pending", "pending"]);
    const { device_code } = await begin({ interval: "1" });
    expect(await errorOf(device_code)).toBe("authorization_pending");
    expect(await errorOf(device_code)).toBe("slow_down");
    expect(newest().refused).toBe(true);
    service.advance(5000);
    expect(await errorOf(device_code)).toBe("slow_down");
    service.advance(11_000);
    expect(await errorOf(device_code)).toBe("authorization_pending");
  });

  it.each([undefined, "soon", "", -1, null])("takes an interval of %j for 5 s", async (interval) => {
    service.scriptDevice(["pending", "pending"]);
    const { device_code } = await begin({ interval });
    await poll(device_code);
    service.advance(4500);
    expect(await errorOf(device_code)).toBe("slow_down");
    service.advance(10_000);
    expect(await errorOf(device_code)).toBe("authorization_pending");
  });

  it("lets tests poll quickly with an interval under 1 s, or without strict polling", async () => {
    service.scriptDevice(["pending", "pending"]);
    const quick = await begin();
    expect(await errorOf(quick.device_code)).toBe("authorization_pending");
    expect(await errorOf(quick.device_code)).toBe("authorization_pending");
    const lenient = await start({ strictPolling: false });
    lenient.scriptDevice(["pending", "pending"]);
    const form = { client_id: CLIENT_ID };
    const { device_code } = await asJson(await postForm("/api/oauth/device_authorization", form, lenient));
    const again = { ...form, grant_type: DEVICE_GRANT, device_code: String(device_code) };
    for (const _ of [1, 2]) {
      const answer = await asJson(await postForm("/api/oauth/token", again, lenient));
      expect(answer.error).toBe("authorization_pending");
    }
  });

  it("forgets codes by its clock", async () => {
    const { device_code } = await begin({ expires_in: "60" });
    service.advance(60_000);
    expect(await errorOf(device_code)).toBe("expired_token");
  });

  it("answers with the fields a test puts or removes", async () => {
    const fields = { interval: "5", expires_in: undefined, verification_uri: "javascript:\u001b[2J" };
    const body = await begin(fields);
    expect(body).toMatchObject({ interval: "5", verification_uri: "javascript:\u001b[2J" });
    expect(body).not.toHaveProperty("expires_in");
    expect((await begin({ device_code: "mine" })).device_code).toBe("mine");
    expect((await poll("mine")).status).toBe(200);
    expect((await poll("not-mine")).status).toBe(400);
  });

  it("refuses another client", async () => {
    const answer = await postForm("/api/oauth/device_authorization", { client_id: "x" });
    expect(answer.status).toBe(401);
  });
});

describe("the gate", () => {
  it.each(["KimiCLI/1.5 (pi-kimi-coder/0.1)", "kimi-code-cli/2.1.0", "claude-code/2", "pi/0.87.1"])(
    "admits %s",
    async (agent) => {
      expect((await chat(hello, { "User-Agent": agent })).status).toBe(200);
    },
  );

  it.each(["", "OpenAI/JS 6.1", "kimicli/1.5", "my KimiCLI/1.5", "pi"])("keeps out %j", async (agent) => {
    const answer = await chat(hello, { "User-Agent": agent });
    expect(answer.status).toBe(403);
    expect(await asJson(answer)).toEqual(refusals.unknownAgent.body);
  });

  it("does not stand before models, usages and me, which want authorization alone", async () => {
    const { access_token } = service.issueLogin("ada");
    const bodies = await Promise.all(
      ["/models", "/usages", "/me"].map(async (path) => {
        const answer = await fetch(`${service.baseUrl}${path}`, {
          headers: { Authorization: `Bearer ${access_token}`, "User-Agent": "curl/8" },
        });
        return asJson(answer);
      }),
    );
    expect(bodies).toMatchObject([
      { data: defaultModels },
      { usage: { limit: "100" } },
      { nickname: "ada", user_level_name: expect.any(String) },
    ]);
    for (const path of ["/models", "/usages", "/me"]) expect((await get(path)).status).toBe(401);
  });

  it("wants a bearer for chats, and a membership for all", async () => {
    expect((await chat(hello, { Authorization: "Bearer x" })).status).toBe(401);
    expect((await chat(hello, { Authorization: KEY })).status).toBe(401);
    service.setMembership("lapsed");
    expect((await chat()).status).toBe(402);
    expect((await get("/models", KEY)).status).toBe(402);
    service.setMembership("active");
    expect((await chat()).status).toBe(200);
  });

  it("limits how many chats run at once", async () => {
    service.setParallelLimit(1);
    service.fault({ path: "chat", do: { stallStream: 1 } });
    const leaving = new AbortController();
    service.apiKeys.add(KEY);
    const first = await fetch(`${service.baseUrl}/chat/completions`, {
      method: "POST",
      headers: { "User-Agent": "KimiCLI/1.5", Authorization: `Bearer ${KEY}` },
      body: JSON.stringify(hello),
      signal: leaving.signal,
    });
    expect(first.status).toBe(200);
    const second = await chat();
    expect(second.status).toBe(403);
    expect(await asJson(second)).toEqual(refusals.concurrency.body);
    leaving.abort();
    await service.waitFor((entry) => entry.fault !== undefined && entry.finished);
    expect((await chat()).status).toBe(200);
  });

  it("knows no other path, nor a doubled slash", async () => {
    expect((await get("/nothing", KEY)).status).toBe(404);
    expect((await fetch(`${service.url}//api/oauth/token`, { method: "POST" })).status).toBe(404);
    expect((await fetch(`${service.baseUrl}/models`, { method: "POST" })).status).toBe(404);
    expect(service.refused()).toHaveLength(3);
  });

  it("answers what the test sets: models, usages, me", async () => {
    service.apiKeys.add(KEY);
    service.setModels(modelsOfSeptember2026);
    service.setUsages(newerUsages(service.now()));
    service.setMe({ nickname: "grace" });
    expect(await asJson(await get("/models", KEY))).toMatchObject({ data: modelsOfSeptember2026 });
    expect(await asJson(await get("/usages", KEY))).toMatchObject({
      usages: { limit_7d: { used_ratio: "0.26" } },
    });
    expect(await asJson(await get("/me", KEY))).toEqual({ nickname: "grace" });
    expect((await chat({ ...hello, model: "k3" })).status).toBe(200);
  });
});

const call = (id: string, name = "read") => ({ id, type: "function", function: { name, arguments: "{}" } });
const result = (tool_call_id: string) => ({ role: "tool", tool_call_id, content: "done" });
const user = { role: "user", content: "hello" };
const called = (...calls: unknown[]) => ({ role: "assistant", reasoning_content: "", tool_calls: calls });
const tool = (name: unknown, parameters: unknown = { type: "object", properties: {} }) => ({
  type: "function",
  function: { name, description: "what it does", parameters },
});
const image = (url: string) => ({
  role: "user",
  content: [
    { type: "text", text: "look" },
    { type: "image_url", image_url: { url } },
  ],
});
const off = { thinking: { type: "disabled" } };

describe("chat requests", () => {
  const accepted: [string, Json][] = [
    ["the simplest", {}],
    ["thinking with effort and keep", { thinking: { type: "enabled", effort: "max", keep: "all" } }],
    ["thinking off, and history without reasoning", { ...off, messages: [user, say("hi"), user] }],
    ["reasoning effort beside thinking", { thinking: { type: "enabled" }, reasoning_effort: "medium" }],
    ["a system prompt", { messages: [{ role: "system", content: "be brief" }, user] }],
    ["an image", { messages: [image("data:image/png;base64,AAAA")] }],
    ["an uploaded image", { messages: [image("ms://abc")] }],
    [
      "parallel tool calls, answered in any order",
      {
        messages: [user, called(call("a"), call("b")), result("b"), result("a"), user],
        tools: [tool("read")],
      },
    ],
    [
      "tool calls with content null",
      { messages: [user, { ...called(call("a")), content: null }, result("a")] },
    ],
    ["tool calls with text", { messages: [user, { ...called(call("a")), content: "so" }, result("a")] }],
    [
      "the same call id in a later turn",
      { messages: [user, called(call("a")), result("a"), called(call("a")), result("a")] },
    ],
    ["both output caps", { max_tokens: 1000, max_completion_tokens: 32_000 }],
    ["a cache key", { prompt_cache_key: "session" }],
    ["dashes and underscores in a name", { tools: [tool("mcp__a-b_2")] }],
    ["a tool without parameters", { tools: [{ type: "function", function: { name: "read" } }] }],
  ];
  it.each(accepted)("pass: %s", async (_, change) => {
    expect(checkChatRequest({ ...hello, ...change }, defaultModels)).toBeUndefined();
    expect((await chat({ ...hello, ...change })).status).toBe(200);
    expect(service.refused()).toEqual([]);
  });

  function say(content: unknown): Json {
    return { role: "assistant", content };
  }

  const refused: [string, Json, RegExp][] = [
    [
      "role developer",
      { messages: [{ role: "developer", content: "x" }] },
      /^role 'developer' is not allowed$/,
    ],
    ["an unknown role", { messages: [{ role: "function", content: "x" }] }, /role 'function'/],
    ["temperature", { temperature: 0.7 }, /^invalid temperature: only 1 is allowed/],
    ["temperature null", { temperature: null }, /invalid temperature/],
    ["top_p", { top_p: 0.95 }, /top_p/],
    ["tool_choice", { tool_choice: "auto" }, /tool_choice/],
    ["store", { store: false }, /store/],
    ["enable_thinking", { enable_thinking: true }, /enable_thinking/],
    ["clear_thinking", { clear_thinking: false }, /clear_thinking/],
    [
      "clear_thinking in thinking",
      { thinking: { type: "enabled", clear_thinking: false } },
      /clear_thinking/,
    ],
    ["strict in the body", { strict: true }, /strict/],
    ["strict in a tool", { tools: [{ ...tool("read"), strict: false }] }, /strict/],
    [
      "strict in a function",
      { tools: [{ type: "function", function: { name: "read", strict: false } }] },
      /strict/,
    ],
    [
      "an unknown effort",
      { thinking: { type: "enabled", effort: "medium" } },
      /effort: must be one of low, high, max/,
    ],
    [
      "effort for a model that declares none",
      { model: "kimi-k2.6", thinking: { type: "enabled", effort: "high" } },
      /none for this model/,
    ],
    ["an unknown thinking type", { thinking: { type: "auto" } }, /thinking type/],
    ["thinking without type", { thinking: {} }, /thinking type/],
    ["thinking as a word", { thinking: "enabled" }, /must be an object/],
    ["an unknown keep", { thinking: { type: "enabled", keep: "some" } }, /keep/],
    ["thinking off where it cannot be", { model: "kimi-k2-thinking", ...off }, /cannot be switched off/],
    ["reasoning effort max", { reasoning_effort: "max" }, /reasoning_effort/],
    ["reasoning effort null", { reasoning_effort: null }, /reasoning_effort/],
    [
      "an empty text part",
      { messages: [{ role: "user", content: [{ type: "text", text: "" }] }] },
      /^text content is empty$/,
    ],
    [
      "an empty user message",
      { messages: [{ role: "user", content: "" }] },
      /position 0 with role 'user' must not be empty/,
    ],
    ["a user message without parts", { messages: [{ role: "user", content: [] }] }, /must not be empty/],
    [
      "an empty assistant message",
      { messages: [user, { role: "assistant", content: "", reasoning_content: "hm" }, user] },
      /^the message at position 1 with role 'assistant' must not be empty$/,
    ],
    [
      "an assistant message of nothing",
      { ...off, messages: [user, { role: "assistant" }, user] },
      /must not be empty/,
    ],
    [
      "tool calls with an empty string",
      { messages: [user, { ...called(call("a")), content: "" }, result("a")] },
      /position 1 with role 'assistant' must not be empty/,
    ],
    [
      "tool calls with no parts",
      { messages: [user, { ...called(call("a")), content: [] }, result("a")] },
      /must not be empty/,
    ],
    [
      "an empty tool result",
      { messages: [user, called(call("a")), { ...result("a"), content: "" }] },
      /role 'tool' must not be empty/,
    ],
    [
      "reasoning missing beside tool calls",
      {
        thinking: { type: "enabled" },
        messages: [user, { role: "assistant", tool_calls: [call("a")] }, result("a")],
      },
      /^thinking is enabled but reasoning_content is missing in assistant tool call message at index 1$/,
    ],
    [
      "reasoning missing beside text",
      { messages: [user, say("hi"), user] },
      /missing in assistant message at index 1/,
    ],
    [
      "reasoning missing for a model that always thinks",
      { model: "kimi-k2-thinking", messages: [user, say("hi"), user] },
      /reasoning_content is missing/,
    ],
    [
      "reasoning that is no text",
      { ...off, messages: [user, { ...say("hi"), reasoning_content: null }, user] },
      /reasoning_content must be a string/,
    ],
    ["a result without a call", { messages: [user, result("a")] }, /^tool_call_id is not found$/],
    [
      "a result twice",
      { messages: [user, called(call("a")), result("a"), result("a")] },
      /tool_call_id is not found/,
    ],
    [
      "a result without id",
      { messages: [user, called(call("a")), { role: "tool", content: "x" }] },
      /tool_call_id/,
    ],
    [
      "a result too late",
      { messages: [user, called(call("a")), user, result("a")] },
      /did not have response messages: a$/,
    ],
    [
      "a call without a result",
      { messages: [user, called(call("a"), call("b")), result("a")] },
      /messages: b$/,
    ],
    ["two calls of one id", { messages: [user, called(call("a"), call("a")), result("a")] }, /duplicated/],
    [
      "a call of an impossible name",
      { messages: [user, called(call("a", "a.b")), result("a")] },
      /must start with a letter/,
    ],
    [
      "arguments that are no text",
      {
        messages: [
          user,
          called({ id: "a", type: "function", function: { name: "read", arguments: {} } }),
          result("a"),
        ],
      },
      /arguments must be a string/,
    ],
    [
      "a tool name with a dot",
      { tools: [tool("a.b")] },
      /must start with a letter and can contain letters, numbers/,
    ],
    ["a tool name with a digit first", { tools: [tool("1a")] }, /must start with a letter/],
    ["no tool name", { tools: [tool(null)] }, /must start with a letter/],
    ["two tools of one name", { tools: [tool("a"), tool("a")] }, /duplicated/],
    [
      "a tool schema that Kimi refuses",
      { tools: [tool("a", { type: "object", properties: { x: {} } })] },
      /is not a valid moonshot flavored json schema, details: <At path 'properties.x': type is not defined>$/,
    ],
    ["a tool that is none", { tools: [null] }, /tool type must be function/],
    ["a tool of another type", { tools: [{ ...tool("a"), type: "builtin" }] }, /tool type must be function/],
    ["a tool without function", { tools: [{ type: "function" }] }, /tool type must be function/],
    [
      "a call of another type",
      { messages: [user, called({ ...call("a"), type: "custom" }), result("a")] },
      /tool call type must be function/,
    ],
    [
      "a call without function",
      { messages: [user, called({ id: "a", type: "function" }), result("a")] },
      /tool call type must be function/,
    ],
    ["an unknown model", { model: "gpt-5" }, /Not found the model gpt-5/],
    ["a cap of nothing", { max_tokens: 0 }, /positive/],
    ["a cap below nothing", { max_completion_tokens: -1 }, /positive/],
    ["a broken cap", { max_tokens: 1.5 }, /positive/],
    [
      "a cap larger than what is left",
      { max_tokens: 262_144 },
      /Your request exceeded model token limit: 262144$/,
    ],
    ["a larger cap of the two", { max_tokens: 10, max_completion_tokens: 262_144 }, /token limit/],
    [
      "a prompt larger than the context",
      { messages: [{ role: "user", content: "x".repeat(1_048_577) }] },
      /token limit/,
    ],
    ["no stream", { stream: false }, /stream must be true/],
    ["no usage", { stream_options: {} }, /include_usage/],
    ["no messages", { messages: [] }, /messages must not be empty/],
    ["an image from elsewhere", { messages: [image("https://example.com/a.png")] }, /invalid image_url/],
    [
      "an unknown part",
      { messages: [{ role: "user", content: [{ type: "thinking" }] }] },
      /content type 'thinking'/,
    ],
    ["an empty cache key", { prompt_cache_key: "" }, /prompt_cache_key/],
  ];
  it.each(refused)("are refused: %s", async (_, change, message) => {
    const body = { ...hello, ...change };
    expect(checkChatRequest(body, defaultModels)).toMatch(message);
    const answer = await chat(body);
    expect(answer.status).toBe(400);
    expect(await asJson(answer)).toEqual({
      error: { type: "invalid_request_error", message: expect.stringMatching(message) },
    });
    expect(service.refused()).toEqual([newest()]);
    expect(newest()).toMatchObject({ kind: "chat", body, error: expect.stringMatching(message) });
  });

  it("are refused when they are no JSON object", async () => {
    const answer = await chat([hello]);
    expect(answer.status).toBe(400);
    expect((await chat(null)).status).toBe(400);
  });

  it("may ask for the whole context when they come from kimi-code, as its first ones do", async () => {
    const whole = { ...hello, max_completion_tokens: 262_144 };
    expect((await chat(whole, { "User-Agent": "kimi-code-cli/2.1.0" })).status).toBe(200);
    const overfull = { ...whole, messages: [{ role: "user", content: "x".repeat(1_048_577) }] };
    expect((await chat(overfull, { "User-Agent": "kimi-code-cli/2.1.0" })).status).toBe(400);
    expect((await chat(whole)).status).toBe(400);
  });

  it("are judged by what the model takes", () => {
    const [model] = defaultModels;
    if (!model) throw new Error("no model");
    const blind = [{ ...model, supports_image_in: false, supports_thinking_type: "no" as const }];
    const seeing = { ...hello, messages: [image("data:image/png;base64,AAAA")] };
    expect(checkChatRequest(seeing, blind)).toMatch(/image input is not supported/);
    expect(checkChatRequest({ ...hello, thinking: { type: "enabled" } }, blind)).toMatch(
      /not support thinking/,
    );
    expect(checkChatRequest({ ...hello, messages: [user, say("hi"), user] }, blind)).toBeUndefined();
  });
});

describe("tool schemas", () => {
  const property = (x: unknown) => ({ type: "object", properties: { x } });
  const node = { type: "object", properties: { next: { $ref: "#/$defs/node" } } };

  it.each<[string, unknown]>([
    ["no properties", { type: "object" }],
    ["every simple type", property({ type: "string", enum: ["a"], description: "d", minLength: 1 })],
    ["anyOf with types inside", property({ anyOf: [{ type: "string" }, { type: "null" }] })],
    ["several types", property({ type: ["string", "null"], enum: ["a", null] })],
    ["a cycle through $defs", { ...property({ $ref: "#/$defs/node" }), $defs: { node } }],
    ["an escaped reference", { ...property({ $ref: "#/$defs/a~1b" }), $defs: { "a/b": { type: "string" } } }],
    ["required of known properties", { ...property({ type: "string" }), required: ["x"] }],
    ["additionalProperties as switch", { ...property({ type: "string" }), additionalProperties: false }],
    ["an integer among numbers", property({ type: "number", enum: [1, 1.5] })],
    [
      "properties named like keywords",
      property({ type: "object", properties: { type: { type: "string" } } }),
    ],
  ])("pass: %s", (_, schema) => {
    expect(checkToolSchema(schema)).toBeUndefined();
  });

  it.each<[string, unknown, string]>([
    ["no object", true, "At path ''"],
    ["another root", { type: "string" }, "At path ''"],
    ["a root without type", { properties: {} }, "At path '': type is not defined"],
    [
      "a property without type",
      property({ description: "d" }),
      "At path 'properties.x': type is not defined",
    ],
    ["enum without type", property({ enum: ["a"] }), "type is not defined"],
    ["items without type", property({ type: "array", items: {} }), "At path 'properties.x.items': type is"],
    [
      "additionalProperties without type",
      property({ type: "object", additionalProperties: {} }),
      "additionalProp",
    ],
    ["an alternative without type", property({ anyOf: [{}] }), "At path 'properties.x.anyOf.0': type is"],
    ["oneOf in the place of a type", property({ oneOf: [{ type: "string" }] }), "type is not defined"],
    ["a definition without type", { type: "object", $defs: { a: {} } }, "At path '$defs.a': type is"],
    ["type beside anyOf", property({ type: "string", anyOf: [{ type: "string" }] }), "when using anyOf"],
    ["empty anyOf", property({ anyOf: [] }), "anyOf must be"],
    ["tuple items", property({ type: "array", items: [{ type: "string" }] }), "x.items': tuple"],
    ["prefixItems", property({ type: "array", prefixItems: [{ type: "string" }] }), "tuple"],
    ["a boolean property", property(true), "At path 'properties.x': boolean"],
    ["a null property", property(null), "At path 'properties.x': schema must be an object"],
    ["boolean items", property({ type: "array", items: true }), "boolean"],
    ["unknown required", { ...property({ type: "string" }), required: ["x", "y"] }, "property 'y'"],
    ["required by prototype", { ...property({ type: "string" }), required: ["toString"] }, "'toString'"],
    ["required without properties", { type: "object", required: ["y"] }, "property 'y'"],
    [
      "a reference to definitions",
      { ...property({ $ref: "#/definitions/a" }), definitions: { a: node } },
      "#/$defs/",
    ],
    ["a reference to the root", property({ $ref: "#" }), "#/$defs/"],
    ["a reference to nothing", property({ $ref: "#/$defs/a" }), "is not defined"],
    ["an enum of another type", property({ type: "string", enum: ["a", 1] }), "enum value"],
    ["a broken integer", property({ type: "integer", enum: [1.5] }), "enum value"],
    ["a const of another type", property({ type: "boolean", const: "true" }), "const value"],
    ["an empty enum", property({ type: "string", enum: [] }), "enum must be"],
    ["an unknown type", property({ type: "file" }), "type is not valid"],
    ["no type at all", property({ type: [] }), "type is not valid"],
  ])("are refused: %s", (_, schema, problem) => {
    expect(checkToolSchema(schema)).toContain(problem);
  });
});

describe("streams", () => {
  it("carry thinking, then text, then tool calls, then usage in two places", async () => {
    service.reply({
      thinking: "First I think about 👩‍💻 for a while.",
      text: "Then I say it, naïvely.",
      toolCalls: [
        { id: "call_1", name: "read", arguments: { path: "a.txt" } },
        { name: "bash", arguments: {} },
      ],
      usage: { cached_tokens: 7 },
    });
    const answer = await chat({ ...hello, messages: [user, called(call("read:0")), result("read:0")] });
    expect(answer.headers.get("content-type")).toMatch(/^text\/event-stream/);
    const all = await events(answer);
    expect(all.at(-1)).toBeUndefined();
    const chunks = all.filter((chunk) => chunk !== undefined);
    const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta));
    const kinds = deltas.map((delta) =>
      delta.reasoning_content ? "thinking" : delta.content ? "text" : delta.tool_calls ? "call" : "",
    );
    expect(kinds.filter((kind, at) => kind !== "" && kind !== kinds[at - 1])).toEqual([
      "thinking",
      "text",
      "call",
    ]);
    expect(kinds.filter((kind) => kind === "thinking").length).toBeGreaterThan(1);
    const joined = (field: "content" | "reasoning_content") =>
      deltas.map((delta) => delta[field] ?? "").join("");
    expect(joined("reasoning_content")).toBe("First I think about 👩‍💻 for a while.");
    expect(joined("content")).toBe("Then I say it, naïvely.");
    const parts = deltas.flatMap((delta) => delta.tool_calls ?? []);
    const callAt = (index: number) => {
      const own = parts.filter((part) => part.index === index);
      return [own[0]?.id, own[0]?.function.name, own.map((part) => part.function.arguments).join("")];
    };
    expect(callAt(0)).toEqual(["call_1", "read", '{"path":"a.txt"}']);
    expect(callAt(1)).toEqual(["bash:2", "bash", "{}"]);
    const [finish, last] = chunks.slice(-2);
    expect(finish?.choices[0]?.finish_reason).toBe("tool_calls");
    expect(last?.choices).toEqual([]);
    expect(last?.usage).toEqual(finish?.choices[0]?.usage);
    expect(last?.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 7 } });
    expect(newest().usage?.total_tokens).toBe(last?.usage?.total_tokens);
  });

  it("echo when there is no script, and without thinking where it is off", async () => {
    const said = async (body: unknown) => {
      const chunks = (await events(await chat(body))).flatMap((chunk) => chunk?.choices ?? []);
      return {
        thought: chunks.some(({ delta }) => delta.reasoning_content !== undefined),
        text: chunks.map(({ delta }) => delta.content ?? "").join(""),
        finish: chunks.at(-1)?.finish_reason,
      };
    };
    expect(await said(hello)).toEqual({ thought: true, text: "You said: hello", finish: "stop" });
    expect(await said({ ...hello, ...off })).toMatchObject({ thought: false });
    const seeing = { ...hello, messages: [image("data:image/png;base64,AAAA")] };
    expect(await said(seeing)).toMatchObject({ text: "You said: look [attachment]" });
    service.reply({ thinking: "hidden", text: "one", finishReason: "length" });
    expect(await said({ ...hello, ...off })).toEqual({ thought: false, text: "one", finish: "length" });
  });

  it("name the model that was asked", async () => {
    for (const { id } of defaultModels) {
      const chunks = await events(await chat({ ...hello, model: id }));
      expect(chunks.map((chunk) => chunk?.model ?? id)).toEqual(chunks.map(() => id));
      expect(chunks[0]?.model).toBe(id);
    }
  });

  it("say what was cached in the details or at the top", async () => {
    service.reply({ text: "a", cachedTokensAt: "top", usage: { cached_tokens: 3, prompt_tokens: 5 } });
    const usage = (await events(await chat())).at(-2)?.usage;
    expect(usage).toMatchObject({ prompt_tokens: 5, cached_tokens: 3, total_tokens: 6 });
    expect(usage).not.toHaveProperty("prompt_tokens_details");
  });
});

describe("the prompt cache", () => {
  const long = { role: "system", content: "x".repeat(4000) };
  const turn = { ...hello, prompt_cache_key: "one", messages: [long, user], tools: [tool("read")] };
  const next = [long, user, { role: "assistant", content: "hi", reasoning_content: "" }, user];
  const cachedOf = async (body: unknown) => {
    await (await chat(body)).text();
    return newest().usage?.cached_tokens ?? -1;
  };

  it("holds what an earlier request of the same key began with", async () => {
    expect(await cachedOf(turn)).toBe(0);
    const first = newest().usage?.prompt_tokens ?? 0;
    expect(first).toBeGreaterThan(1000);
    const cached = await cachedOf({ ...turn, messages: next });
    expect(first - cached).toBeLessThanOrEqual(1);
    expect(newest().usage?.prompt_tokens).toBeGreaterThan(cached);
  });

  it.each<[string, Json]>([
    ["another key", { prompt_cache_key: "two" }],
    ["no key", { prompt_cache_key: undefined }],
    ["another effort", { thinking: { type: "enabled", effort: "low" } }],
    ["another tool list", { tools: [] }],
    ["another system prompt", { messages: [{ ...long, content: `y${long.content}` }, user] }],
    ["another model", { model: "kimi-k2.6" }],
  ])("is lost with %s", async (_, change) => {
    await cachedOf(turn);
    expect(await cachedOf({ ...turn, ...change })).toBeLessThan(100);
  });

  it("counts images alike whatever their size", async () => {
    const one = { ...hello, prompt_cache_key: "one" };
    await cachedOf({ ...one, messages: [image(`data:image/png;base64,${"A".repeat(2_000_000)}`)] });
    const { prompt_tokens = 0 } = newest().usage ?? {};
    expect(prompt_tokens).toBeLessThan(1100);
    expect(await cachedOf({ ...one, messages: [image("data:image/png;base64,AAAB")] })).toBeLessThan(100);
    expect(newest().usage?.prompt_tokens).toBe(prompt_tokens);
  });
});

describe("faults", () => {
  it("drop before: the token was not used, so the same one works", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", grant: "refresh_token", do: { drop: "before" } });
    await expect(refresh(login.refresh_token)).rejects.toThrow();
    expect(newest()).toMatchObject({ kind: "refresh", status: 0, refused: false, fault: { drop: "before" } });
    expect(service.currentTokens(login.refresh_token)).toEqual(login);
    expect((await refresh(login.refresh_token)).status).toBe(200);
    expect(service.reusedRefreshTokens()).toBe(0);
  });

  it("drop after: the token was used, the answer is lost, and repeating it ends the login", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", do: { drop: "after" } });
    await expect(refresh(login.refresh_token)).rejects.toThrow();
    expect(newest()).toMatchObject({ status: 200, issued: service.currentTokens(login.refresh_token) });
    expect(service.currentTokens(login.refresh_token)).not.toEqual(login);
    expect((await refresh(login.refresh_token)).status).toBe(400);
    expect(service.isLoginAlive(login.refresh_token)).toBe(false);
  });

  it("drop after, at the approval of a device, has used the code up", async () => {
    const { device_code } = await asJson(await authorize());
    service.fault({ path: "token", grant: "device_code", do: { drop: "after" } });
    await expect(poll(device_code)).rejects.toThrow();
    expect(newest().issued).toBeDefined();
    expect((await poll(device_code)).status).toBe(400);
  });

  it("answer anything instead, as often as told, and commit nothing", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", times: 2, do: { status: 502, body: "<html>Bad gateway</html>" } });
    service.fault({ path: "token", do: { ...refusals.rateLimited(3) } });
    const page = await refresh(login.refresh_token);
    expect([page.status, page.headers.get("content-type"), await page.text()]).toEqual([
      502,
      "text/html",
      "<html>Bad gateway</html>",
    ]);
    expect(newest()).toMatchObject({ status: 502, refused: false });
    expect((await refresh(login.refresh_token)).status).toBe(502);
    const limited = await refresh(login.refresh_token);
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "3"]);
    expect(await asJson(limited)).toEqual(refusals.rateLimited().body);
    expect((await refresh(login.refresh_token)).status).toBe(200);
    expect(service.refused()).toEqual([]);
  });

  it.each(["device_authorization", "models", "usages", "me", "chat", "token"] as const)(
    "hit %s and nothing else, until they are ended",
    async (path) => {
      const end = service.fault({ path, times: Number.POSITIVE_INFINITY, do: { status: 418, body: {} } });
      const statuses = async () => {
        const { access_token, refresh_token } = service.issueLogin();
        const answers = await Promise.all([
          authorize(),
          get("/models", access_token),
          get("/usages", access_token),
          get("/me", access_token),
          chat(),
          refresh(refresh_token),
        ]);
        return answers.map(({ status }) => status);
      };
      const kinds = ["device_authorization", "models", "usages", "me", "chat", "token"];
      const expected = kinds.map((kind) => (kind === path ? 418 : 200));
      expect(await statuses()).toEqual(expected);
      expect(await statuses()).toEqual(expected);
      end();
      expect(await statuses()).toEqual(kinds.map(() => 200));
    },
  );

  it("can be aimed by grant and by request", async () => {
    const [one, other] = [service.issueLogin(), service.issueLogin()];
    service.fault({
      path: "token",
      grant: "refresh_token",
      when: (entry) => entry.refreshToken === other.refresh_token,
      do: { status: 500 },
    });
    const { device_code } = await asJson(await authorize());
    expect((await poll(device_code)).status).toBe(200);
    expect((await refresh(one.refresh_token)).status).toBe(200);
    expect((await refresh(other.refresh_token)).status).toBe(500);
    expect((await refresh(other.refresh_token)).status).toBe(200);
  });

  it("delay an answer that was committed on arrival, or later", async () => {
    const [early, late] = [service.issueLogin(), service.issueLogin()];
    service.fault({ path: "token", do: { delay: 50 } });
    const begun = performance.now();
    const first = refresh(early.refresh_token);
    await service.waitFor(({ kind, status }) => kind === "refresh" && status === 200);
    expect(newest().finished).toBe(false);
    expect(service.currentTokens(early.refresh_token)).not.toEqual(early);
    expect((await first).status).toBe(200);
    expect(performance.now() - begun).toBeGreaterThan(45);
    service.fault({ path: "token", do: { delay: 50, commit: "late" } });
    const second = refresh(late.refresh_token);
    await service.waitFor(({ refreshToken }) => refreshToken === late.refresh_token);
    expect(service.currentTokens(late.refresh_token)).toEqual(late);
    expect((await second).status).toBe(200);
    expect(service.currentTokens(late.refresh_token)).not.toEqual(late);
  });

  it("hang until the client leaves, committed or not", async () => {
    for (const commit of [false, true]) {
      const login = service.issueLogin();
      service.fault({ path: "token", do: { hang: true, commit } });
      const leaving = new AbortController();
      const hanging = fetch(`${service.oauthHost}/api/oauth/token`, {
        method: "POST",
        body: new URLSearchParams({
          client_id: CLIENT_ID,
          grant_type: "refresh_token",
          refresh_token: login.refresh_token,
        }),
        signal: leaving.signal,
      });
      const left = expect(hanging).rejects.toThrow();
      const ours = ({ refreshToken }: LogEntry) => refreshToken === login.refresh_token;
      await service.waitFor((entry) => ours(entry) && entry.fault !== undefined);
      leaving.abort();
      await left;
      const entry = await service.waitFor((one) => ours(one) && one.finished);
      expect(entry.status).toBe(commit ? 200 : 0);
      expect(service.currentTokens(login.refresh_token) === login).toBe(!commit);
    }
  });

  it("cut a stream after so many events", async () => {
    service.fault({ path: "chat", do: { cutStream: 2 } });
    const answer = await chat();
    expect(answer.status).toBe(200);
    let heard = "";
    const decoder = new TextDecoder();
    const listen = async () => {
      for await (const piece of answer.body ?? []) heard += decoder.decode(piece, { stream: true });
    };
    await expect(listen()).rejects.toThrow();
    expect(heard.match(/^data: /gm)).toHaveLength(2);
  });

  it("cut any other answer in the middle, after it was committed", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", do: { cutStream: 10 } });
    const answer = await refresh(login.refresh_token);
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
    expect(service.currentTokens(login.refresh_token)).not.toEqual(login);
  });

  it("put anything on the wire", async () => {
    service.fault({ path: "models", do: { raw: "SMTP ready\r\n\r\n" } });
    await expect(get("/models", KEY)).rejects.toThrow();
    service.fault({ path: "models", do: { raw: "HTTP/1.1 204 Fine\r\n\r\n" } });
    expect((await get("/models", KEY)).status).toBe(204);
  });

  it("say in the log when the test's own condition fails", async () => {
    const fail = (): boolean => {
      throw new Error("my mistake");
    };
    service.fault({ path: "models", when: fail, do: { status: 500 } });
    await expect(get("/models")).rejects.toThrow();
    expect(service.log).toMatchObject([{ kind: "models", error: expect.stringContaining("my mistake") }]);
  });
});

describe("the log", () => {
  it("keeps what was sent", async () => {
    await (await chat({ ...hello, prompt_cache_key: "s" }, { "X-Msh-Platform": "kimi_cli" })).text();
    expect(newest()).toMatchObject({
      kind: "chat",
      method: "POST",
      path: "/coding/v1/chat/completions",
      headers: { "user-agent": "KimiCLI/1.5", "x-msh-platform": "kimi_cli" },
      body: { prompt_cache_key: "s" },
      accessToken: KEY,
      status: 200,
      refused: false,
    });
    expect(service.chats()).toEqual([newest()]);
    expect(service.environment).toEqual({
      KIMI_CODE_OAUTH_HOST: service.url,
      KIMI_CODE_BASE_URL: `${service.url}/coding/v1`,
    });
  });

  it("wakes whoever waits, for what has been and for what comes", async () => {
    const coming = service.waitFor(({ kind }) => kind === "usages");
    await get("/usages");
    expect(await coming).toBe(newest());
    expect(await service.waitFor(({ kind }) => kind === "usages")).toBe(newest());
  });

  it("gives up waiting in time, or when the service closes, naming what was seen but no token", async () => {
    await refresh(service.issueLogin().refresh_token);
    await expect(service.waitFor(() => false, 1)).rejects.toThrow(
      "within 1 ms; requests so far: refresh 200",
    );
    const waiting = service.waitFor(() => false);
    const outcome = expect(waiting).rejects.toThrow("closed");
    await service.close();
    await outcome;
  });
});

describe("closing", () => {
  it("ends open connections, delays and hangs at once", async () => {
    service.fault({ path: "models", do: { hang: true } });
    service.fault({ path: "models", do: { delay: 60_000 } });
    const open = [get("/models"), get("/models")].map((answer) => expect(answer).rejects.toThrow());
    const partial = request(`${service.baseUrl}/chat/completions`, { method: "POST" });
    const cut = new Promise((resolve) => partial.once("error", resolve));
    partial.flushHeaders();
    await service.waitFor(() => service.log.length === 2);
    await service.close();
    await service.close();
    await Promise.all([...open, cut]);
  });
});
