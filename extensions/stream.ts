/**
 * The way of every request: pick the token, let pi's own `openai-completions` adapter ask, and where the API rejects
 * the token, renew it once and ask again before anything was shown.
 */
import {
  type Api,
  type AssistantMessage,
  type AssistantMessageEvent,
  type AssistantMessageEventStream,
  type Context,
  createAssistantMessageEventStream,
  type Model,
  type SimpleStreamOptions,
  streamSimpleOpenAICompletions,
} from "@mariozechner/pi-ai";
import type { ShapedRequest } from "./request/shape.ts";
import type { ToolNames } from "./request/tool-names.ts";

/** Our own api id: pi 0.73 routes by it, and under `openai-completions` we would capture every provider. */
export const API = "kimi-coder";

/** What a request may be sent with. */
export type Bearer =
  /** A key somebody configured: sent as it is, never renewed. */
  | { readonly state: "key"; readonly key: string }
  | { readonly state: "token"; readonly accessToken: string }
  /** Nothing may be sent; `message` says why and what to do. */
  | { readonly state: "none"; readonly message: string };

export interface StreamParts {
  /** `key` is what pi would send; undefined or a placeholder where pi has nothing. */
  readonly bearer: (key: string | undefined) => Promise<Bearer>;
  /** The token to use instead of `accessToken`, which the API rejected. */
  readonly renewed: (accessToken: string) => Promise<Bearer>;
  readonly identity: (bearer: Bearer) => Promise<Record<string, string>>;
  /** Makes of the adapter's payload what Kimi accepts. */
  readonly shape: Shape;
}

export type Shape = (
  payload: unknown,
  model: Model<Api>,
  options: SimpleStreamOptions | undefined,
) => ShapedRequest;

/** The adapter's events, and how the tools in them are called in pi. */
interface Attempt {
  readonly events: AssistantMessageEventStream;
  readonly toolNames: () => ToolNames | undefined;
}

type Stream = (
  model: Model<Api>,
  context: Context,
  options?: SimpleStreamOptions,
) => AssistantMessageEventStream;

export function createStream(parts: StreamParts): Stream {
  return (model, context, options) => {
    const out = createAssistantMessageEventStream();
    run(parts, out, model, context, options).catch((error: unknown) => {
      fail(out, model, options, error instanceof Error ? error.message : String(error));
    });
    return out;
  };
}

async function run(
  parts: StreamParts,
  out: AssistantMessageEventStream,
  model: Model<Api>,
  context: Context,
  options: SimpleStreamOptions | undefined,
): Promise<void> {
  const bearer = await unlessAborted(parts.bearer(options?.apiKey), options?.signal);
  if (bearer.state === "none") return fail(out, model, options, bearer.message);

  const attempt = await ask(parts, bearer, model, context, options);
  const rejected = await relay(attempt, out, bearer.state === "token");
  if (!rejected || bearer.state !== "token") return;

  const renewed = await unlessAborted(parts.renewed(bearer.accessToken), options?.signal);
  if (renewed.state === "none") return fail(out, model, options, renewed.message);
  await relay(await ask(parts, renewed, model, context, options), out, false);
}

async function ask(
  { identity, shape }: StreamParts,
  bearer: Exclude<Bearer, { state: "none" }>,
  model: Model<Api>,
  context: Context,
  options: SimpleStreamOptions | undefined,
): Promise<Attempt> {
  let toolNames: ToolNames | undefined;
  // Messages are recorded under the adapter's api, so that their reasoning is replayed to it.
  const adapted = { ...model, api: "openai-completions" as const };
  const events = streamSimpleOpenAICompletions(adapted, context, {
    ...options,
    apiKey: bearer.state === "key" ? bearer.key : bearer.accessToken,
    headers: { ...options?.headers, ...(await identity(bearer)) },
    onPayload: async (payload) => {
      const shaped = shape(payload, model, options);
      toolNames = shaped.toolNames;
      // Other extensions see, and may change, what is really sent.
      return (await options?.onPayload?.(shaped.body, model)) ?? shaped.body;
    },
  });
  return { events, toolNames: () => toolNames };
}

/**
 * Passes the events on. With `watch`, a stream that begins with the API's 401 is withheld, and true returned: until
 * then nothing was shown. pi 0.73 words it `401 …`, its successor `401: …`.
 */
async function relay(
  { events, toolNames }: Attempt,
  out: AssistantMessageEventStream,
  watch: boolean,
): Promise<boolean> {
  let first = true;
  for await (const event of events) {
    if (watch && first && event.type === "error" && /^401\b/.test(event.error.errorMessage ?? ""))
      return true;
    first = false;
    restoreToolNames(event, toolNames());
    out.push(event);
  }
  return false;
}

function restoreToolNames(event: AssistantMessageEvent, toolNames: ToolNames | undefined): void {
  if (!toolNames) return;
  const message =
    event.type === "done" ? event.message : event.type === "error" ? event.error : event.partial;
  for (const block of message.content) {
    if (block.type === "toolCall") block.name = toolNames.toPi(block.name);
  }
}

/** Waiting can be given up, what is waited for goes on: a refresh that was sent is never cancelled. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new Error("Request was aborted"));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function fail(
  out: AssistantMessageEventStream,
  model: Model<Api>,
  options: SimpleStreamOptions | undefined,
  errorMessage: string,
): void {
  const reason = options?.signal?.aborted ? "aborted" : "error";
  const error: AssistantMessage = {
    role: "assistant",
    content: [],
    api: "openai-completions",
    provider: model.provider,
    model: model.id,
    usage: {
      input: 0,
      output: 0,
      cacheRead: 0,
      cacheWrite: 0,
      totalTokens: 0,
      cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 },
    },
    stopReason: reason,
    errorMessage,
    timestamp: Date.now(),
  };
  out.push({ type: "error", reason, error });
  out.end();
}
