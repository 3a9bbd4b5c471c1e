/** Whom the tests of a chat ask, and on whose account. */
import type { Api, Model } from "@mariozechner/pi-ai";
import type { Account } from "../../extensions/caller.ts";

export const account: Account = { owner: "key", path: "f", baseUrl: "", region: "kimi.com", id: "one" };

export const model: Model<Api> = {
  id: "m",
  name: "m",
  api: "kimi-coder",
  provider: "kimi-coder",
  baseUrl: "http://unused.invalid",
  reasoning: false,
  input: ["text"],
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  contextWindow: 1000,
  maxTokens: 10,
};
