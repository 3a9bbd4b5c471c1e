import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FormPost, networkCode, postForm, readText, withinTime } from "../../extensions/lib/http.ts";
import { collectGarbage } from "../support/garbage.ts";
import { CLIENT_ID, type KimiService, startKimiService } from "../support/kimi-service/index.ts";
import { type Loopback, startLoopback } from "../support/loopback.ts";

const IDENTITY = { "User-Agent": "KimiCLI/1.5", "X-Msh-Device-Id": "0123456789abcdef" };
const PATH = "/api/oauth/token";
const FORM = { client_id: CLIENT_ID, grant_type: "refresh_token", refresh_token: "a secret+&=%" };

let service: KimiService;
const others: Loopback[] = [];

beforeEach(async () => {
  service = await startKimiService();
});
afterEach(async () => {
  await Promise.all([service, ...others.splice(0)].map((one) => one.close()));
});

/** Posts the form to this host, 5 s at the most. */
const postTo = (host: string, change: Partial<FormPost> = {}) =>
  postForm({ url: `${host}${PATH}`, fetch, headers: IDENTITY, form: FORM, timeout: 5_000, ...change });
const post = (timeout = 5_000, signal?: AbortSignal) => postTo(service.url, { timeout, signal });

describe("a form POST", () => {
  it("carries the form in the order given, and the identity", async () => {
    await post();
    const [request] = service.log;
    expect(request?.method).toBe("POST");
    expect(Object.entries(request?.form ?? {})).toEqual(Object.entries(FORM));
    expect(request?.headers).toMatchObject({
      "content-type": "application/x-www-form-urlencoded",
      accept: "application/json",
      "user-agent": IDENTITY["User-Agent"],
      "x-msh-device-id": IDENTITY["X-Msh-Device-Id"],
    });
  });

  it.each([200, 400, 503])("reads a JSON object whatever the status: %i", async (status) => {
    service.fault({ path: "token", do: { status, body: { error: "so it is" } } });
    expect(await post()).toEqual({ state: "answered", status, body: { error: "so it is" } });
  });

  it.each([
    ["a proxy's page", "<html>Bad gateway</html>"],
    ["nothing", ""],
  ])("knows that %s is no answer", async (_name, body) => {
    service.fault({ path: "token", do: { status: 502, body } });
    expect(await post()).toEqual({ state: "not-json", status: 502 });
  });

  it("takes an answer without a body for an empty one, not for one that is too long", async () => {
    expect(await readText(new Response(null), 1)).toBe("");
  });

  it("reads a letter that comes in two pieces", async () => {
    const bytes = new TextEncoder().encode('{"a":"é"}');
    const pieces = [bytes.slice(0, 7), bytes.slice(7)];
    const inPieces = async () => new Response(ReadableStream.from(pieces));
    expect(await postTo(service.url, { fetch: inPieces })).toEqual({
      state: "answered",
      status: 200,
      body: { a: "é" },
    });
  });

  it("takes a body of 64 KiB, and nothing longer", async () => {
    const bytes = (size: number) => `{"a":"${"x".repeat(size - 8)}"}`;
    service.fault({ path: "token", do: { status: 200, body: bytes(65_536) } });
    service.fault({ path: "token", do: { status: 200, body: bytes(65_537) } });
    expect(await post()).toMatchObject({ state: "answered" });
    expect(await post()).toEqual({ state: "not-json", status: 200 });
  });

  it("hangs up on a body that never ends", async () => {
    let closed: () => void = () => {};
    const hungUp = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const endless = await startLoopback((_request, response) => {
      response.on("close", closed);
      const pour = () => {
        while (!response.destroyed && response.write("x".repeat(16_384)));
      };
      response.on("drain", pour);
      pour();
    });
    others.push(endless);
    expect(await postTo(endless.url)).toEqual({ state: "not-json", status: 200 });
    await hungUp;
  });

  it.each([
    ["7", 7_000],
    ["999999", 999_999_000],
    ["Wed, 21 Oct 2026 07:28:00 GMT", undefined],
  ])("reads Retry-After: %j", async (value, retryAfter) => {
    service.fault({ path: "token", do: { status: 503, body: "busy", headers: { "retry-after": value } } });
    const expected = { state: "not-json", status: 503 };
    expect(await post()).toEqual(retryAfter === undefined ? expected : { ...expected, retryAfter });
  });
});

