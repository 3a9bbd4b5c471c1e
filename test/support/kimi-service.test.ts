/** The simulator refuses, rotates and fails as other tests count on: one case for each of its rules. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CLIENT_ID,
  checkChatRequest,
  checkToolSchema,
  defaultModels,
  type KimiService,
  type KimiServiceOptions,
  type LogEntry,
  refusals,
  startKimiService,
} from "./kimi-service/index.ts";

let service: KimiService;
beforeEach(async () => {
  service = await startKimiService();
});
afterEach(() => service.close());

async function restart(options: KimiServiceOptions): Promise<void> {
  await service.close();
  service = await startKimiService(options);
}

type Json = Record<string, unknown>;
const asJson = async (response: Response): Promise<Json> => JSON.parse(await response.text());

const postForm = (path: string, form: Record<string, string>) =>
  fetch(`${service.oauthHost}${path}`, { method: "POST", body: new URLSearchParams(form) });
const refresh = (refresh_token: string) =>
  postForm("/api/oauth/token", { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token });
const authorize = async () =>
  asJson(await postForm("/api/oauth/device_authorization", { client_id: CLIENT_ID }));
const DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code";
const poll = async (device_code: unknown) =>
  asJson(
    await postForm("/api/oauth/token", {
      client_id: CLIENT_ID,
      device_code: String(device_code),
      grant_type: DEVICE_GRANT,
    }),
  );
const get = (path: string, token?: string) =>
  fetch(
    `${service.baseUrl}${path}`,
    token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } },
  );

const hello = {
  model: "kimi-for-coding",
  messages: [{ role: "user", content: "hello" }],
  stream: true,
  stream_options: { include_usage: true },
};
const KEY = "a-static-key";
/** A chat that passes the gate with a key that is accepted, unless `headers` say otherwise. */
function chat(body: unknown = hello, headers: Record<string, string> = {}): Promise<Response> {
  service.apiKeys.add(KEY);
  return fetch(`${service.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { "User-Agent": "KimiCLI/1.5", Authorization: `Bearer ${KEY}`, ...headers },
    body: JSON.stringify(body),
  });
}

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

  it("presented twice are only refused under the policy refuse", async () => {
    await restart({ reusePolicy: "refuse" });
    const first = service.issueLogin();
    const second = await asJson(await refresh(first.refresh_token));
    expect((await refresh(first.refresh_token)).status).toBe(400);
    expect(service.reusedRefreshTokens()).toBe(1);
    expect((await refresh(String(second.refresh_token))).status).toBe(200);
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
    expect(await asJson(await postForm("/api/oauth/token", fields))).toMatchObject({ error });
    expect(service.refused()).toHaveLength(1);
  });

  it("must come as a form", async () => {
    const answer = await fetch(`${service.oauthHost}/api/oauth/token`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(form),
    });
    expect(await asJson(answer)).toMatchObject({ error: "invalid_request" });
  });
});

describe("access tokens", () => {
  const status = async (token: string) => (await get("/models", token)).status;

  it("end by the service's clock", async () => {
    let time = 1_000_000;
    await restart({ now: () => time, accessTokenLifetime: 60 });
    const login = service.issueLogin();
    expect(login).toMatchObject({ expires_in: 60, expires_at: 1060 });
    time += 59_999;
    expect(await status(login.access_token)).toBe(200);
    service.advance(1);
    expect(await status(login.access_token)).toBe(401);
    expect(service.isLoginAlive(login.refresh_token)).toBe(true);
  });

  it("can be ended early: one, the current ones, or all", async () => {
    const [one, other] = [service.issueLogin(), service.issueLogin()];
    service.revokeAccessToken(one.access_token);
    expect([await status(one.access_token), await status(other.access_token)]).toEqual([401, 200]);
    await refresh(other.refresh_token);
    service.revokeAccessToken();
    expect(await status(other.access_token)).toBe(200);
    service.expireAccessTokens();
    expect(await status(other.access_token)).toBe(401);
  });
});

describe("device authorization", () => {
  it("hands out codes and approves when there is no script", async () => {
    const body = await authorize();
    expect(body).toMatchObject({ expires_in: 1800, interval: 5 });
    const token = await poll(body.device_code);
    expect(service.isLoginAlive(String(token.refresh_token))).toBe(true);
    expect(service.secrets()).toEqual(
      expect.arrayContaining([token.access_token, token.refresh_token, body.device_code]),
    );
    expect(await poll(body.device_code)).toMatchObject({ error: "invalid_grant" });
  });

  it("tells each poll what the script says, across codes", async () => {
    service.deviceResponse({ interval: 0.05 });
    service.scriptDevice(["pending", "slow_down", "expired", "denied", { status: 503, body: { a: 1 } }]);
    const first = (await authorize()).device_code;
    expect(await poll(first)).toMatchObject({ error: "authorization_pending" });
    expect(await poll(first)).toMatchObject({ error: "slow_down" });
    service.advance(6000);
    expect(await poll(first)).toMatchObject({ error: "expired_token" });
    expect(await poll((await authorize()).device_code)).toMatchObject({ error: "access_denied" });
    expect(await poll((await authorize()).device_code)).toEqual({ a: 1 });
    expect(service.refused()).toEqual([]);
  });

  it("slows down whoever polls faster than the interval, by 5 s each time (RFC 8628 section 3.5)", async () => {
    service.scriptDevice(["pending", "pending"]);
    service.deviceResponse({ interval: "1" });
    const { device_code } = await authorize();
    expect(await poll(device_code)).toMatchObject({ error: "authorization_pending" });
    expect(await poll(device_code)).toMatchObject({ error: "slow_down" });
    expect(newest().refused).toBe(true);
    service.advance(5000);
    expect(await poll(device_code)).toMatchObject({ error: "slow_down" });
    service.advance(11_000);
    expect(await poll(device_code)).toMatchObject({ error: "authorization_pending" });
  });

  it("answers with the fields a test puts or removes, and forgets codes by its clock", async () => {
    service.deviceResponse({ expires_in: "60", verification_uri: undefined });
    const body = await authorize();
    expect(body).not.toHaveProperty("verification_uri");
    service.advance(60_000);
    expect(await poll(body.device_code)).toMatchObject({ error: "expired_token" });
  });
});

describe("the gate", () => {
  it.each(["", "OpenAI/JS 6.1", "my KimiCLI/1.5"])("keeps out %j", async (agent) => {
    const answer = await chat(hello, { "User-Agent": agent });
    expect(answer.status).toBe(403);
    expect(await asJson(answer)).toEqual(refusals.unknownAgent.body);
  });

  it("does not stand before models, usages and me, which want authorization alone", async () => {
    const { access_token } = service.issueLogin();
    for (const path of ["/models", "/usages", "/me"]) {
      expect((await get(path, access_token)).status).toBe(200);
      expect((await get(path)).status).toBe(401);
    }
  });

  it("wants a bearer for chats, and a membership for all", async () => {
    const answer = await chat(hello, { Authorization: "Bearer x" });
    expect([answer.status, await asJson(answer)]).toEqual([401, refusals.unauthorized.body]);
    service.setMembership("lapsed");
    expect((await chat()).status).toBe(402);
    expect((await get("/models", KEY)).status).toBe(402);
  });

  it("limits how many chats run at once", async () => {
    service.setParallelLimit(1);
    service.fault({ path: "chat", do: { stallStream: 1 } });
    const first = await chat();
    const second = await chat();
    expect(second.status).toBe(403);
    expect(await asJson(second)).toEqual(refusals.concurrency.body);
    await first.body?.cancel();
    await service.waitFor((entry) => entry.fault !== undefined && entry.finished);
    expect((await chat()).status).toBe(200);
  });

  it("knows no other path, nor a doubled slash", async () => {
    expect((await get("/nothing", KEY)).status).toBe(404);
    expect((await fetch(`${service.url}//api/oauth/token`, { method: "POST" })).status).toBe(404);
    expect(service.refused()).toHaveLength(2);
  });
});

