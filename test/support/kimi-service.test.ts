/** The simulator refuses, rotates and fails as other tests count on, where these would not tell that it does not. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CLIENT_ID,
  checkChatRequest,
  checkToolSchema,
  defaultModels,
  type KimiService,
  type LogEntry,
  refusals,
  startKimiService,
} from "./kimi-service/index.ts";

let service: KimiService;
beforeEach(async () => {
  service = await startKimiService();
});
afterEach(() => service.close());

type Json = Record<string, unknown>;
const asJson = async (response: Response): Promise<Json> => JSON.parse(await response.text());

const postForm = (path: string, form: Record<string, string>) =>
  fetch(`${service.oauthHost}/api/oauth/${path}`, { method: "POST", body: new URLSearchParams(form) });
const refresh = (refresh_token: string) =>
  postForm("token", { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token });
const authorize = async () => asJson(await postForm("device_authorization", { client_id: CLIENT_ID }));
const poll = async (device_code: unknown) => {
  const grant_type = "urn:ietf:params:oauth:grant-type:device_code";
  const form = { client_id: CLIENT_ID, device_code: String(device_code), grant_type };
  return asJson(await postForm("token", form));
};
const get = (path: string, token: string) =>
  fetch(`${service.baseUrl}${path}`, { headers: { Authorization: `Bearer ${token}` } });

const hello = {
  model: "kimi-for-coding",
  messages: [{ role: "user", content: "hello" }],
  stream: true,
  stream_options: { include_usage: true },
};
const KEY = "a-static-key";
/** A post that passes the gate with a key that is accepted, unless `headers` say otherwise. */
function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  service.apiKeys.add(KEY);
  return fetch(`${service.baseUrl}${path}`, {
    method: "POST",
    headers: { "User-Agent": "KimiCLI/1.5", Authorization: `Bearer ${KEY}`, ...headers },
    body: JSON.stringify(body),
  });
}
const chat = (body: unknown = hello, headers?: Record<string, string>) =>
  post("/chat/completions", body, headers);

const newest = (): LogEntry => {
  const entry = service.log.at(-1);
  if (!entry) throw new Error("nothing was logged");
  return entry;
};

describe("refresh tokens", () => {
  it("rotate: each is good for one use, and the answer says nothing of expires_at", async () => {
    const first = service.issueLogin();
    const second = await asJson(await refresh(first.refresh_token));
    expect(second).not.toHaveProperty("expires_at");
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect(service.currentTokens(first.refresh_token)).toMatchObject(second);
    expect((await refresh(String(second.refresh_token))).status).toBe(200);
    expect(service.isLoginAlive(first.refresh_token)).toBe(true);
    expect(service.reusedRefreshTokens()).toBe(0);
  });

  it("presented twice end the whole login with its access tokens, and no other login", async () => {
    const first = service.issueLogin();
    const other = service.issueLogin();
    const second = await asJson(await refresh(first.refresh_token));
    const reuse = await refresh(first.refresh_token);
    expect([reuse.status, await asJson(reuse)]).toMatchObject([400, { error: "invalid_grant" }]);
    expect(newest()).toMatchObject({ kind: "refresh", reused: true, refused: true, error: "invalid_grant" });
    expect(service.reusedRefreshTokens()).toBe(1);
    expect((await get("/models", String(second.access_token))).status).toBe(401);
    expect((await refresh(String(second.refresh_token))).status).toBe(400);
    expect(service.isLoginAlive(first.refresh_token)).toBe(false);
    expect(service.isLoginAlive(other.refresh_token)).toBe(true);
  });

  it("that are unknown or revoked are refused without counting as reused", async () => {
    const login = service.issueLogin();
    service.revokeLogin(login.refresh_token);
    expect((await refresh(login.refresh_token)).status).toBe(400);
    expect((await refresh("never-issued")).status).toBe(400);
    expect(service.reusedRefreshTokens()).toBe(0);
  });

  const form = { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token: "x" };
  it.each<[string, Record<string, string>, string]>([
    ["another client", { ...form, client_id: "someone-else" }, "invalid_client"],
    ["another grant", { ...form, grant_type: "password" }, "unsupported_grant_type"],
    ["no token", { client_id: CLIENT_ID, grant_type: "refresh_token" }, "invalid_request"],
  ])("are not looked at with %s", async (_, fields, error) => {
    expect(await asJson(await postForm("token", fields))).toMatchObject({ error });
    expect(service.refused()).toHaveLength(1);
  });
});

