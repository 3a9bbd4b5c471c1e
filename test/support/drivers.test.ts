import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHome, type Home } from "./home.ts";
import { hosts } from "./hosts.ts";
import { startKimiService } from "./kimi-service/index.ts";
import { parseEvents, runPi, streamed } from "./pi.ts";
import { run, start } from "./processes.ts";
import { startRpc } from "./rpc.ts";
import { findSecrets, searchTraces } from "./secrets.ts";
import { describeInTmux, startTmux } from "./tmux.ts";

/** A provider that answers without a network, a command, and a dialog. */
const FIXTURE = `
import { createAssistantMessageEventStream } from "@mariozechner/pi-ai";
export default function (pi) {
  pi.registerProvider("parrot", {
    baseUrl: "http://127.0.0.1:9", apiKey: "none", api: "parrot",
    models: [{ id: "grey", name: "Grey", reasoning: false, input: ["text"], contextWindow: 9000, maxTokens: 900,
      cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
    streamSimple(model, context) {
      const stream = createAssistantMessageEventStream();
      const last = context.messages.at(-1).content;
      const said = typeof last === "string" ? last : last.map((part) => part.text).join("");
      const usage = { input: 1, output: 1, cacheRead: 0, cacheWrite: 0, totalTokens: 2,
        cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } };
      const message = { role: "assistant", content: [{ type: "text", text: "" }], api: model.api,
        provider: model.provider, model: model.id, usage, stopReason: "stop", timestamp: Date.now() };
      const answer = "parrot says " + said.trim();
      queueMicrotask(() => {
        stream.push({ type: "start", partial: message });
        stream.push({ type: "text_start", contentIndex: 0, partial: message });
        message.content[0].text = answer;
        stream.push({ type: "text_delta", contentIndex: 0, delta: answer, partial: message });
        stream.push({ type: "text_end", contentIndex: 0, content: answer, partial: message });
        stream.push({ type: "done", reason: "stop", message });
        stream.end();
      });
      return stream;
    },
  });
  pi.registerCommand("ask", { description: "ask", handler: async (args, ctx) => {
    const yes = await ctx.ui.confirm("Cracker?", "Polly wants one.");
    ctx.ui.notify(yes ? "thanks" : "oh", "info");
  } });
}
`;

const parrot = ["--provider", "parrot", "--model", "grey"];
let home: Home;
let extension: string;

beforeEach(() => {
  home = createHome();
  extension = join(home.path, "work", "fixture");
  mkdirSync(extension);
  writeFileSync(join(extension, "index.ts"), FIXTURE);
});
afterEach(() => home.remove());

describe.each(hosts)("the drivers on pi $name", (host) => {
  it("run pi once, with a prompt and with stdin", async () => {
    const result = await runPi(host, home, [...parrot, "-p", "hello"], { extension, stdin: "from stdin " });
    expect(result).toMatchObject({ exitCode: 0, signal: null });
    expect(result.stdout).toMatch(/parrot says from stdin\s*hello/);
  });

  it("read the events of JSON mode", async () => {
    const { stdout, stderr } = await runPi(host, home, [...parrot, "--mode", "json", "hello"], { extension });
    expect(streamed(parseEvents(stdout), "text"), stderr).toBe("parrot says hello");
  });

  it("talk to RPC mode: a prompt, a dialog, and the end", async () => {
    const pi = startRpc(host, home, parrot, { extension });
    expect(await pi.request({ type: "get_state" })).toMatchObject({ model: { id: "grey" } });
    expect(streamed(await pi.prompt("one\u2028two"), "text")).toBe("parrot says one\u2028two");
    pi.send({ type: "prompt", message: "/ask" });
    pi.respond(await pi.waitFor(({ method }) => method === "confirm"), { confirmed: true });
    await pi.waitFor(({ method, message }) => method === "notify" && message === "thanks");
    await expect(pi.request({ type: "set_model", provider: "no", modelId: "such" })).rejects.toThrow(
      "refused",
    );
    expect(await pi.close()).toMatchObject({ exitCode: 0 });
  });

  it("kill what does not end, with a reason in stderr", async () => {
    const result = await runPi(host, home, [...parrot, "--mode", "rpc"], { extension, timeoutMs: 50 });
    expect(result).toMatchObject({ exitCode: null, signal: "SIGKILL" });
    expect(result.stderr).toContain("killed after 50 ms");
  });
});

describeInTmux.each(hosts)("the terminal driver on pi $name", (host) => {
  it("types, reads the screen and sees pi's end", async () => {
    const pi = await startTmux(host, home, parrot, { extension });
    await pi.ready();
    await pi.submit("hello");
    await pi.waitFor("parrot says hello");
    await pi.submit("/quit");
    expect(await pi.ended()).toBe(0);
    await pi.close();
  });
});

describe("a home", () => {
  it("holds the logins of all programs, and lists what they wrote", async () => {
    const service = await startKimiService();
    const token = service.issueLogin();
    home.writeKimiCli(token);
    home.writeKimiCode(token, service);
    home.writeAuth({ other: { type: "api_key", key: "x" } });
    expect(home.readKimiCli()).toEqual(token);
    expect(home.readKimiCode(service)).toMatchObject({ refresh_token: token.refresh_token });
    expect(home.files()).toMatchObject({
      ".kimi/credentials/": "755",
      ".kimi/credentials/kimi-code.json": "600",
      ".kimi-code/credentials/": "700",
      ".pi/agent/auth.json": "600",
    });
    await service.close();
  });

  it("takes what still runs in it along when it is removed, unreadable files too", async () => {
    const program = start("sh", ["-c", "sleep 60"], { cwd: home.work, env: home.env(), owner: home });
    mkdirSync(join(home.path, "locked"), { mode: 0o000 });
    home.remove();
    expect(await program.finished).toMatchObject({ signal: "SIGKILL" });
    expect(existsSync(home.path)).toBe(false);
  });

  it("keeps a browser from opening and says on what", async () => {
    const { exitCode } = await run("xdg-open", ["https://example.com/?a=1"], {
      cwd: home.work,
      env: home.env(),
    });
    expect(exitCode).toBe(0);
    expect(home.openedUrls()).toEqual(["https://example.com/?a=1"]);
  });
});

describe("the search for tokens", () => {
  it("knows every secret of the simulator", async () => {
    const service = await startKimiService();
    service.issueLogin();
    await fetch(`${service.oauthHost}/api/oauth/device_authorization`, {
      method: "POST",
      body: new URLSearchParams({ client_id: "17e5f671-d194-4dfb-9706-5516cb48c098" }),
    });
    const secrets = service.secrets();
    expect(secrets.length).toBeGreaterThanOrEqual(3);
    for (const secret of secrets) expect(findSecrets(`x ${secret}.`)).toEqual([secret]);
    await service.close();
  });

  it("finds one among traces, and says where without repeating it", () => {
    const folder = mkdtempSync(join(tmpdir(), "pi-kimi-"));
    const secret = ["at", "sim", "abcdefghijkl"].join("-");
    const trace = (source: string, text: string) => `${JSON.stringify({ source, text })}\n`;
    writeFileSync(join(folder, "1.jsonl"), trace("stdout", "fine") + trace("stderr", `oh: Bearer ${secret}`));
    const { traces, findings } = searchTraces(folder);
    expect(traces).toBe(2);
    expect(findings).toEqual(["stderr: …oh: Bearer at-sim-…"]);
    rmSync(folder, { recursive: true });
  });
});
