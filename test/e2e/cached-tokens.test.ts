/** What the chat's own fetch changes in real pi: cached tokens are counted, redirects not followed, others left alone. */
import { describe, expect, onTestFinished, test } from "vitest";
import { otherProviderModels } from "../conformance/other-provider.ts";
import { hosts } from "../support/hosts.ts";
import { startLoopback } from "../support/loopback.ts";
import { assistantMessages, jsonPi, ourModel, printPi } from "../support/pi.ts";
import { startRpc } from "../support/rpc.ts";
import { createWorld } from "../support/world.ts";

describe.each(hosts)("on pi $name", (host) => {
  test.each(["top", "details"] as const)("cached tokens are counted, said at %s", async (cachedTokensAt) => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const usage = { prompt_tokens: 1000, completion_tokens: 7, cached_tokens: 640 };
    service.reply({ text: "Hello €𝄞", usage, cachedTokensAt });
    const { events, exitCode } = await jsonPi(host, home, ["hi"], env());
    expect(exitCode).toBe(0);
    expect(assistantMessages(events)).toMatchObject([
      {
        content: expect.arrayContaining([expect.objectContaining({ text: "Hello €𝄞" })]),
        usage: { input: 360, cacheRead: 640, cacheWrite: 0, output: 7, totalTokens: 1007 },
      },
    ]);
  });

  test("a redirect sends nothing anywhere, and the user reads which setting is wrong", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const reached: unknown[] = [];
    const elsewhere = await startLoopback((request, response) => {
      reached.push(request.headers);
      response.end();
    });
    onTestFinished(() => elsewhere.close());
    const headers = { location: `${elsewhere.url}/chat/completions` };
    service.fault({ path: "chat", times: 100, do: { status: 307, headers, body: "" } });
    const { stdout, stderr, exitCode } = await printPi(host, home, ["hi"], env());
    expect(stdout).toBe("");
    expect(stderr).toContain(
      "Kimi Coder: Kimi's address only redirects to another one, which is not followed",
    );
    expect(stderr).toContain("KIMI_CODE_BASE_URL");
    expect(exitCode).toBe(1);
    expect(service.chats()).toHaveLength(1);
    expect(reached).toEqual([]);
  });

  test("another provider's requests in the same process stay as they are", async () => {
    const { service, home, env, logInToKimiCli } = await createWorld();
    logInToKimiCli();
    const paths: string[] = [];
    const elsewhere = await startLoopback((request, response) => {
      request.resume();
      paths.push(request.url ?? "");
      if (request.url !== "/moved") {
        response.writeHead(307, { location: "/moved" }).end();
        return;
      }
      const chunk = (body: object) => `data: ${JSON.stringify({ id: "x", model: "other", ...body })}\n\n`;
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(
        chunk({ choices: [{ index: 0, delta: { content: "Seen elsewhere." }, finish_reason: "stop" }] }),
      );
      response.end(
        `${chunk({ choices: [], usage: { prompt_tokens: 10, cached_tokens: 4 } })}data: [DONE]\n\n`,
      );
    });
    onTestFinished(() => elsewhere.close());
    home.write(".pi/agent/models.json", otherProviderModels(elsewhere.url));
    const pi = startRpc(host, home, ourModel, env());
    await pi.prompt("hello");
    await pi.request({ type: "set_model", provider: "elsewhere", modelId: "other" });
    const events = await pi.prompt("hello over there");
    await pi.close();
    expect(paths).toEqual(["/chat/completions", "/moved"]);
    // Where cached tokens are said is the adapter's own business there: 0.73 counts none.
    const cacheRead = host.version === "0.73.1" ? 0 : 4;
    expect(assistantMessages(events)).toMatchObject([
      { provider: "elsewhere", usage: { cacheRead, input: 10 - cacheRead } },
    ]);
    expect(service.chats()).toHaveLength(1);
  });
});