it("access tokens end by the service's clock, or early: one, or all", async () => {
  await service.close();
  service = await startKimiService({ now: () => 1_000_000, accessTokenLifetime: 60 });
  const [one, other] = [service.issueLogin(), service.issueLogin()];
  expect(one).toMatchObject({ expires_in: 60, expires_at: 1060 });
  const status = async (token: unknown) => (await get("/models", String(token))).status;
  service.advance(59_999);
  service.revokeAccessToken(one.access_token);
  expect([await status(one.access_token), await status(other.access_token)]).toEqual([401, 200]);
  service.advance(1);
  expect(await status(other.access_token)).toBe(401);
  const renewed = await asJson(await refresh(other.refresh_token));
  expect(await status(renewed.access_token)).toBe(200);
  service.revokeAccessToken();
  expect(await status(renewed.access_token)).toBe(401);
  expect(service.isLoginAlive(other.refresh_token)).toBe(true);
});

describe("a device code", () => {
  it("is approved once where there is no script, and what is handed out is a secret", async () => {
    const body = await authorize();
    expect(body).toMatchObject({ expires_in: 1800, interval: 5 });
    const token = await poll(body.device_code);
    expect(service.isLoginAlive(String(token.refresh_token))).toBe(true);
    expect(service.secrets()).toEqual(
      expect.arrayContaining([token.access_token, token.refresh_token, body.device_code]),
    );
    expect(await poll(body.device_code)).toMatchObject({ error: "invalid_grant" });
  });

  it("slows down whoever polls faster than the interval, by 5 s each time (RFC 8628 section 3.5)", async () => {
    service.scriptDevice(["pending", "pending"]);
    service.deviceResponse({ interval: 1 });
    const { device_code } = await authorize();
    expect(await poll(device_code)).toMatchObject({ error: "authorization_pending" });
    expect(await poll(device_code)).toMatchObject({ error: "slow_down" });
    expect(newest().refused).toBe(true);
    service.advance(5000);
    expect(await poll(device_code)).toMatchObject({ error: "slow_down" });
    service.advance(11_000);
    expect(await poll(device_code)).toMatchObject({ error: "authorization_pending" });
  });

  it("ends by the service's clock", async () => {
    service.deviceResponse({ expires_in: 60 });
    const { device_code } = await authorize();
    service.advance(60_000);
    expect(await poll(device_code)).toMatchObject({ error: "expired_token" });
  });
});

describe("the gate", () => {
  it.each(["", "OpenAI/JS 6.1", "my KimiCLI/1.5"])("keeps out %j", async (agent) => {
    const answer = await chat(hello, { "User-Agent": agent });
    expect([answer.status, await asJson(answer)]).toEqual([403, refusals.unknownAgent.body]);
  });

  it("wants a bearer for everything, and lets any agent ask for what is no chat", async () => {
    const answer = await chat(hello, { Authorization: "Bearer x" });
    expect([answer.status, await asJson(answer)]).toEqual([401, refusals.unauthorized.body]);
    const { access_token } = service.issueLogin();
    for (const path of ["/models", "/usages", "/me"]) {
      expect((await get(path, access_token)).status).toBe(200);
      expect((await get(path, "x")).status).toBe(401);
    }
  });

  it("knows no other path, nor a doubled slash", async () => {
    expect((await get("/nothing", KEY)).status).toBe(404);
    expect((await fetch(`${service.url}//api/oauth/token`, { method: "POST" })).status).toBe(404);
    expect(service.refused()).toHaveLength(2);
  });
});