describe("searches and fetches", () => {
  const identity = {
    "User-Agent": "KimiCLI/1.5",
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
  const post = async (path: string, body: unknown, headers: Record<string, string> = identity) => {
    service.apiKeys.add(KEY);
    const { status } = await fetch(`${service.baseUrl}${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${KEY}`, ...headers },
      body: JSON.stringify(body),
    });
    return status;
  };
  const search = { text_query: "a" };
  const page = { url: "https://a.com/" };

  it.each<[string, string, unknown, object, number]>([
    ["a search", "/search", search, {}, 200],
    ["a page", "/fetch", page, {}, 200],
    ["a page that is not there", "/fetch", { url: "https://b.com/" }, {}, 404],
    ["an empty query", "/search", { text_query: " " }, {}, 400],
    ["an unknown member", "/search", { ...search, query: "a" }, {}, 400],
    ["a file", "/fetch", { url: "file:///etc/passwd" }, {}, 400],
    ["no call", "/search", search, { "X-Msh-Tool-Call-Id": "" }, 400],
    ["half an identity", "/search", search, { "X-Msh-Device-Id": "" }, 400],
    ["another form of page", "/fetch", page, { Accept: "application/json" }, 400],
    ["another agent", "/search", search, { "User-Agent": "curl/8" }, 403],
    ["another key", "/search", search, { Authorization: "Bearer x" }, 401],
  ])("answer %s: %s", async (_, path, body, headers, status) => {
    service.setPage(page.url, "# A");
    expect(await post(path, body, { ...identity, ...headers })).toBe(status);
  });
});

