/** A request without what varies between machines, runs and hosts: each such piece gives way to a name for it. */
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";

export interface Varying {
  /** Where pi was started. */
  readonly work: string;
  /** Of the conversation; any other id stays, and so is seen. */
  readonly sessionId: string;
}

/** What pi brings along and words differently from version to version. */
const OWN_TOOLS: ReadonlySet<string> = new Set(["read", "bash", "edit", "write"]);

/** Keys stay in their order, and what has another form than the canonical one stays as it is. */
export function normalise(body: JsonObject, { work, sessionId }: Varying): JsonObject {
  const named = (_key: string, value: unknown) => {
    if (typeof value !== "string") return value;
    if (value === sessionId) return "<session>";
    return value
      .replaceAll(work, "<work>")
      .replace(/^(data:[a-z]+\/[a-z0-9.+-]+;base64,).+$/, (_all, head) => `${head}<image>`);
  };
  const { tools, messages } = body;
  const replaced = {
    ...body,
    ...(Array.isArray(tools) ? { tools: tools.map(withoutDescription) } : {}),
    ...(Array.isArray(messages) ? { messages: messages.map(withoutPiWords) } : {}),
  };
  const normalised: unknown = JSON.parse(JSON.stringify(replaced, named));
  if (!isJsonObject(normalised)) throw new Error("the body is no object");
  return normalised;
}

/** Only where it has the canonical form; the name stays. */
function withoutDescription(tool: unknown): unknown {
  const declared = isJsonObject(tool) && isJsonObject(tool.function) ? tool.function : {};
  const { name, description, parameters } = declared;
  const canonical = { type: "function", function: { name, description, parameters } };
  return typeof name === "string" &&
    OWN_TOOLS.has(name) &&
    JSON.stringify(tool) === JSON.stringify(canonical) &&
    typeof description === "string" &&
    isJsonObject(parameters)
    ? `<pi's tool ${name}>`
    : tool;
}

/** The system prompt, and what a summary is asked for with. */
function withoutPiWords(message: unknown): unknown {
  if (!isJsonObject(message) || typeof message.content !== "string") return message;
  if (message.role === "system") return { ...message, content: "<pi's system prompt>" };
  return message.role === "user" && /^(?:<conversation>|# Conversation)\n/.test(message.content)
    ? { ...message, content: "<pi's request for a summary>" }
    : message;
}