describe("searches and fetches", () => {
  const identity = {
    "Content-Type": "application/json",
    Accept: "text/markdown",
    "X-Msh-Tool-Call-Id": "call_1",
    "X-Msh-Platform": "kimi_cli",
    "X-Msh-Version": "1.5",
    "X-Msh-Device-Name": "here",
    "X-Msh-Device-Model": "Linux 6 x86_64",
    "X-Msh-Os-Version": "#1",
    "X-Msh-Device-Id": "0",
  };
  const search = { text_query: "a" };
  const page = { url: "https://a.com/" };

  it.each<[string, string, unknown, object, number]>([
    ["a search", "/search", search, {}, 200],
    ["a page", "/fetch", page, {}, 200],
    ["a page that is not there", "/fetch", { url: "https://b.com/" }, {}, 404],
    ["an unknown member", "/search", { ...search, query: "a" }, {}, 400],
    ["a file", "/fetch", { url: "file:///etc/passwd" }, {}, 400],
    ["no call", "/search", search, { "X-Msh-Tool-Call-Id": "" }, 400],
    ["half an identity", "/search", search, { "X-Msh-Device-Id": "" }, 400],
    ["another form of page", "/fetch", page, { Accept: "application/json" }, 400],
    ["another agent", "/search", search, { "User-Agent": "curl/8" }, 403],
    ["another key", "/search", search, { Authorization: "Bearer x" }, 401],
  ])("answer %s: %s", async (_, path, body, headers, status) => {
    service.setPage(page.url, "# A");
    expect((await post(path, body, { ...identity, ...headers })).status).toBe(status);
  });
});

const call = (id: string) => ({ id, type: "function", function: { name: "read", arguments: "{}" } });
const result = (tool_call_id: string) => ({ role: "tool", tool_call_id, content: "done" });
const user = { role: "user", content: "hello" };
const said = { role: "assistant", content: "hi" };
const called = (...calls: unknown[]) => ({ role: "assistant", reasoning_content: "", tool_calls: calls });
const tool = (name: unknown, parameters: unknown = { type: "object", properties: {} }) => ({
  type: "function",
  function: { name, description: "what it does", parameters },
});
const image = (url: string) => ({ role: "user", content: [{ type: "image_url", image_url: { url } }] });
const off = { thinking: { type: "disabled" } };

describe("chat requests", () => {
  it.each<[string, Json]>([
    ["thinking with effort and keep", { thinking: { type: "enabled", effort: "max", keep: "all" } }],
    ["thinking off, and history without reasoning", { ...off, messages: [user, said, user] }],
    ["an image", { messages: [image("data:image/png;base64,iVBORw0KGgoAAAAA")] }],
    [
      "parallel calls with content null, answered in any order",
      { messages: [user, { ...called(call("a"), call("b")), content: null }, result("b"), result("a")] },
    ],
    ["a tool, both output caps and a cache key", { tools: [tool("mcp__a-b_2")], max_tokens: 1_000 }],
  ])("pass: %s", (_, change) => {
    expect(checkChatRequest({ ...hello, ...change }, defaultModels)).toBeUndefined();
  });

  it.each<[string, Json, RegExp]>([
    ["a role", { messages: [{ role: "developer", content: "x" }] }, /^role 'developer' is not allowed$/],
    ["a field", { temperature: 0.7 }, /^invalid temperature: only 1 is allowed/],
    ["strict in a tool", { tools: [{ ...tool("read"), strict: false }] }, /strict/],
    ["an effort", { thinking: { type: "enabled", effort: "medium" } }, /must be one of low, high, max/],
    ["a member of thinking", { thinking: { type: "enabled", clear_thinking: false } }, /clear_thinking/],
    ["thinking off where it cannot be", { model: "kimi-k2-thinking", ...off }, /cannot be switched off/],
    [
      "an empty text part",
      { messages: [{ role: "user", content: [{ type: "text", text: "" }] }] },
      /^text content is empty$/,
    ],
    ["an empty message", { messages: [{ ...user, content: "" }] }, /position 0 with role 'user' must not be/],
    [
      "calls with an empty text",
      { messages: [user, { ...called(call("a")), content: "" }, result("a")] },
      /role 'assistant' must not be empty/,
    ],
    [
      "calls without reasoning",
      { messages: [user, { ...called(call("a")), reasoning_content: undefined }, result("a")] },
      /reasoning_content is missing in assistant tool call message at index 1$/,
    ],
    ["text without reasoning", { messages: [user, said, user] }, /missing in assistant message at index 1/],
    ["a result without a call", { messages: [user, result("a")] }, /^tool_call_id is not found$/],
    ["a call without a result", { messages: [user, called(call("a")), user] }, /response messages: a$/],
    ["two calls of one id", { messages: [user, called(call("a"), call("a")), result("a")] }, /duplicated/],
    ["a tool's name", { tools: [tool("a.b")] }, /must start with a letter and can contain letters, numbers/],
    ["two tools of one name", { tools: [tool("a"), tool("a")] }, /duplicated/],
    [
      "a tool's schema",
      { tools: [tool("a", { type: "object", properties: { x: {} } })] },
      /is not a valid moonshot flavored json schema, details: <At path 'properties.x': type is not defined>$/,
    ],
    ["a model", { model: "gpt-5" }, /Not found the model gpt-5/],
    ["a cap larger than what is left", { max_completion_tokens: 262_144 }, /model token limit: 262144$/],
    ["no usage", { stream_options: {} }, /include_usage/],
    [
      "an image under the wrong label",
      { messages: [image("data:image/jpeg;base64,iVBORw0KGgo=")] },
      /^unsupported image format$/,
    ],
    ["an empty cache key", { prompt_cache_key: "" }, /prompt_cache_key/],
  ])("are refused: %s", (_, change, message) => {
    expect(checkChatRequest({ ...hello, ...change }, defaultModels)).toMatch(message);
  });

  it("that are refused are answered with 400 in those words, and logged", async () => {
    const body = { ...hello, temperature: 0.7 };
    const answer = await chat(body);
    const error = { type: "invalid_request_error", message: expect.stringMatching(/invalid temperature/) };
    expect([answer.status, await asJson(answer)]).toEqual([400, { error }]);
    expect(service.refused()).toEqual([newest()]);
    expect(newest()).toMatchObject({ kind: "chat", body, error: error.message });
  });
});

