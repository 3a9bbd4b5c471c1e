/** The models that are promised whatever the server lists, and what is known of them before it was asked. */
import type { ServerModel } from "./server-list.ts";

/** A model of the documentation; its efforts are not known. */
export type DocumentedModel = Pick<ServerModel, "id" | "name" | "contextLength" | "image">;

/** The first is the one that the others are sent as when the server no longer lists them. */
export const DOCUMENTED: readonly [DocumentedModel, ...DocumentedModel[]] = [
  documented("kimi-for-coding", "Kimi for Coding (K2.6)"),
  documented("kimi-k2.6", "Kimi K2.6"),
  documented("kimi-k2-thinking", "Kimi K2 Thinking"),
];

function documented(id: string, name: string): DocumentedModel {
  return { id, name, contextLength: 262_144, image: true };
}