describe("an answer that does not come", () => {
  it("was never asked for when nobody listens", async () => {
    const gone = await startLoopback(() => {});
    await gone.close();
    expect(await postTo(gone.url)).toEqual({
      state: "lost",
      sent: false,
      code: "ECONNREFUSED",
    });
  });

  it.each([
    ["EAI_AGAIN", false],
    ["CERT_HAS_EXPIRED", false],
    ["ConnectionRefused", false],
    ["ECONNRESET", true],
    ["UND_ERR_HEADERS_TIMEOUT", true],
    ["", true],
  ])("after %s: may the server have acted? %s", async (code, sent) => {
    const cause = Object.assign(new Error("broken"), { code });
    const failing = () => Promise.reject(new TypeError("fetch failed", { cause }));
    expect(await postTo(service.url, { fetch: failing })).toEqual({
      state: "lost",
      sent,
      code,
    });
  });

  it.each(["before", "after"] as const)(
    "may have been earned when the connection ends (%s)",
    async (drop) => {
      service.fault({ path: "token", do: { drop } });
      expect(await post()).toMatchObject({ state: "lost", sent: true });
    },
  );

  it("may have been earned when the answer is cut off", async () => {
    service.fault({ path: "token", do: { cutStream: 10 } });
    expect(await post()).toMatchObject({ state: "lost", sent: true });
  });

  it.each([
    ["silence", { hang: true }],
    ["a body that stalls", { stallStream: 5 }],
  ] as const)("ends with the time limit: %s", async (_name, fault) => {
    service.fault({ path: "token", do: fault });
    const late = { state: "lost", sent: true, code: "ETIMEDOUT" };
    expect(await post(60)).toEqual(late);
    service.fault({ path: "token", do: fault });
    expect(await post(60, new AbortController().signal)).toEqual(late);
  });

  it("ends with the time limit, also after a garbage collection", async () => {
    service.fault({ path: "token", do: { hang: true } });
    const answer = post(300, new AbortController().signal);
    await service.waitFor(({ kind }) => kind === "refresh");
    await collectGarbage();
    expect(await answer).toEqual({ state: "lost", sent: true, code: "ETIMEDOUT" });
  });

  it("ends with the signal, also where that gives a reason of its own", async () => {
    for (const reason of [undefined, "no more", new Error("no more")]) {
      service.fault({ path: "token", do: { hang: true } });
      const stop = new AbortController();
      const answer = post(60_000, stop.signal);
      const arrived = service.log.length + 1;
      await service.waitFor(() => service.log.length >= arrived);
      stop.abort(reason);
      expect(await answer).toMatchObject({ state: "lost", sent: true });
    }
  });

  it("is not asked for when the signal has fired before", async () => {
    expect(await post(5_000, AbortSignal.abort())).toMatchObject({ state: "lost", code: "ABORT_ERR" });
    expect(service.log).toEqual([]);
  });

  it("never throws, whatever fetch or the headers are", async () => {
    const headers = { "User-Agent": "line\nbreak" };
    expect(await postTo(service.url, { headers })).toMatchObject({ state: "lost" });
    expect(await postTo("no url")).toMatchObject({ state: "lost" });
    expect(service.log).toEqual([]);
  });
});

describe("a time limit", () => {
  afterEach(() => void vi.useRealTimers());

  it("leaves nothing on the signal it was given, nor a timer, when the work is done or has failed", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const outer = new AbortController();
    const during: number[] = [];
    const work = async () => during.push(getEventListeners(outer.signal, "abort").length, vi.getTimerCount());
    await withinTime(5_000, outer.signal, work);
    const failing = async () => Promise.reject(new Error("refused"));
    await expect(withinTime(5_000, outer.signal, failing)).rejects.toThrow("refused");
    expect(during).toEqual([1, 1]);
    expect([getEventListeners(outer.signal, "abort").length, vi.getTimerCount()]).toEqual([0, 0]);
  });
});

describe("networkCode", () => {
  const coded = (code: unknown) => Object.assign(new Error("broken"), { code });
  it.each([
    ["the error's own", coded("ECONNRESET"), "ECONNRESET"],
    ["its cause's", new TypeError("fetch failed", { cause: coded("ENOTFOUND") }), "ENOTFOUND"],
    [
      "the first of several addresses'",
      new TypeError("fetch failed", {
        cause: new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")]),
      }),
      "ECONNREFUSED",
    ],
    ["a timeout", new DOMException("late", "TimeoutError"), "ETIMEDOUT"],
    ["an abort", new DOMException("stop", "AbortError"), "ABORT_ERR"],
    ["a code that is a number", coded(5), "EUNKNOWN"],
    ["undefined", undefined, "EUNKNOWN"],
  ])("%s", (_name, error, code) => {
    expect(networkCode(error)).toBe(code);
  });

  it("ends where the causes go round", () => {
    const round = new Error("round");
    round.cause = round;
    expect(networkCode(round)).toBe("EUNKNOWN");
  });
});