describe("tool schemas", () => {
  const property = (x: unknown, others: Json = {}) => ({ type: "object", properties: { x }, ...others });
  const scalar = { type: "string" };
  const defs = { $defs: { node: property({ $ref: "#/$defs/node" }) } };
  const list = { type: "array", items: { $ref: "#/$defs/node" } };
  const nested = (depth: number): object => (depth === 0 ? { type: "null" } : property(nested(depth - 1)));
  const values = Array.from({ length: 1_001 }, (_, index) => index);
  const many = Object.fromEntries(values.concat(values, values).map((_, at) => [`p${at}`, { type: "null" }]));

  it.each<[string, unknown]>([
    ["several types", property({ type: ["string", "null"], enum: ["a", null] })],
    ["a cycle through $defs", property({ $ref: "#/$defs/node" }, defs)],
    ["recursion that nothing asks for", property(list, { $defs: { node: property(list) } })],
  ])("pass: %s", (_, schema) => {
    expect(checkToolSchema(schema)).toBeUndefined();
  });

  it.each<[string, unknown, string]>([
    ["a root of another type", { type: "string" }, "At path ''"],
    ["items without type", property({ type: "array", items: {} }), "At path 'properties.x.items': type is"],
    ["an alternative without type", property({ anyOf: [{}] }), "At path 'properties.x.anyOf.0': type is"],
    ["type beside anyOf", property({ type: "string", anyOf: [scalar] }), "when using anyOf"],
    ["a default twice", property({ default: 1, anyOf: [{ type: "number", default: 2 }] }), "(default)"],
    ["a tuple", property({ type: "array", prefixItems: [scalar] }), "tuple"],
    ["a boolean schema", property(true), "At path 'properties.x': boolean"],
    ["an unknown type", property({ type: "file" }), "type is not valid"],
    ["an unknown required name", property(scalar, { required: ["toString"] }), "'toString'"],
    ["an enum of another type", property({ type: "string", enum: ["a", 1] }), "enum value"],
    ["types with limits beside them", property({ type: ["string", "null"], minLength: 1 }), "multiple types"],
    ["a word that is no text", property({ type: "string", description: 1 }), "description must be"],
    ["a property in braces", property({ type: "object", properties: { "{a}": scalar } }), "invalid path"],
    ["a reference to the root", property({ $ref: "#" }), "#/$defs/"],
    ["a reference to nothing", property({ $ref: "#/$defs/a" }), "is not defined"],
    ["type beside a reference", property({ $ref: "#/$defs/node", type: "object" }), "$ref, type"],
    ["a slash in a definition", { type: "object", $defs: { "a/b": scalar } }, "'/'"],
    [
      "endless recursion",
      property(list, { required: ["x"], $defs: { node: property(list, { required: ["x"] }) } }),
      "infinite",
    ],
    ["1,001 values", property({ type: "integer", enum: values }), "1000 items"],
    ["3,003 properties", { type: "object", properties: many }, "properties keys(3003)"],
    ["a depth of 31", nested(31), "depth exceeds"],
    ["120,001 bytes", property({ type: "string", description: "<".repeat(20_000) }), "maximum allowed size"],
  ])("are refused: %s", (_, schema, problem) => {
    expect(checkToolSchema(schema)).toContain(problem);
  });
});