const call = (id: string, name = "read") => ({ id, type: "function", function: { name, arguments: "{}" } });
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
const tooLong = [{ role: "user", content: "x".repeat(1_048_577) }];

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
    ["a thinking type", { thinking: { type: "auto" } }, /thinking type/],
    ["a member of thinking", { thinking: { type: "enabled", clear_thinking: false } }, /clear_thinking/],
    ["thinking off where it cannot be", { model: "kimi-k2-thinking", ...off }, /cannot be switched off/],
    ["a reasoning effort", { reasoning_effort: "max" }, /reasoning_effort/],
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
    [
      "a call's name",
      { messages: [user, called(call("a", "a.b")), result("a")] },
      /must start with a letter/,
    ],
    ["a tool's name", { tools: [tool("a.b")] }, /must start with a letter and can contain letters, numbers/],
    ["two tools of one name", { tools: [tool("a"), tool("a")] }, /duplicated/],
    [
      "a tool's schema",
      { tools: [tool("a", { type: "object", properties: { x: {} } })] },
      /is not a valid moonshot flavored json schema, details: <At path 'properties.x': type is not defined>$/,
    ],
    ["a model", { model: "gpt-5" }, /Not found the model gpt-5/],
    ["a cap of nothing", { max_tokens: 0 }, /positive/],
    ["a cap larger than what is left", { max_completion_tokens: 262_144 }, /model token limit: 262144$/],
    ["a prompt larger than the context", { messages: tooLong }, /token limit/],
    ["no stream", { stream: false }, /stream must be true/],
    ["no usage", { stream_options: {} }, /include_usage/],
    ["no messages", { messages: [] }, /messages must not be empty/],
    ["an image from elsewhere", { messages: [image("https://example.com/a.png")] }, /invalid image_url/],
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

  it("may ask for the whole context when they come from kimi-code, as its first ones do", async () => {
    const whole = { ...hello, max_completion_tokens: 262_144 };
    const kimiCode = { "User-Agent": "kimi-code-cli/2.1.0" };
    expect((await chat(whole, kimiCode)).status).toBe(200);
    expect((await chat({ ...whole, messages: tooLong }, kimiCode)).status).toBe(400);
  });
});

