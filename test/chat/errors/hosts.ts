/** How both hosts word an error, and what they do about a text: their own code is asked. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { AgentSession } from "@mariozechner/pi-coding-agent";
import type { Reaction } from "../../../extensions/chat/errors/host-words.ts";

export type HostName = "0.73.1" | "1.6.0";

const newer = new URL("../../hosts/node_modules/", import.meta.url);
const module = (path: string) => new URL(path, newer).href;

const adapters: Record<HostName, { readonly node: string; readonly url: string }> = {
  "0.73.1": {
    node: process.execPath,
    url: new URL(
      "../../../node_modules/@mariozechner/pi-ai/dist/providers/openai-completions.js",
      import.meta.url,
    ).href,
  },
  "1.6.0": {
    node: fileURLToPath(new URL("node/bin/node", newer)),
    url: module("@earendil-works/pi-ai/dist/api/openai-completions.js"),
  },
};

const script = `
  const { url, requests } = JSON.parse(process.argv[1]);
  const adapter = await import(url);
  const stream = adapter.streamSimpleOpenAICompletions ?? adapter.streamSimple;
  const texts = await Promise.all(requests.map(async ({ baseUrl, timeoutMs }) => {
    const model = {
      id: "m", name: "m", api: "openai-completions", provider: "kimi-coder", baseUrl, reasoning: false,
      input: ["text"], cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }, contextWindow: 1000, maxTokens: 10,
    };
    const context = { messages: [{ role: "user", content: "hi", timestamp: 1 }] };
    const message = await stream(model, context, { apiKey: "key", maxRetries: 0, timeoutMs }).result();
    return message.errorMessage ?? "";
  }));
  process.stdout.write(JSON.stringify(texts));
`;

export interface FailingRequest {
  readonly baseUrl: string;
  readonly timeoutMs?: number;
}

/** What `script` writes in a process of the host's Node, as JSON; its argument is `input` and the adapter's `url`. */
export async function runWithAdapter(host: HostName, script: string, input: object): Promise<unknown> {
  const { node, url } = adapters[host];
  const argument = JSON.stringify({ url, ...input });
  const { stdout } = await promisify(execFile)(node, ["--input-type=module", "-e", script, argument], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return JSON.parse(stdout);
}

/** The error texts of one host's real adapter, in order; "" where there was no error. */
export async function adapterTexts(
  host: HostName,
  requests: readonly FailingRequest[],
): Promise<readonly string[]> {
  const texts = await runWithAdapter(host, script, { requests });
  if (!Array.isArray(texts)) throw new Error("no texts came");
  return texts.map(String);
}

/** What a host would do about a failed turn with this text. */
export type Verdict = (errorMessage: string) => Reaction;

type Judge = (message: object) => unknown;

export async function hostVerdicts(): Promise<Readonly<Record<HostName, Verdict>>> {
  const overflow = await import(module("@earendil-works/pi-ai/dist/utils/overflow.js"));
  const retry = await import(module("@earendil-works/pi-ai/dist/utils/retry.js"));
  const { isContextOverflow } = await import("@mariozechner/pi-ai");
  const session = { model: { contextWindow: 262_144 } };
  const isRetryable: unknown = Reflect.get(AgentSession.prototype, "_isRetryableError");
  if (typeof isRetryable !== "function") throw new Error("0.73.1 has no _isRetryableError");
  const verdict =
    (compacts: Judge, retries: Judge): Verdict =>
    (errorMessage) => {
      const message = {
        role: "assistant",
        stopReason: "error",
        errorMessage,
        provider: "kimi-coder",
        content: [],
      };
      if (compacts(message) === true) return "compact";
      return retries(message) === true ? "retry" : "show";
    };
  return {
    "0.73.1": verdict(
      (message) => Reflect.apply(isContextOverflow, undefined, [message, 262_144]),
      (message) => Reflect.apply(isRetryable, session, [message]),
    ),
    "1.6.0": verdict(
      (message) => overflow.isContextOverflow(message, 262_144),
      (message) => retry.isRetryableAssistantError(message),
    ),
  };
}
