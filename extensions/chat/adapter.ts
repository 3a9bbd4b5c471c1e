/** One request through pi's own `openai-completions` adapter, in Kimi's words on the way out and in pi's on the way back. */
import {
  type Api,
  type AssistantMessage,
  type AssistantMessageEvent,
  type Context,
  type Message,
  type Model,
  type SimpleStreamOptions,
  streamSimpleOpenAICompletions,
  type Usage,
} from "@mariozechner/pi-ai";
import type { Account, Caller, Usable } from "../caller.ts";
import type { Identity } from "../identity.ts";
import { isJsonObject, objectsIn } from "../lib/json.ts";
import { type Connection, chatFetch, type Fetch, lend } from "./fetch.ts";
import { shapeRequest, type ThinkingModel } from "./payload/shape.ts";
import type { ToolNames } from "./payload/tools.ts";

export interface AdapterParts {
  readonly caller: Pick<Caller, "addressFor">;
  readonly identity: Identity;
  readonly catalogue: Pick<Catalogue, "wireModel">;
  readonly lastRequest: Pick<LastRequest, "note">;
}

/** The models of this process; see models/catalogue.ts. */
export interface Catalogue {
  /** What a request for pi's model `id` says. */
  wireModel(id: string): ThinkingModel & { readonly id: string };
  /** Told that an answer came: asks in the background for a newer list where it is time. */
  keepUp(bearer: string, account: Account): void;
}

/** pi 0.87 has a `fetch` among them, which 0.73 does not know. */
export type RequestOptions = SimpleStreamOptions & { readonly fetch?: Fetch };

/** What is known of a request that is on its way. */
export interface Exchange {
  readonly address: string;
  /** The events, which call the tools as pi does. */
  readonly events: AsyncIterable<AssistantMessageEvent>;
  /** What was sent; undefined before. */
  readonly body: () => unknown;
}

/** Sends the request; `connection` hears how that goes. */
export async function askAdapter(
  parts: AdapterParts & { readonly connection: Connection },
  bearer: Usable,
  model: Model<Api>,
  context: Context,
  options: RequestOptions | undefined,
): Promise<Exchange> {
  const { caller, identity, catalogue, lastRequest, connection } = parts;
  const address = caller.addressFor(bearer, model);
  let sent: Sent | undefined;
  const guarded = chatFetch(address, options?.fetch ?? fetch, () => sent?.tools ?? NONE, connection);
  const loan = lend(guarded);
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
    headers: { ...options?.headers, ...(await identity(bearer.state === "token")) },
    onPayload: async (payload) => {
      loan.end();
      const { contextWindow, maxTokens } = model;
      const { body: shaped, toolNames } = await shapeRequest(payload, {
        model: { ...catalogue.wireModel(model.id), contextWindow, maxTokens },
        thinkingLevel: options?.reasoning,
        sessionId: options?.sessionId,
        maxTokens: options?.maxTokens,
      });
      // Other extensions see, and may change, what is really sent.
      const body = (await options?.onPayload?.(shaped, model)) ?? shaped;
      sent = { body, toolNames, tools: toolsIn(body), answered: lastRequest.note(body) };
      return body;
    },
  };
  const events = streamSimpleOpenAICompletions(adapted, withOwnTurns(context, model), adaptedOptions);
  return { address, events: inPiWords(events, () => sent), body: () => sent?.body };
}

interface Sent {
  readonly body: unknown;
  readonly toolNames: ToolNames;
  /** The names of the tools, as they were sent. */
  readonly tools: ReadonlySet<string>;
  readonly answered: (usage: Usage) => void;
}

const NONE: ReadonlySet<string> = new Set();

/**
 * Signs the answers of the provider's other models with this one. To pi's adapters another model's thinking is text of
 * its answer; Kimi's own goes back as `reasoning_content`. A context that needs nothing is the same object.
 */
export function withOwnTurns(context: Context, { provider, id }: Model<Api>): Context {
  const isOthers = (message: Message): message is AssistantMessage =>
    message.role === "assistant" && message.provider === provider && message.model !== id;
  if (!context.messages.some(isOthers)) return context;
  return {
    ...context,
    messages: context.messages.map((message) => (isOthers(message) ? { ...message, model: id } : message)),
  };
}

async function* inPiWords(events: AsyncIterable<AssistantMessageEvent>, sent: () => Sent | undefined) {
  for await (const event of events) {
    if (event.type === "done") sent()?.answered(event.message.usage);
    const names = sent()?.toolNames;
    if (names) restoreToolNames(event, names);
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

/** The names of the tools in `body`; one that was added in mid-session stands at its place among the messages. */
function toolsIn(body: unknown): ReadonlySet<string> {
  const { tools, messages } = isJsonObject(body) ? body : {};
  const all = [...objectsIn(tools), ...objectsIn(messages).flatMap((message) => objectsIn(message.tools))];
  const names = all.map((tool) => (isJsonObject(tool.function) ? tool.function.name : undefined));
  return new Set(names.filter((name) => typeof name === "string"));
}

/** A request as it was sent last, for the status: what decides about thinking, and how much of it was cached. */
export interface SentRequest {
  /** As the server calls it. */
  readonly model: string;
  /** The field `thinking` as it was sent; undefined = it was not. */
  readonly thinking: unknown;
  /** In tokens. */
  readonly maxTokens: number | undefined;
  /** Of its answer; undefined while there is none. */
  readonly usage: Pick<Usage, "input" | "cacheRead" | "cacheWrite"> | undefined;
}

export interface LastRequest {
  /** Notes a body on its way; gives what notes its answer. */
  readonly note: (body: unknown) => (usage: Usage) => void;
  readonly look: () => SentRequest | undefined;
}

export function createLastRequest(): LastRequest {
  let last: SentRequest | undefined;
  return {
    note(body) {
      const fields = isJsonObject(body) ? body : {};
      const sent: SentRequest = {
        model: String(fields.model),
        thinking: fields.thinking,
        maxTokens: typeof fields.max_tokens === "number" ? fields.max_tokens : undefined,
        usage: undefined,
      };
      last = sent;
      return (usage) => {
        // pi 0.73 compacts with two requests at once.
        if (last === sent) last = { ...sent, usage };
      };
    },
    look: () => last,
  };
}