describe("tool schemas", () => {
  const property = (x: unknown, others: Json = {}) => ({ type: "object", properties: { x }, ...others });
  const scalar = { type: "string" };
  const defs = { $defs: { node: property({ $ref: "#/$defs/node" }) } };
  const list = { type: "array", items: { $ref: "#/$defs/node" } };
  const nested = (depth: number): object => (depth === 0 ? { type: "null" } : property(nested(depth - 1)));
  const values = Array.from({ length: 1_001 }, (_, index) => index);
  const many = Object.fromEntries(
    Array.from({ length: 3_001 }, (_, index) => [`p${index}`, { type: "null" }]),
  );

  it.each<[string, unknown]>([
    ["every simple type", property({ type: "string", enum: ["a"], description: "d", minLength: 1 })],
    ["several types", property({ type: ["string", "null"], enum: ["a", null] })],
    ["a cycle through $defs", property({ $ref: "#/$defs/node" }, defs)],
    ["anything as further properties", property({ type: "object", additionalProperties: {} })],
    ["recursion that nothing asks for", property(list, { $defs: { node: property(list) } })],
    ["properties named like keywords", property({ type: "object", properties: { type: scalar } })],
  ])("pass: %s", (_, schema) => {
    expect(checkToolSchema(schema)).toBeUndefined();
  });

  it.each<[string, unknown, string]>([
    ["a root of another type", { type: "string" }, "At path ''"],
    ["no type", property({ description: "d" }), "At path 'properties.x': type is not defined"],
    ["items without type", property({ type: "array", items: {} }), "At path 'properties.x.items': type is"],
    ["an alternative without type", property({ anyOf: [{}] }), "At path 'properties.x.anyOf.0': type is"],
    ["type beside anyOf", property({ type: "string", anyOf: [scalar] }), "when using anyOf"],
    ["empty anyOf", property({ anyOf: [] }), "anyOf must be"],
    ["a default twice", property({ default: 1, anyOf: [{ type: "number", default: 2 }] }), "(default)"],
    ["a tuple", property({ type: "array", prefixItems: [scalar] }), "tuple"],
    ["a boolean schema", property(true), "At path 'properties.x': boolean"],
    ["an unknown type", property({ type: "file" }), "type is not valid"],
    ["an unknown required name", property(scalar, { required: ["toString"] }), "'toString'"],
    ["an enum of another type", property({ type: "string", enum: ["a", 1] }), "enum value"],
    ["a const of another type", property({ type: "boolean", const: "true" }), "const value"],
    ["an empty enum", property({ type: "string", enum: [] }), "enum must be"],
    ["types with limits beside them", property({ type: ["string", "null"], minLength: 1 }), "multiple types"],
    ["a word that is no text", property({ type: "string", description: 1 }), "description must be"],
    ["required as null", property({ type: "object", required: null }), "required must be an array"],
    ["a property like a reference", property({ type: "object", properties: { $ref: scalar } }), "$ref must"],
    ["a property in braces", property({ type: "object", properties: { "{a}": scalar } }), "invalid path"],
    ["a reference to the root", property({ $ref: "#" }), "#/$defs/"],
    ["a reference to nothing", property({ $ref: "#/$defs/a" }), "is not defined"],
    ["type beside a reference", property({ $ref: "#/$defs/node", type: "object" }), "$ref, type"],
    [
      "a reference in a pattern",
      property({ type: "object", patternProperties: { a: { $ref: "#/$defs/node" } } }, defs),
      "not allowed",
    ],
    ["a slash in a definition", { type: "object", $defs: { "a/b": scalar } }, "'/'"],
    [
      "endless recursion",
      property(list, { required: ["x"], $defs: { node: property(list, { required: ["x"] }) } }),
      "infinite",
    ],
    ["1,001 values", property({ type: "integer", enum: values }), "1000 items"],
    ["501 alternatives", property({ anyOf: values.slice(500).map(() => ({ type: "null" })) }), "1-500 items"],
    ["3,001 properties", { type: "object", properties: many }, "properties keys(3001)"],
    ["a depth of 31", nested(31), "depth exceeds"],
    ["120,001 bytes", property({ type: "string", description: "<".repeat(20_000) }), "maximum allowed size"],
  ])("are refused: %s", (_, schema, problem) => {
    expect(checkToolSchema(schema)).toContain(problem);
  });
});

