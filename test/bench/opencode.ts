/** opencode, for comparison: installed from npm on demand, and given a service that accepts all it sends. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { isJsonObject } from "../../extensions/lib/json.ts";
import type { Home } from "../support/home.ts";
import { root } from "../support/hosts.ts";
import { startLoopback } from "../support/loopback.ts";
import { start } from "../support/processes.ts";
import type { Task } from "./measure.ts";

const VERSION = "1.18.33";
const folder = join(root, "node_modules", ".cache", "pi-kimi-coder-bench", `opencode-${VERSION}`);

/** ms that it may take until its request. */
const PATIENCE = 60_000;

export interface Opencode {
  readonly name: string;
  /** One run; it is killed once its request has arrived. */
  readonly untilChat: Task;
  close(): Promise<void>;
}

/** Undefined where it cannot be installed or run here; the note says why. */
export async function openOpencode(home: Home, note: (text: string) => void): Promise<Opencode | undefined> {
  const problem = install(note);
  if (problem !== undefined) {
    note(`opencode is left out: ${problem}`);
    return undefined;
  }
  let arrived: (at: number) => void = () => {};
  // The Kimi service refuses it (its User-Agent, tool_choice), and it would ask again.
  const service = await startLoopback(answerAll((at) => arrived(at)));
  home.write(".config/opencode/opencode.json", configuration(service.url));
  return {
    name: `opencode ${VERSION}, static key`,
    async untilChat() {
      const chat = new Promise<number>((resolve) => {
        arrived = resolve;
      });
      const at = performance.now();
      const opencode = start(command, ["run", "hello"], {
        cwd: home.work,
        env: home.env(settings),
        owner: home,
        timeoutMs: PATIENCE,
      });
      const ended = opencode.finished.then(({ stderr }) => {
        throw new Error(`opencode ended without a request: ${stderr.slice(-500)}`);
      });
      try {
        return (await Promise.race([chat, ended])) - at;
      } finally {
        ended.catch(() => {});
        opencode.kill();
        await opencode.finished;
      }
    },
    close: () => service.close(),
  };
}

const command = join(folder, "node_modules", ".bin", "opencode");
const settings = {
  OPENCODE_DISABLE_AUTOUPDATE: "1",
  OPENCODE_DISABLE_MODELS_FETCH: "1",
  OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
  OPENCODE_DISABLE_DEFAULT_PLUGINS: "1",
};

function install(note: (text: string) => void): string | undefined {
  if (!existsSync(command)) {
    note(`installing opencode ${VERSION} (about 350 MB, once)`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), '{"private":true}\n');
    const wanted = [`opencode-ai@${VERSION}`, "--no-fund", "--no-audit", "--loglevel=error"];
    const { status, stderr } = spawnSync("npm", ["install", ...wanted], { cwd: folder, encoding: "utf8" });
    if (status !== 0) return `npm install ended with ${status}: ${stderr.trim().slice(-300)}`;
  }
  const { status, error, stderr } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return status === 0 ? undefined : `it does not run: ${error?.message ?? stderr.trim().slice(-300)}`;
}

function configuration(url: string): string {
  const options = { baseURL: url, apiKey: "sk-bench" };
  const models = { "kimi-for-coding": { name: "Kimi" } };
  const model = "static/kimi-for-coding";
  return JSON.stringify({
    autoupdate: false,
    share: "disabled",
    model,
    small_model: model,
    provider: { static: { npm: "@ai-sdk/openai-compatible", name: "static", options, models } },
  });
}

/** Answers everything with one word. The request with tools is the prompt's, the other asks for a title. */
function answerAll(arrived: (at: number) => void): RequestListener {
  const chunk = (choice: object, usage?: object) =>
    `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "kimi", choices: [{ index: 0, ...choice }], usage })}\n\n`;
  return async (request, response) => {
    const at = performance.now();
    const parts: Buffer[] = [];
    for await (const part of request) if (Buffer.isBuffer(part)) parts.push(part);
    const body: unknown = JSON.parse(Buffer.concat(parts).toString("utf8") || "{}");
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(chunk({ delta: { role: "assistant", content: "Hello" }, finish_reason: null }));
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    response.end(`${chunk({ delta: {}, finish_reason: "stop" }, usage)}data: [DONE]\n\n`);
    if (isJsonObject(body) && Array.isArray(body.tools)) arrived(at);
  };
}