describe("the prompt cache", () => {
  const long = { role: "system", content: "x".repeat(4000) };
  const turn = { ...hello, prompt_cache_key: "one", messages: [long, user] };
  const cachedOf = async (body: unknown) => {
    await (await chat(body)).text();
    return newest().usage?.cached_tokens ?? -1;
  };

  it("holds what an earlier request of the same key began with", async () => {
    expect(await cachedOf(turn)).toBe(0);
    const first = newest().usage?.prompt_tokens ?? 0;
    expect(first - (await cachedOf({ ...turn, messages: [long, user, user] }))).toBeLessThanOrEqual(1);
  });

  it.each<[string, Json]>([
    ["another key", { prompt_cache_key: "two" }],
    ["another effort", { thinking: { type: "enabled", effort: "low" } }],
    ["another tool list", { tools: [tool("read")] }],
  ])("is lost with %s", async (_, change) => {
    await cachedOf(turn);
    expect(await cachedOf({ ...turn, ...change })).toBeLessThan(100);
  });
});

describe("faults", () => {
  it("drop before: the token was not used, so the same one works", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", do: { drop: "before" } });
    await expect(refresh(login.refresh_token)).rejects.toThrow();
    expect(newest()).toMatchObject({ kind: "refresh", status: 0, refused: false, fault: { drop: "before" } });
    expect((await refresh(login.refresh_token)).status).toBe(200);
    expect(service.reusedRefreshTokens()).toBe(0);
  });

  it("drop after: the token was used, the answer is lost, and repeating it ends the login", async () => {
    const login = service.issueLogin();
    service.fault({ path: "token", do: { drop: "after" } });
    await expect(refresh(login.refresh_token)).rejects.toThrow();
    expect(newest()).toMatchObject({ status: 200, issued: service.currentTokens(login.refresh_token) });
    expect((await refresh(login.refresh_token)).status).toBe(400);
    expect(service.isLoginAlive(login.refresh_token)).toBe(false);
  });

  it("answer anything instead, as often and to whom a test says, and commit nothing", async () => {
    const login = service.issueLogin();
    const ours = ({ refreshToken }: LogEntry) => refreshToken === login.refresh_token;
    service.fault({ path: "token", times: 2, when: ours, do: { status: 502, body: "<html>" } });
    expect((await refresh(service.issueLogin().refresh_token)).status).toBe(200);
    for (const status of [502, 502, 200]) expect((await refresh(login.refresh_token)).status).toBe(status);
    expect(service.refused()).toEqual([]);
  });

  it.each([false, true])("hang, committed: %s", async (commit) => {
    const login = service.issueLogin();
    service.fault({ path: "token", do: { hang: true, commit } });
    const hanging = expect(refresh(login.refresh_token)).rejects.toThrow();
    const { status } = await service.waitFor(({ fault }) => fault !== undefined);
    expect(status).toBe(commit ? 200 : 0);
    expect(service.currentTokens(login.refresh_token) === login).toBe(!commit);
    await service.close();
    await hanging;
  });
});