describe("streams", () => {
  interface Chunk {
    readonly choices: readonly { readonly delta: Json; readonly finish_reason: string | null }[];
    readonly usage?: Json;
  }
  const chunks = async (response: Response): Promise<Chunk[]> => {
    const events = (await response.text()).split("\n\n").filter((event) => event !== "");
    expect(events.pop()).toBe("data: [DONE]");
    return events.map((event) => JSON.parse(event.replace("data: ", "")));
  };

  it("carry thinking, then text, then tool calls, then usage", async () => {
    service.reply({
      thinking: "First I 👩‍💻.",
      text: "Then I say.",
      toolCalls: [{ name: "bash", arguments: {} }],
      usage: { cached_tokens: 7 },
    });
    const messages = [user, called(call("read:0")), result("read:0")];
    const all = await chunks(await chat({ ...hello, messages }));
    expect(all.flatMap(({ choices }) => choices.map(({ delta }) => delta))).toEqual([
      { role: "assistant", content: "" },
      { reasoning_content: "First I 👩‍💻." },
      { content: "Then I say." },
      {
        tool_calls: [{ index: 0, id: "bash:1", type: "function", function: { name: "bash", arguments: "" } }],
      },
      { tool_calls: [{ index: 0, function: { arguments: "{}" } }] },
      {},
    ]);
    expect(all.at(-2)?.choices[0]?.finish_reason).toBe("tool_calls");
    expect(all.at(-1)?.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 7 } });
  });

  it("echo when there is no script, and without thinking where it is off", async () => {
    const all = await chunks(await chat({ ...hello, ...off }));
    expect(all.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("You said: hello");
    expect(JSON.stringify(all)).not.toContain("reasoning_content");
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
    const page = await refresh(login.refresh_token);
    expect([page.status, page.headers.get("content-type"), await page.text()]).toEqual([
      502,
      "text/html",
      "<html>",
    ]);
    expect((await refresh(login.refresh_token)).status).toBe(502);
    expect((await refresh(login.refresh_token)).status).toBe(200);
    expect(service.refused()).toEqual([]);
  });

  it("hit one path and nothing else, until they are ended", async () => {
    const { access_token } = service.issueLogin();
    const end = service.fault({ path: "models", times: Number.POSITIVE_INFINITY, do: { status: 418 } });
    const statuses = () =>
      Promise.all(["/models", "/me"].map(async (path) => (await get(path, access_token)).status));
    expect(await statuses()).toEqual([418, 200]);
    expect(await statuses()).toEqual([418, 200]);
    end();
    expect(await statuses()).toEqual([200, 200]);
  });

  it.each(["early", "late"] as const)("delay an answer that is committed %s", async (commit) => {
    const { refresh_token } = service.issueLogin();
    service.fault({ path: "token", do: { delay: 50, commit } });
    const answer = refresh(refresh_token);
    await service.waitFor(({ fault }) => fault !== undefined);
    const isUsed = () => service.currentTokens(refresh_token)?.refresh_token !== refresh_token;
    expect([isUsed(), newest().finished]).toEqual([commit === "early", false]);
    expect((await answer).status).toBe(200);
    expect(isUsed()).toBe(true);
  });

  it("hold an answer to what is committed until the test lets go of it", async () => {
    const { refresh_token } = service.issueLogin();
    const release = service.hold({ path: "token" });
    const answer = refresh(refresh_token);
    await service.waitFor(({ issued, finished }) => issued !== undefined && !finished);
    release();
    expect((await answer).status).toBe(200);
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

  it("cut a stream after so many events, and any other answer after so many bytes", async () => {
    service.fault({ path: "chat", do: { cutStream: 2 } });
    let heard = "";
    const listen = async () => {
      const decoder = new TextDecoder();
      for await (const piece of (await chat()).body ?? []) heard += decoder.decode(piece, { stream: true });
    };
    await expect(listen()).rejects.toThrow();
    expect(heard.match(/^data: /gm)).toHaveLength(2);
    service.fault({ path: "models", do: { cutStream: 10 } });
    const answer = await get("/models", KEY);
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow();
  });

  it("put anything on the wire", async () => {
    service.fault({ path: "models", do: { raw: "SMTP ready\r\n\r\n" } });
    await expect(get("/models", KEY)).rejects.toThrow();
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
    const outcome = expect(service.waitFor(() => false)).rejects.toThrow("closed");
    await service.close();
    await outcome;
  });
});

it("ends open connections, delays and hangs at once when it closes", async () => {
  service.fault({ path: "models", do: { hang: true } });
  service.fault({ path: "models", do: { delay: 60_000 } });
  const open = [get("/models"), get("/models")].map((answer) => expect(answer).rejects.toThrow());
  await service.waitFor(() => service.log.length === 2);
  await service.close();
  await Promise.all(open);
});
