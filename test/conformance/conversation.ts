/** Conversations in one running pi: each in its own session, with the requests it has made. */
import { isJsonObject, type JsonObject } from "../../extensions/lib/json.ts";
import type { PiHost } from "../support/hosts.ts";
import type { KimiService, LogEntry } from "../support/kimi-service/index.ts";
import { assistantMessages } from "../support/pi.ts";
import type { RpcPi } from "../support/rpc.ts";

export interface Conversation {
  readonly sessionId: string;
  readonly sessionFile: string;
  /** Its requests so far, in order of arrival; those after `end()` are not its own. */
  chats(): readonly LogEntry[];
  bodies(): readonly JsonObject[];
  /** Says a thing and waits until pi is done; gives the assistant messages that pi has recorded. */
  say(message: string, images?: readonly JsonObject[]): Promise<readonly JsonObject[]>;
  end(): void;
}

export interface Choice {
  readonly provider?: string;
  readonly model: string;
  readonly level: string;
}

export async function choose(rpc: RpcPi, { provider = "kimi-coder", model, level }: Choice): Promise<void> {
  await rpc.request({ type: "set_model", provider, modelId: model });
  await rpc.request({ type: "set_thinking_level", level });
}

/** The session that pi has open. */
export async function openConversation(
  host: PiHost,
  rpc: RpcPi,
  service: KimiService,
): Promise<Conversation> {
  const { sessionId, sessionFile } = await rpc.request({ type: "get_state" });
  if (typeof sessionId !== "string" || typeof sessionFile !== "string") throw new Error("pi has no session");
  const before = service.chats().length;
  let after: number | undefined;
  const chats = () => service.chats().slice(before, after);
  return {
    sessionId,
    sessionFile,
    chats,
    bodies: () => chats().map(bodyOf),
    async say(message, images = []) {
      const from = rpc.events.length;
      await rpc.request({ type: "prompt", message, ...(images.length > 0 ? { images } : {}) });
      await rpc.waitFor(({ type }) => type === host.settled, { from });
      return assistantMessages(rpc.events.slice(from));
    },
    end() {
      after = service.chats().length;
    },
  };
}

export async function newConversation(
  host: PiHost,
  rpc: RpcPi,
  service: KimiService,
  choice: Choice,
): Promise<Conversation> {
  await rpc.request({ type: "new_session" });
  await choose(rpc, choice);
  return openConversation(host, rpc, service);
}

export function bodyOf({ body }: LogEntry): JsonObject {
  if (!isJsonObject(body)) throw new Error("the request has no JSON body");
  return body;
}
