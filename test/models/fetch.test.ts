import type { IncomingMessage, RequestListener } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import { fetchModels } from "../../extensions/models/fetch.ts";
import { collectGarbage } from "../support/garbage.ts";
import { modelsOfSeptember2026, startKimiService } from "../support/kimi-service/index.ts";
import { startLoopback } from "../support/loopback.ts";

async function answering(answer: RequestListener, timeout = 5_000) {
  const server = await startLoopback(answer);
  onTestFinished(() => server.close());
  return { baseUrl: server.url, fetch, timeout };
}
const never = new AbortController().signal;

describe("GET /models", () => {
  test("lists the models of the account", async () => {
    const service = await startKimiService({ models: modelsOfSeptember2026 });
    onTestFinished(() => service.close());
    const { access_token } = service.issueLogin();
    const server = { baseUrl: service.baseUrl, fetch, timeout: 5_000 };
    const answer = await fetchModels(server, access_token, never);
    expect(answer.state === "listed" && answer.models.map(({ id }) => id)).toEqual([
      "kimi-for-coding",
      "kimi-for-coding-highspeed",
      "k3",
      "k3-256k",
    ]);
    expect(await fetchModels(server, "wrong", never)).toEqual({ state: "refused", status: 401 });
  });

  test("says who asks by Authorization alone", async () => {
    const seen: IncomingMessage[] = [];
    const server = await answering((request, response) => {
      seen.push(request);
      response.end('{"data":[{"id":"k3"}]}');
    });
    expect(await fetchModels(server, "token", never)).toMatchObject({ state: "listed" });
    const [request] = seen;
    expect(request?.url).toBe("/models");
    expect(request?.headers.authorization).toBe("Bearer token");
    expect(Object.keys(request?.headers ?? {}).filter((name) => name.startsWith("x-"))).toEqual([]);
    expect(request?.headers["user-agent"]).not.toMatch(/kimi/i);
  });

  test("follows no redirect", async () => {
    const asked: (string | undefined)[] = [];
    const server = await answering((request, response) => {
      asked.push(request.url);
      response.writeHead(302, { location: "/elsewhere" }).end();
    });
    expect(await fetchModels(server, "token", never)).toEqual({ state: "refused", status: 302 });
    expect(asked).toEqual(["/models"]);
  });

  test.each([
    ["a page", "<html></html>"],
    ["an empty list", '{"data":[]}'],
    ["nothing", ""],
    ["more than a megabyte", `{"data":[{"id":"k3"}],"x":"${"x".repeat(1_100_000)}"}`],
  ])("is unusable when it is %s", async (_, body) => {
    expect(
      await fetchModels(await answering((_request, response) => response.end(body)), "token", never),
    ).toEqual({
      state: "unusable",
    });
  });

  test("is lost when nothing comes in time, also after a garbage collection", async () => {
    let asked = () => {};
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const answer = fetchModels(await answering(asked, 300), "token", never);
    await arrived;
    await collectGarbage();
    expect(await answer).toEqual({ state: "lost", code: "ETIMEDOUT" });
  });

  test("is lost when nothing comes in time, the connection breaks, or it is given up", async () => {
    const silent = await answering(() => {}, 100);
    expect(await fetchModels(silent, "token", never)).toEqual({ state: "lost", code: "ETIMEDOUT" });
    const broken = await answering((_request, response) => response.destroy());
    expect((await fetchModels(broken, "token", never)).state).toBe("lost");
    const stop = new AbortController();
    const slow = await answering(() => stop.abort());
    expect((await fetchModels(slow, "token", stop.signal)).state).toBe("lost");
  });
});
