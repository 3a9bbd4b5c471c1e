/** One request through pi's own `openai-completions` adapter, in Kimi's words on the way out and in pi's on the way back. */
import {
  type Api,
  type AssistantMessageEvent,
  type Context,
  type Model,
  type SimpleStreamOptions,
  streamSimpleOpenAICompletions,
  type Usage,
} from "@mariozechner/pi-ai";
import type { ShapedRequest } from "../request/shape.ts";
import type { ToolNames } from "../request/tool-names.ts";
import type { Usable } from "./bearer.ts";
import { chatFetch, type Fetch, lend } from "./chat-fetch.ts";
import { withOwnTurns } from "./own-turns.ts";

export interface AdapterParts {
  readonly identity: (bearer: Usable) => Promise<Record<string, string>>;
  /** The API that the bearer belongs to. */
  readonly baseUrl: (bearer: Usable, model: Model<Api>) => string;
  /** Makes of the adapter's payload what Kimi accepts. */
  readonly shape: Shape;
  /** Told what is sent; gives what is told how it was counted. */
  readonly note: (body: unknown) => (usage: Usage) => void;
}

export type Shape = (
  payload: unknown,
  model: Model<Api>,
  options: SimpleStreamOptions | undefined,
) => ShapedRequest;

/** pi 0.87 has a `fetch` among them, which 0.73 does not know. */
export type RequestOptions = SimpleStreamOptions & { readonly fetch?: Fetch };

/** Sends the request; `aim` hears beforehand to which API. The events call the tools as pi does. */
export async function askAdapter(
  parts: AdapterParts & { readonly aim: (baseUrl: string) => void },
  bearer: Usable,
  model: Model<Api>,
  context: Context,
  options: RequestOptions | undefined,
): Promise<AsyncIterable<AssistantMessageEvent>> {
  const { identity, shape, note } = parts;
  const address = parts.baseUrl(bearer, model);
  parts.aim(address);
  const guarded = chatFetch(address, options?.fetch ?? fetch);
  const loan = lend(guarded);
  const exchange: Exchange = {};
  const adapted = {
    ...model,
    // Messages are recorded under the adapter's api, so that their reasoning is replayed to it.
    api: "openai-completions" as const,
    get baseUrl() {
      loan.begin();
      return address;
    },
  };
  const adaptedOptions: RequestOptions = {
    ...options,
    fetch: guarded,
    // The SDK in pi 0.73 repeats every 429 by itself, a used-up quota too.
    maxRetries: options?.maxRetries ?? 0,
    apiKey: bearer.state === "key" ? bearer.key : bearer.accessToken,
    headers: { ...options?.headers, ...(await identity(bearer)) },
    onPayload: async (payload) => {
      loan.end();
      const shaped = shape(payload, model, options);
      exchange.toolNames = shaped.toolNames;
      // Other extensions see, and may change, what is really sent.
      const body = (await options?.onPayload?.(shaped.body, model)) ?? shaped.body;
      exchange.answered = note(body);
      return body;
    },
  };
  return inPiWords(
    streamSimpleOpenAICompletions(adapted, withOwnTurns(context, model), adaptedOptions),
    exchange,
  );
}

/**
 * Has pi load its adapter and the SDK behind it, which it does at the first request and which takes longer than all of
 * ours: an exchange that was given up beforehand loads them and sends nothing. Never throws.
 */
export function loadAdapter(model: Model<Api>): void {
  const adapted = { ...model, api: "openai-completions" as const };
  streamSimpleOpenAICompletions(adapted, { messages: [] }, { apiKey: "none", signal: AbortSignal.abort() });
}

/** What is known of a request once its payload was made. */
interface Exchange {
  toolNames?: ToolNames;
  answered?: (usage: Usage) => void;
}

async function* inPiWords(events: AsyncIterable<AssistantMessageEvent>, exchange: Exchange) {
  for await (const event of events) {
    if (event.type === "done") exchange.answered?.(event.message.usage);
    if (exchange.toolNames) restoreToolNames(event, exchange.toolNames);
    yield event;
  }
}

function restoreToolNames(event: AssistantMessageEvent, toolNames: ToolNames): void {
  const message =
    event.type === "done" ? event.message : event.type === "error" ? event.error : event.partial;
  for (const block of message.content) {
    if (block.type === "toolCall") block.name = toolNames.toPi(block.name);
  }
}
